"""The page itself: which part stands where, and which method of the desk answers what. Nothing is decided here."""

# No `from __future__ import annotations`: Gradio looks at the annotations of handlers and needs the classes themselves.

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpose.demo import asking, desk, intake, views
from xpose.demo.answers import Sliders
from xpose.demo.desk import Desk
from xpose.demo.intake import Shown
from xpose.demo.wiring import Wiring
from xpose.vocabulary import list_skeletons

STATIC = Path(__file__).parent / "static"
INTRODUCTION = """# xpose
Name an object and its keypoints in words, show them in an example picture, or do both. Everything stays on the machine
that runs this page; pictures are kept in its memory only, and forgotten when you leave.
"""


@dataclass(frozen=True)
class Words:
    """The fields that say in words what to look for."""

    words: Any
    skeleton: Any
    own: Any
    drawing: Any

    def __iter__(self) -> Any:
        return iter((self.words, self.skeleton, self.own))

    def set(self, at: Desk, key: str, words: str) -> dict[Any, Any]:
        """Other words, and the skeleton that they choose."""
        drawing = at.skeleton(key, words, asking.AUTOMATIC, "")
        return {self.words: words, self.skeleton: asking.AUTOMATIC, self.drawing: drawing}

    @property
    def outputs(self) -> list[Any]:
        """What `set` changes."""
        return [self.words, self.skeleton, self.drawing]


@dataclass(frozen=True)
class ResultParts:
    """The parts of a tab that show a result; None where it has no such part."""

    note: Any
    chips: Any | None
    view: Any
    table: Any | None
    links: Any | None
    sliders: tuple[Any, Any, Any]

    def updates(self, shown: Shown, start: Sliders | None = None) -> dict[Any, Any]:
        """What changes on the page."""
        parts = {"note": self.note, "chips": self.chips, "view": self.view, "table": self.table, "links": self.links}
        changed = {
            part: getattr(shown, name)
            for name, part in parts.items()
            if part is not None and getattr(shown, name) is not None
        }
        if start is not None:
            values = (start.score, start.confidence, start.overlap)
            changed |= dict(zip(self.sliders, values, strict=True))
        return changed

    @property
    def outputs(self) -> list[Any]:
        """Everything that may change."""
        parts = [self.note, self.chips, self.view, self.table, self.links, *self.sliders]
        return [part for part in parts if part is not None]


def build(at_desk: Desk) -> Any:
    """The page as Gradio's Blocks, not yet served."""
    import gradio as gr

    with gr.Blocks(title="xpose", analytics_enabled=False) as page:
        wiring = Wiring(gr, at_desk, gr.State(""))
        gr.Markdown(INTRODUCTION)
        gr.Markdown(f"Weights: `{Path(at_desk.detector.name).name}`")
        with gr.Tabs():
            with gr.Tab("Text", id="text"):
                zones = [_text_tab(wiring)]
            with gr.Tab("Visual", id="visual") as tab:
                zones += _visual_tab(wiring, tab)
            with gr.Tab("Combined", id="combined") as tab:
                zones += _combined_tab(wiring, tab)
            with gr.Tab("Batch", id="batch"):
                zones.append(_batch_tab(wiring))
        wiring.on_open(page, zones)
    return page


_PAIR = ("astronaut.png", "admiral.jpg")  # an example, and where to find the like


def _sample(wiring: Wiring, title: str, name: str, *needs: str) -> Any:
    """A button that tries photographs; hidden where one of them is not installed."""
    there = bool(needs) and set(needs) <= set(wiring.desk.sample_names())
    return wiring.gr.Button(title, size="sm", elem_id=name, visible=there)


