"""The page itself: components of Gradio, and which method of the controller answers what."""

# No `from __future__ import annotations`: Gradio looks at the annotations of handlers and needs the classes themselves.

import asyncio
import os
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xpose.demo import samples, words
from xpose.demo.answers import COLUMNS, FILES
from xpose.demo.controller import BY_WORDS, WAYS, Controller, Session, Updates, next_step, note
from xpose.demo.examples import Examples
from xpose.errors import XPoseError

INTRODUCTION = """# xpose
Find the keypoints of any object. Describe it in words, click its points in an example picture, or do both.
Everything stays on the machine that runs this page.
"""
CSS = """
.note { border-left: 4px solid var(--border-color-primary); border-radius: 4px; padding: 0.5em 0.9em;
  background: var(--background-fill-secondary); white-space: pre-line; overflow-wrap: anywhere; }
.note.good { border-color: #008c68; }
.note.problem { border-color: #d08700; }
.note ul { margin: 0.3em 0 0 1.2em; list-style: disc; }
.html-container { padding: 0 !important; }
#points .wrap { max-height: 13em; overflow: auto; }
#example img, #picture img { cursor: crosshair; }
#gallery .grid-wrap, #pictures .grid-wrap { height: auto; max-height: 24em; min-height: 0; }
"""
# The three things for which Gradio has nothing: quick clicks that stay in order, going to the result on a small screen,
# and a file that is made when its button is pressed; the button that has the file then is hidden, and pressed here.
_IN_ORDER = """async () => { const now = performance.now(), at = Math.max(now, (window.lastClick ?? 0) + 100);
  window.lastClick = at; await new Promise((go) => setTimeout(go, at - now)); return []; }"""
_GO = """() => { const part = document.querySelector('#status'), { top } = part.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) part.scrollIntoView({ behavior: 'smooth' }); }"""
_DOWNLOAD = "() => setTimeout(() => document.querySelector('#download').click(), 100)"
_FIELDS = ["words", "skeleton", "names"]
_SLIDERS = {f"score-{number}": "" for number in range(words.MOST_OBJECTS)}  # their labels; these get theirs from a run
_SLIDERS |= {"confidence": "Keypoint threshold", "overlap": "Largest overlap of two boxes"}
_TOOLS = {"undo": "Undo", "draw_box": "Draw box", "toggle_hidden": "Hidden", "remove_point": "Remove", "clear": "Clear"}


def build(controller: Controller) -> Any:
    """The page as Gradio's Blocks, not yet served."""
    import gradio as gr

    kept = int(controller.limits.idle_seconds)
    with gr.Blocks(title="xpose", analytics_enabled=False, delete_cache=(60, kept)) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column():
                parts = _inputs(gr)
            with gr.Column():
                parts |= _outputs(gr)
        for name, part in parts.items():
            part.elem_id = name.replace(".", "-")
        _connect(gr, controller, parts)

        def closed(request: gr.Request) -> None:
            controller.close(str(request.session_hash))

        page.unload(closed)
    return page.queue(max_size=controller.limits.waiting)


def _inputs(gr: Any) -> dict[str, Any]:
    """The left side: pictures, and what to look for."""
    parts: dict[str, Any] = {}
    titles = [[sample.title] for sample in samples.samples()]
    parts["samples"] = gr.Dataset(components=["textbox"], samples=titles, type="index", label="Try a sample")
    sources = ["upload", "webcam", "clipboard"]
    look = {"columns": 3, "object_fit": "contain", "height": "auto"}
    parts["pictures"] = gr.Gallery(label="Pictures to search", sources=sources, file_types=["image"], **look)
    parts["pictures"].preprocess = _uploads
    parts["way"] = gr.Radio(WAYS, value=BY_WORDS, label="What to look for")
    parts["words"] = gr.Textbox(label="Objects", placeholder="person, horse")
    with gr.Column(visible=False) as parts["example_group"]:
        parts["example_number"] = gr.Radio([], label="Examples", visible=False)
        parts["example_status"] = gr.HTML(note(next_step(Examples())))
        parts["example"] = gr.Image(label="Example picture", type="filepath", format="jpeg", buttons=["fullscreen"])
        parts["points"] = gr.Radio([], label="Points", visible=False)
        with gr.Column(visible=False) as parts["example_tools"]:
            with gr.Row():
                for name, title in _TOOLS.items():
                    parts[name] = gr.Button(title, size="sm", min_width=90)
            parts["rename"] = gr.Textbox(label="Rename the selected point", submit_btn="Rename", max_length=100)
            parts["save_bank"] = gr.Button("Save the examples as a prompt bank", size="sm")
    with gr.Column(visible=False) as parts["bank_group"]:
        parts["bank"] = gr.File(label="Prompt bank", file_types=[".safetensors"], height=120)
        parts["bank_status"] = gr.HTML()
    with gr.Accordion("Keypoints", open=False) as parts["keypoints"]:
        info = "One for all objects, or one for each, separated by commas."
        parts["skeleton"] = gr.Dropdown(words.skeleton_choices(), label="Skeleton", info=info, allow_custom_value=True)
        info = "Your own, separated by commas; they replace the skeleton."
        parts["names"] = gr.Textbox(label="Keypoint names", info=info, placeholder="left eye, tip of the beak")
        parts["skeleton_drawing"] = gr.Image(interactive=False, visible=False, buttons=["fullscreen"])
    with gr.Row():
        parts["run"] = gr.Button("Find", variant="primary", scale=3)
        parts["stop"] = gr.Button("Stop", scale=1, min_width=80)
    return parts


