"""The labelling page: its Gradio components, and the methods of the controller that handle their events."""

# No `from __future__ import annotations`: Gradio looks at the annotations of handlers and needs the classes themselves.

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xpose.demo.controller import Updates
from xpose.demo.events import Events
from xpose.demo.labelling.controller import LabelController, LabelSession
from xpose.demo.labelling.proposals import skeleton_of
from xpose.drawing.skeletons import draw_skeleton
from xpose.errors import XPoseError

FOLDER = Path(__file__).parent
CSS = (FOLDER / "page.css").read_text("utf-8")
_EDITS = {"hidden": "toggle_hidden", "absent": "toggle_absent", "add_object": "add_object"}
_EDITS |= {"remove_object": "remove_object", "deselect": "deselect"}
# In place of the first value: the address of the picture that an action was meant for.
_SHOWN = "[document.querySelector('#picture svg')?.dataset.picture ?? '', ...values.slice(1)]"
_HELP = """
- **Click** in the picture to place the highlighted keypoint; the next one is highlighted.
- **Move** a mark by dragging it, or click on it and then on its place.
- **H**: the keypoint is hidden, and you place it where it must be. **V**: it is not visible anywhere.
- **N**: label another object. **Del**: remove this object. **Z**: undo. **Esc**: back to the next open keypoint.
- **Enter**: save the labels as they are shown. **← →**: go to other pictures; changed labels are saved, too.
- The **numbers** at the marks are those in the list; point at a mark to see its name.
- **Mouse wheel**: zoom. Then drag the picture to move it.
"""


def build(controller: LabelController) -> Any:
    """Build the page as Gradio's Blocks."""
    import gradio as gr

    parts: dict[str, Any] = {}
    category = controller.labelling.file.category
    with gr.Blocks(title="xpose label", analytics_enabled=False, fill_width=True) as page:
        with gr.Row():
            with gr.Column(scale=4, min_width=500):
                script = (FOLDER / "picture.js").read_text("utf-8")
                parts["picture"] = gr.HTML(js_on_load=script, apply_default_css=False)
            with gr.Column(scale=1, min_width=330):
                parts["progress"] = gr.HTML()
                parts["jump"] = gr.Dropdown(label="Picture", filterable=True)
                with gr.Row():
                    parts["previous"] = gr.Button("←", size="sm", min_width=50)
                    parts["next"] = gr.Button("→", size="sm", min_width=50)
                    parts["accept"] = gr.Button("Save and go on (Enter)", variant="primary", size="sm", min_width=170)
                parts["status"] = gr.HTML()
                parts["points"] = gr.Radio(label=f"Keypoints of this {category.name}")
                with gr.Row():
                    parts["hidden"] = gr.Button("Hidden (H)", size="sm", min_width=90)
                    parts["absent"] = gr.Button("Not visible (V)", size="sm", min_width=110)
                    parts["undo"] = gr.Button("Undo (Z)", size="sm", min_width=80)
                parts["objects"] = gr.Radio(label="Objects", visible=False)
                with gr.Row():
                    parts["add_object"] = gr.Button("New object (N)", size="sm", min_width=110)
                    parts["remove_object"] = gr.Button("Remove object (Del)", size="sm", min_width=140)
                parts["propose"] = gr.Checkbox(True, label="Propose objects in pictures without labels")
                with gr.Accordion("Help", open=False):
                    gr.Markdown(_HELP)
                skeleton = skeleton_of(category)
                if skeleton is not None and skeleton.layout is not None:
                    with gr.Accordion("Skeleton", open=False):
                        gr.Image(draw_skeleton(skeleton), interactive=False, show_label=False, buttons=["fullscreen"])
                parts["deselect"] = gr.Button(visible="hidden")
        for name, part in parts.items():
            part.elem_id = name
        _connect(Events(controller.session, parts), controller, page)
    return page


def _connect(events: Events, controller: LabelController, page: Any) -> None:
    import gradio as gr

    def on(name: str, event: str, method: str, *values: Any, inputs: Sequence[str] = (), **options: Any) -> None:
        def handle(session: LabelSession, shown: Any, *read: Any) -> Updates:
            return controller.act(session, shown, method, *values, *read)

        events.on([(name, event)], handle, ["picture", *inputs], in_order=_SHOWN, **options)

    on("picture", "select", "point")
    for name, method in _EDITS.items():
        on(name, "click", "edit", method)
    on("points", "input", "edit", "choose", inputs=["points"])
    on("objects", "input", "edit", "go", inputs=["objects"])
    on("undo", "click", "undo")
    waiting = {"show_progress": "minimal", "show_progress_on": events.parts["status"]}  # for the proposals
    on("accept", "click", "accept", **waiting)
    on("previous", "click", "step", -1, **waiting)
    on("next", "click", "step", 1, **waiting)
    on("jump", "input", "jump", inputs=["jump"], **waiting)
    on("propose", "input", "propose", inputs=["propose"])

    def closed(request: gr.Request) -> None:
        with contextlib.suppress(XPoseError):  # the program tries again at its end
            controller.close(str(request.session_hash))

    page.unload(closed)

    def opened(request: gr.Request) -> Any:
        session = controller.session(str(request.session_hash))
        with session.lock:
            return events.changed(controller.show(session))

    page.load(opened, None, events.outputs, queue=False, show_progress="hidden", api_visibility="private")
