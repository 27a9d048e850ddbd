"""The page: its Gradio components, and the methods of the controller that handle their events."""

# No `from __future__ import annotations`: Gradio looks at the annotations of handlers and needs the classes themselves.

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from xpose.demo import words
from xpose.demo.answers import COLUMNS, FILES
from xpose.demo.controller import BY_WORDS, WAYS, WORDINGS, Controller, Session, Updates, next_step, note
from xpose.demo.events import Events, message
from xpose.demo.example_files import EXAMPLE_FILES
from xpose.demo.examples import ExampleSet
from xpose.demo.pictures import samples

INTRODUCTION = """# xpose
Detect the keypoints of any object. Describe it in words, click its points in an example picture, or do both.
No data leaves the machine that runs this page.
"""
WELCOME = "The result appears here. Try a sample, or upload a picture and say what to detect."
CSS = (Path(__file__).parent / "page.css").read_text("utf-8")
# Scripts for what Gradio lacks: scrolling to the result on a small screen; hiding the camera where the browser has
# none, or gives it to no page without HTTPS; hiding the result of other pictures before another run can be started; and
# creating a file when its button is pressed: a hidden download button gets it, and the script presses that.
_GO = """() => { const part = document.querySelector('#status'), { top } = part.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) part.scrollIntoView({ behavior: 'smooth' }); }"""
_CAMERA = """async () => { const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  document.body.classList.toggle('no-camera', !devices.some(({ kind }) => kind === 'videoinput')); return []; }"""
_NEW = "() => ['', { __type__: 'update', visible: false }]"
_DOWNLOAD = "() => setTimeout(() => document.querySelector('#download').click(), 100)"
_FIELDS = ["words", "skeleton", "names"]
_SLIDERS = {f"score-{number}": "" for number in range(words.MOST_OBJECTS)}  # labels by name; a run sets these labels
_SLIDERS |= {"confidence": "Keypoint threshold", "overlap": "Largest overlap of two boxes"}
_SHOWN_FIELDS = ["words", "keypoints", "example_group", "bank_group"]  # they depend on the kind of prompt
_EXAMPLE = ["example", "example_number", "example_status", "points", "example_tools", "draw_box"]
_RESULT = ["status", "result", "gallery", "picture", "named", "table"]
_TOOLS = {"undo": "Undo", "draw_box": "Draw box", "toggle_hidden": "Hidden", "remove_point": "Remove", "clear": "Clear"}


def build(controller: Controller) -> Any:
    """Build the page as Gradio's Blocks."""
    import gradio as gr

    idle = int(controller.limits.idle_seconds)
    with gr.Blocks(title="xpose", analytics_enabled=False, delete_cache=(60, idle)) as page:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column():
                parts = _inputs(gr)
            with gr.Column():
                parts |= _outputs(gr)
        for name, part in parts.items():
            part.elem_id = name.replace(".", "-")
        events = _Events(controller, parts)
        events.connect_run()
        events.connect_fields()
        events.connect_examples()

        def closed(request: gr.Request) -> None:
            controller.close(str(request.session_hash))

        page.unload(closed)
        page.load(None, js=_CAMERA)
    return page.queue(max_size=controller.limits.waiting)