def _text_tab(wiring: Wiring) -> tuple[Any, Callable[[str], str]]:
    gr, at = wiring.gr, wiring.desk
    with gr.Row():
        with gr.Column():
            zone = wiring.active("text-drop")
            words = _words_fields(wiring, "text")
            run = gr.Button("Find", variant="primary", elem_id="text-run")
            with gr.Row():
                samples = {
                    "astronaut.png": _sample(wiring, "Try: a face", "text-sample-face", "astronaut.png"),
                    "photographer.png": _sample(wiring, "Try: a person", "text-sample-person", "photographer.png"),
                }
        with gr.Column():
            parts = _result_parts(wiring, "text")
    _on_result(wiring, parts, "text")
    _on_upload(wiring, zone, "text", parts)
    wiring.on(
        [run.click, words.words.submit],
        lambda key, *asked: parts.updates(*at.run_words(key, *asked)),
        [*words],
        parts.outputs,
        network=True,
    )
    for name, button in samples.items():
        wiring.on(
            [button.click],
            lambda key, name=name: {
                **parts.updates(at.try_sample(key, "text", [name])),
                **words.set(at, key, at.words_of(name)),
            },
            [],
            [*parts.outputs, *words.outputs],
        )
    return zone, lambda key: _zone(at, key, "text", "Drop a picture here, or click to choose one")


def _visual_tab(wiring: Wiring, tab: Any) -> list[tuple[Any, Callable[[str], str]]]:
    gr, at = wiring.gr, wiring.desk
    with gr.Row():
        with gr.Column():
            editor = _editor(wiring, "visual", tab)
            with gr.Accordion("Prompt bank: keep the examples in a file", open=False, elem_classes="xp-bank-fold"):
                make = gr.Button("Make a prompt bank of the examples", size="sm", elem_id="visual-bank-make")
                bank_links = wiring.html("visual-bank-links")
                bank_zone = wiring.active("visual-bank-drop")
                bank = wiring.html("visual-bank")
                forget = gr.Button("Use the examples instead of the bank", size="sm", elem_id="visual-bank-forget")
        with gr.Column():
            zone = wiring.active("visual-drop")
            label = gr.Textbox(label="What it is (optional)", placeholder="face", elem_id="visual-label")
            run = gr.Button("Find what is like the examples", variant="primary", elem_id="visual-run")
            sample = _sample(wiring, "Try: points shown on one face, found on another", "visual-sample", *_PAIR)
            parts = _result_parts(wiring, "visual")
    _on_result(wiring, parts, "visual")
    _on_upload(wiring, zone, "visual", parts)
    wiring.on(
        [run.click],
        lambda key, named: parts.updates(*at.run_examples(key, named)),
        [label],
        parts.outputs,
        network=True,
    )
    wiring.on(
        [sample.click],
        lambda key: {
            editor.pad: at.sample_example(key, _PAIR[0]),
            label: "face",
            **parts.updates(at.try_sample(key, "visual", _PAIR[1:])),
        },
        [],
        [editor.pad, label, *parts.outputs],
        note=parts.note,
    )

    def made(key: str, named: object) -> dict[Any, Any]:
        shown = at.make_bank(key, named)
        return {bank: shown.note, bank_links: shown.links}

    wiring.on([make.click], made, [label], [bank, bank_links], note=bank, network=True)
    wiring.on([forget.click], lambda key: {bank: at.forget_bank(key)}, [], [bank])
    wiring.on_act(bank_zone, lambda key, action: {bank: at.bank_arrived(key, action)}, [bank])
    return [
        *editor.zones,
        (bank_zone, lambda key: _zone(at, key, intake.BANK_SLOT, "Load a prompt bank (.safetensors)")),
        (zone, lambda key: _zone(at, key, "visual", "Drop the pictures to look in here", several=True)),
    ]