def _outputs(gr: Any) -> dict[str, Any]:
    """The right side: what was found."""
    parts: dict[str, Any] = {"status": gr.HTML()}
    with gr.Column(visible=False) as parts["result"]:
        look = {"columns": 3, "object_fit": "contain", "height": "auto", "format": "jpeg"}
        parts["gallery"] = gr.Gallery(label="Pictures", visible=False, allow_preview=False, interactive=False, **look)
        parts["picture"] = gr.Image(interactive=False, format="jpeg", buttons=["download", "fullscreen"])
        parts["named"] = gr.HTML()
        for name in _SLIDERS:
            parts[name] = gr.Slider(0, 1, step=0.001, label=_SLIDERS[name], visible=bool(_SLIDERS[name]))
        with gr.Row():
            for kind, title in FILES.items():
                parts[kind] = gr.Button(title, size="sm", min_width=120)
        parts["table"] = gr.Dataframe(headers=COLUMNS, interactive=False, label="Keypoints", max_height=420)
    parts["download"] = gr.DownloadButton(visible="hidden")
    return parts


def _connect(gr: Any, controller: Controller, parts: dict[str, Any]) -> None:
    uploads = parts[
        "pictures"
    ]  # is no output where it need not be: Gradio would make it anew, without our `preprocess`
    components = [part for part in parts.values() if part is not uploads]

    def changed(updates: Updates) -> dict[Any, Any]:
        return {
            parts[name]: properties["value"] if name == "pictures" else gr.update(**properties)
            for name, properties in updates.items()
        }

    def on(
        events: Sequence[tuple[str, str]],
        handler: Callable[..., Updates],
        inputs: Sequence[str] = (),
        status: str = "status",
        **options: Any,
    ) -> Any:
        """Call a method of the controller with the session, the values of `inputs`, and the place that was clicked."""

        def work(session: Session, *values: Any) -> Any:
            try:
                with session.lock:
                    return changed(handler(session, *values))
            except Exception as error:
                return changed({status: {"value": message(error)}, "download": {"value": None}})

        async def answer(request: gr.Request, event: gr.EventData, *values: Any) -> Any:
            session = controller.session(request.session_hash)
            place = [event._data["index"]] if events[0][1] == "select" else []
            async with session.order:  # quick clicks one after the other
                return await asyncio.to_thread(work, session, *values, *place)

        triggers = [getattr(parts[name], event) for name, event in events]
        direct = {"queue": False, "show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private"}
        read = [parts[name] for name in inputs]
        return gr.on(triggers, answer, read, **{"outputs": components, **direct, **options})

    def run(request: gr.Request, *values: Any, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        step = lambda number, total, name: progress((number, total), desc=name, unit="pictures")  # noqa: E731
        try:
            return changed(controller.run(controller.session(request.session_hash), step, *values))
        except Exception as error:
            return changed({"status": {"value": message(error)}, "result": {"visible": False}})

    asked = [parts[name] for name in ("pictures", "way", *_FIELDS)]
    queued = {"show_progress_on": parts["status"], "concurrency_limit": 4, "api_visibility": "private"}
    gr.on([parts["run"].click, parts["words"].submit], run, asked, components, **queued).then(None, js=_GO)
    sampled = on([("samples", "click")], controller.try_sample, ["samples"], outputs=[*components, uploads])
    sampled.then(run, asked, components, **queued).then(None, js=_GO)
    on([("stop", "click")], controller.stop)
    on([("pictures", "upload")], controller.check_pictures, ["pictures"], outputs=[*components, uploads])
    on([("way", "input")], controller.show_fields, ["way"])
    on(
        [("words", "blur"), ("skeleton", "input"), ("names", "blur"), ("names", "submit")],
        controller.show_skeleton,
        _FIELDS,
    )
    on([(name, "input") for name in _SLIDERS], controller.filter, [*_SLIDERS], trigger_mode="always_last")
    on([("gallery", "select")], controller.show_picture)
    on([("picture", "select")], controller.name_at)
    for kind in FILES:
        on([(kind, "click")], lambda session, kind=kind: controller.file(session, kind)).then(None, js=_DOWNLOAD)

    def edit(method: str) -> Callable[..., Updates]:
        return lambda session, *values: controller.edit(session, getattr(session.examples, method)(*values))

    about = "example_status"
    on([("example", "select")], controller.click, status=about, js=_IN_ORDER)
    on([("example", "upload")], controller.add_example, ["example"], about)
    on([("example", "clear")], edit("drop"), status=about)
    on([("undo", "click")], controller.undo, status=about)
    for tool in list(_TOOLS)[1:]:
        on([(tool, "click")], edit(tool), status=about)
    for name, event, method in (
        ("points", "input", "choose"),
        ("example_number", "input", "go"),
        ("rename", "submit", "rename"),
    ):
        on([(name, event)], edit(method), [name], about)
    on([("save_bank", "click")], controller.save_bank, ["words"], about).then(None, js=_DOWNLOAD)
    on([("bank", "upload"), ("bank", "clear")], controller.load_bank, ["bank"], "bank_status")


def _uploads(payload: Any) -> list[tuple[str, str]]:
    """Path and name of each picture in a gallery; Gradio's own way drops the names of uploaded files."""
    items = [(item.image.path, item.caption or item.image.orig_name) for item in (payload.root if payload else ())]
    return [(path, name or Path(path).name) for path, name in items]


def message(error: Exception) -> str:
    """What the page shows: the message of a mistake; a bug with the way to report it, never a traceback."""
    if os.environ.get("XPOSE_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, XPoseError):
        return note(str(error), "problem")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return note("The machine ran out of memory. Use a smaller picture, or ask for less at a time.", "problem")
    text = f"xpose failed unexpectedly: {type(error).__name__}: {error}. This is a bug. Please report it; started with "
    return note(text + "XPOSE_DEBUG=1, the server shows where it happened.", "problem")