def _inputs(gr: Any) -> dict[str, Any]:
    """The left side: pictures, and what to detect."""
    parts: dict[str, Any] = {}
    titles = [[sample.title] for sample in samples()]
    parts["samples"] = gr.Dataset(components=["textbox"], samples=titles, type="index", label="Try a sample")
    sources = ["upload", "clipboard"]  # the gallery's camera would mirror pictures, and so swap left and right
    look = {"columns": 3, "object_fit": "contain", "height": "auto"}
    parts["pictures"] = gr.Gallery(label="Pictures to search", sources=sources, file_types=["image"], **look)
    parts["pictures"].preprocess = _uploads
    camera = gr.WebcamOptions(mirror=False, constraints={"video": {"facingMode": {"ideal": "environment"}}})
    shot = {"type": "filepath", "format": "jpeg", "webcam_options": camera, "show_label": False}
    with gr.Accordion("Take a picture", open=False) as parts["camera_group"]:
        parts["camera"] = gr.Image(sources=["webcam"], **shot)
    parts["pictures_status"] = gr.HTML(visible=False)
    parts["way"] = gr.Radio(WAYS, value=BY_WORDS, label="What to detect")
    parts["words"] = gr.Textbox(label=WORDINGS[BY_WORDS][0], placeholder=WORDINGS[BY_WORDS][1])
    with gr.Column(visible=False) as parts["example_group"]:
        parts["example_number"] = gr.Radio([], label="Examples", visible=False)
        parts["example_status"] = gr.HTML(note(next_step(ExampleSet())))
        parts["example"] = gr.Image(buttons=["fullscreen"], **shot)
        parts["points"] = gr.Radio([], label="Points", visible=False)
        with gr.Column(visible=False) as parts["example_tools"]:
            with gr.Row():
                for name, title in _TOOLS.items():
                    parts[name] = gr.Button(title, size="sm", min_width=90)
            parts["rename"] = gr.Textbox(label="Rename the selected point", submit_btn="Rename", max_length=100)
            with gr.Row():
                for kind, title in EXAMPLE_FILES.items():
                    parts[f"save_{kind}"] = gr.Button(title, size="sm", min_width=120)
                parts["save_bank"] = gr.Button("Save prompt bank", size="sm", min_width=120)
            title = "Load points: a points file, COCO, or results"
            parts["load_points"] = gr.UploadButton(title, size="sm", file_types=[".json"])
    with gr.Column(visible=False) as parts["bank_group"]:
        parts["bank"] = gr.File(label="Prompt bank", file_types=[".safetensors"], height=120)
        parts["bank_status"] = gr.HTML()
    with gr.Accordion("Keypoints", open=False) as parts["keypoints"]:
        info = "One for all objects, or one for each, separated by commas."
        parts["skeleton"] = gr.Dropdown(words.skeleton_choices(), label="Skeleton", info=info, allow_custom_value=True)
        info = "Your own, separated by commas; they replace the skeleton."
        parts["names"] = gr.Textbox(label="Keypoint names", info=info, placeholder="left eye, tip of the beak")
        parts["skeleton_drawing"] = gr.Image(interactive=False, visible=False, format="png", buttons=["fullscreen"])
    with gr.Row():
        parts["run"] = gr.Button("Find", variant="primary", scale=3)
        parts["stop"] = gr.Button("Stop", scale=1, min_width=80)
    return parts


def _outputs(gr: Any) -> dict[str, Any]:
    """The right side: the results."""
    parts: dict[str, Any] = {"status": gr.HTML(note(WELCOME))}
    look = {"format": "jpeg", "interactive": False, "show_label": False}  # a label would cover the names of boxes
    with gr.Column(visible=False) as parts["result"]:
        grid = {"columns": 3, "object_fit": "contain", "height": "auto", "allow_preview": False}
        parts["gallery"] = gr.Gallery(visible=False, **grid, **look)
        parts["picture"] = gr.Image(buttons=["download", "fullscreen"], **look)
        parts["named"] = gr.HTML()
        for name in _SLIDERS:
            parts[name] = gr.Slider(0, 1, step=0.001, label=_SLIDERS[name], visible=bool(_SLIDERS[name]))
        with gr.Row():
            for kind, title in FILES.items():
                parts[kind] = gr.Button(title, size="sm", min_width=120)
            parts["correct"] = gr.Button("Correct the points", size="sm", min_width=120)
        parts["table"] = gr.Dataframe(headers=COLUMNS, interactive=False, label="Keypoints", max_height=420)
    parts["download"] = gr.DownloadButton(visible="hidden")
    return parts