def _combined_tab(wiring: Wiring, tab: Any) -> list[tuple[Any, Callable[[str], str]]]:
    gr, at = wiring.gr, wiring.desk
    with gr.Row():
        with gr.Column():
            words = _words_fields(wiring, "combined", "One object; its points are those of the examples")
            editor = _editor(wiring, "combined", tab)
        with gr.Column():
            zone = wiring.active("combined-drop")
            run = gr.Button("Find by words and examples", variant="primary", elem_id="combined-run")
            sample = _sample(
                wiring, "Try: the word face, points shown on one, another to find", "combined-sample", *_PAIR
            )
            parts = _result_parts(wiring, "combined")
    _on_result(wiring, parts, "combined")
    _on_upload(wiring, zone, "combined", parts)
    wiring.on(
        [run.click, words.words.submit],
        lambda key, *asked: parts.updates(*at.run_both(key, *asked)),
        [*words],
        parts.outputs,
        network=True,
    )
    wiring.on(
        [sample.click],
        lambda key: {
            editor.pad: at.sample_example(key, _PAIR[0]),
            **words.set(at, key, "face"),
            **parts.updates(at.try_sample(key, "combined", _PAIR[1:])),
        },
        [],
        [editor.pad, *words.outputs, *parts.outputs],
        note=parts.note,
    )
    show = lambda key: _zone(at, key, "combined", "Drop the pictures to look in here", several=True)  # noqa: E731
    return [*editor.zones, (zone, show)]


def _batch_tab(wiring: Wiring) -> tuple[Any, Callable[[str], str]]:
    gr, at = wiring.gr, wiring.desk
    with gr.Row():
        with gr.Column():
            zone = wiring.active("batch-drop")
            how = gr.Radio(
                [desk.BY_WORDS, desk.BY_EXAMPLES, desk.BY_BOTH, desk.BY_BANK],
                value=desk.BY_WORDS,
                label="What to look for",
                elem_id="batch-how",
            )
            words = _words_fields(wiring, "batch")
            sample = _sample(wiring, "Try: some photographs", "batch-sample", *at.sample_names())
        with gr.Column():
            sliders = _sliders(wiring, "batch")
            with gr.Row():
                run = gr.Button("Run over all pictures", variant="primary", elem_id="batch-run")
                stop = gr.Button("Stop", variant="stop", elem_id="batch-stop")
            note = wiring.active("batch-note")
            view = wiring.html("batch-view")
    parts = ResultParts(note, None, view, None, None, sliders)
    _on_upload(wiring, zone, "batch", parts)
    wiring.on(
        [run.click],
        lambda key, chosen, said, skeleton, own, *values: {
            note: at.start_batch(key, chosen, said, skeleton, own, Sliders(*values)),
            view: "",
        },
        [how, *words, *sliders],
        [note, view],
    )
    wiring.on([stop.click], lambda key: {note: at.stop_batch(key)}, [], [note])
    wiring.on(
        [sample.click],
        lambda key: {
            **parts.updates(at.try_sample(key, "batch", at.sample_names())),
            **words.set(at, key, "face, person"),
        },
        [],
        [*parts.outputs, *words.outputs],
    )
    return zone, lambda key: _zone(at, key, "batch", "Drop pictures here, as many as you like", several=True)


@dataclass(frozen=True)
class Editor:
    """The place to click on examples; both tabs that have one work on the same examples."""

    pad: Any
    zones: list[tuple[Any, Callable[[str], str]]]


def _editor(wiring: Wiring, tab: str, select: Any) -> Editor:
    gr, at = wiring.gr, wiring.desk
    zone = wiring.active(f"{tab}-example-drop")
    with gr.Row():
        skeleton = gr.Dropdown(
            [asking.OWN, *(one.name for one in list_skeletons())],
            value=asking.OWN,
            label="Names of the points",
            allow_custom_value=True,
            elem_id=f"{tab}-point-skeleton",
            min_width=240,
        )
        names = gr.Textbox(
            label="Own names",
            placeholder="snout, left eye, tail",
            info="with commas",
            elem_id=f"{tab}-point-names",
            min_width=240,
        )
    use = gr.Button("Use these names", size="sm", elem_id=f"{tab}-use-names")
    pad = wiring.active(f"{tab}-pad")  # clicks on it go to the server by themselves, see page.js
    with gr.Row():
        name = gr.Textbox(label="Rename the chosen point", elem_id=f"{tab}-new-name", scale=3)
        rename = gr.Button("Rename", size="sm", elem_id=f"{tab}-rename", scale=1)
    wiring.on(
        [use.click, names.submit],
        lambda key, *chosen: {pad: at.on_pad(key, at.name_points, *chosen)},
        [skeleton, names],
        [pad],
    )
    wiring.on(
        [rename.click, name.submit],
        lambda key, new: {pad: at.on_pad(key, at.rename, new), name: ""},
        [name],
        [pad, name],
    )
    wiring.on_act(zone, lambda key, action: {pad: at.on_pad(key, at.examples_arrived, action)}, [pad])
    wiring.on([select.select], lambda key: {pad: at.pad(key)}, [], [pad])
    show = lambda key: _zone(at, key, intake.EXAMPLE_SLOT, "Drop an example picture here (1 to 5)")  # noqa: E731
    return Editor(pad, [(zone, show), (pad, at.pad)])