class _Events(Events):
    """Connects the components of the demo with its controller."""

    def __init__(self, controller: Controller, parts: dict[str, Any]) -> None:
        super().__init__(controller.session, parts)
        self.controller = controller

    def changed(self, updates: Updates) -> dict[Any, Any]:
        """The updates in Gradio's form; the uploads as their value, since an update would lose our `preprocess`."""
        others = dict(updates)
        uploads = others.pop("pictures", None)
        return super().changed(others) | ({} if uploads is None else {self.parts["pictures"]: uploads["value"]})

    def edit(self, events: Sequence[tuple[str, str]], method: str, inputs: Sequence[str] = ()) -> None:
        """On events, change the examples and show them."""

        def edit(session: Session, *values: Any) -> Updates:
            return self.controller.edit(session, getattr(session.examples, method)(*values))

        self.on(events, edit, inputs, "example_status", _EXAMPLE, in_order="values")

    def connect_run(self) -> None:
        """Connect the search, started by button, Enter or sample."""
        import gradio as gr

        parts, controller = self.parts, self.controller

        def run(request: gr.Request, *values: Any, progress: Any = gr.Progress()) -> Any:  # noqa: B008
            step = lambda number, total, name: progress((number, total), desc=name, unit="pictures")  # noqa: E731
            try:
                return self.changed(controller.run(controller.session(str(request.session_hash)), step, *values))
            except Exception as error:
                return self.changed({"status": {"value": message(error)}, "result": {"visible": False}})

        asked = [parts[name] for name in ("pictures", "way", *_FIELDS)]
        found = [parts[name] for name in ("pictures_status", *_SLIDERS, *_RESULT)]
        queued = {"show_progress_on": parts["status"], "concurrency_limit": 4, "api_visibility": "private"}
        triggers = [parts["run"].click, parts["words"].submit]
        gr.on([*triggers, parts["samples"].click], None, js=_GO)  # to the progress
        gr.on(triggers, run, asked, found, **queued).then(None, js=_GO)
        filled = ["pictures", "pictures_status", "way", *_FIELDS, *_SHOWN_FIELDS, "skeleton_drawing", *_EXAMPLE]
        sampled = self.on([("samples", "click")], controller.try_sample, ["samples"], changes=filled)
        sampled.then(run, asked, found, **queued).then(None, js=_GO)
        self.on([("stop", "click")], controller.stop, changes=[])

    def connect_fields(self) -> None:
        """Connect the prompt fields and the result."""
        import gradio as gr

        on, controller, parts = self.on, self.controller, self.parts
        outdated, given = [parts["status"], parts["result"]], ["pictures", "pictures_status"]
        gr.on([parts["pictures"].upload, parts["camera"].input], None, None, outdated, js=_NEW)
        on([("pictures", "upload")], controller.check_pictures, ["pictures"], changes=given)
        on([("camera", "input")], controller.take_picture, ["pictures", "camera"], changes=[*given, "camera"])
        on([("way", "input")], controller.show_fields, ["way"], changes=_SHOWN_FIELDS)
        typed = [("words", "blur"), ("skeleton", "input"), ("names", "blur"), ("names", "submit")]
        on(typed, controller.show_skeleton, _FIELDS, changes=["skeleton_drawing", *_EXAMPLE])
        moved = [(name, "input") for name in _SLIDERS]
        on(moved, controller.filter, [*_SLIDERS], changes=_RESULT, trigger_mode="always_last")
        on([("gallery", "select")], controller.show_picture, changes=["picture", "named"])
        on([("picture", "select")], controller.name_at, changes=["named"])
        for kind in FILES:
            make = lambda session, kind=kind: controller.file(session, kind)  # noqa: E731
            on([(kind, "click")], make, changes=["download"]).then(None, js=_DOWNLOAD)

    def connect_examples(self) -> None:
        """Connect the examples and prompt banks."""
        on, controller, status = self.on, self.controller, "example_status"
        on([("example", "select")], controller.click, (), status, _EXAMPLE, in_order="values")
        on([("example", "upload")], controller.add_example, ["example"], status, _EXAMPLE)
        on([("undo", "click")], controller.undo, (), status, _EXAMPLE, in_order="values")
        self.edit([("example", "clear")], "drop")
        for tool in list(_TOOLS)[1:]:
            self.edit([(tool, "click")], tool)
        self.edit([("points", "input")], "choose", ["points"])
        self.edit([("example_number", "input")], "go", ["example_number"])
        self.edit([("rename", "submit")], "rename", ["rename"])
        for kind in EXAMPLE_FILES:
            save = partial(controller.save_examples, kind=kind)
            saved = on([(f"save_{kind}", "click")], save, ["words"], status, ["download"])
            saved.then(None, js=_DOWNLOAD)
        on([("load_points", "upload")], controller.load_points, ["load_points"], status, ["words", *_EXAMPLE])
        on([("correct", "click")], controller.correct, changes=["way", *_SHOWN_FIELDS, *_EXAMPLE])
        saved = on([("save_bank", "click")], controller.save_bank, ["words"], status, ["download"])
        saved.then(None, js=_DOWNLOAD)
        on([("bank", "upload"), ("bank", "clear")], controller.load_bank, ["bank"], "bank_status", [])


def _uploads(payload: Any) -> list[tuple[str, str]]:
    """Path and name of each picture in a gallery; Gradio itself drops the names of uploaded files."""
    items = [(item.image.path, item.caption or item.image.orig_name) for item in (payload.root if payload else ())]
    return [(path, name or Path(path).name) for path, name in items]