def _words_fields(wiring: Wiring, tab: str, hint: str = "Objects, with commas between them") -> Words:
    gr, at = wiring.gr, wiring.desk
    words = gr.Textbox(label="What to look for", info=hint, placeholder="person, horse", elem_id=f"{tab}-words")
    with gr.Accordion("Keypoints", open=tab == "text"):
        skeleton = gr.Dropdown(
            asking.skeleton_choices(),
            value=asking.AUTOMATIC,
            label="Skeleton",
            info="one for all objects, or one for each with commas between them",
            allow_custom_value=True,
            elem_id=f"{tab}-skeleton",
        )
        own = gr.Textbox(label="Own names", info="with commas", placeholder="left eye, beak tip", elem_id=f"{tab}-own")
        drawing = wiring.html(f"{tab}-drawing")
    fields = Words(words, skeleton, own, drawing)
    triggers = [skeleton.change, words.blur, own.blur, own.submit]
    wiring.on(triggers, lambda key, *asked: {drawing: at.skeleton(key, *asked)}, [*fields], [drawing], note=drawing)
    return fields


def _sliders(wiring: Wiring, tab: str) -> tuple[Any, Any, Any]:
    usual = wiring.desk.usual_sliders()
    rows = (
        ("score", "Objects: least score", usual.score),
        ("confidence", "Points: least confidence", usual.confidence),
        ("overlap", "Boxes: most overlap", usual.overlap),
    )
    made = [
        wiring.gr.Slider(0, 1, value=value, step=0.001, label=text, elem_id=f"{tab}-{name}")
        for name, text, value in rows
    ]
    return made[0], made[1], made[2]


def _result_parts(wiring: Wiring, tab: str) -> ResultParts:
    note = wiring.html(f"{tab}-note")
    chips, view = wiring.active(f"{tab}-chips"), wiring.active(f"{tab}-view")
    sliders = _sliders(wiring, tab)
    links, table = (wiring.html(f"{tab}-{name}") for name in ("links", "table"))
    return ResultParts(note, chips, view, table, links, sliders)


def _on_result(wiring: Wiring, parts: ResultParts, tab: str) -> None:
    """Sliders, and going from picture to picture: no forward pass behind either."""
    at = wiring.desk
    wiring.on(
        [slider.change for slider in parts.sliders],
        lambda key, *values: parts.updates(at.slide(key, tab, Sliders(*values))),
        [*parts.sliders],
        parts.outputs,
        note=parts.note,
        last=True,
    )
    wiring.on_act(
        parts.chips, lambda key, action: parts.updates(at.show(key, tab, action.get("at"))), parts.outputs, parts.note
    )


def _on_upload(wiring: Wiring, zone: Any, slot: str, parts: ResultParts) -> None:
    def arrived(key: str, action: Mapping[str, Any]) -> dict[Any, Any]:
        return parts.updates(wiring.desk.arrived(key, slot, action))

    wiring.on_act(zone, arrived, parts.outputs, parts.note)


def _zone(at: Desk, key: str, slot: str, text: str, several: bool = False) -> str:
    return views.drop_zone(key, slot, text, at.limits.file_bytes, several)
