"""How events reach the desk: with the page's own key, and with every mistake turned into a message on the page."""

# No `from __future__ import annotations`: Gradio looks at the annotations of handlers and needs the classes themselves.

import os
import traceback
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from xpose.demo import views
from xpose.demo.desk import Desk
from xpose.errors import XPoseError

Zone = tuple[Any, Callable[[str], str]]
# Never through Gradio's queue: an answer can get lost there when an event comes just as the stream of the one before it
# closes. The desk has a queue of its own for the network.
_DIRECT: dict[str, Any] = {"queue": False, "api_visibility": "private"}
_SCRIPT = Path(__file__).parent / "static" / "page.js"


class Wiring:
    """Connects parts of the page with methods of the desk.

    Handlers take the session's key first and return the parts that change. An `XPoseError` changes only the part
    `note` (the first output where none is named), and the page goes on working.
    """

    def __init__(self, gr: Any, desk: Desk, key: Any) -> None:
        self.gr, self.desk, self.key = gr, desk, key

    def html(self, name: str) -> Any:
        """A part of the page that the desk fills and that only shows."""
        return self.gr.HTML("", elem_id=name, js_on_load=None, apply_default_css=False, elem_classes="xp-part")

    def active(self, name: str) -> Any:
        """A part of the page that the desk fills and that reports what is done with it."""
        return self.gr.HTML("", elem_id=name, js_on_load=_script(), apply_default_css=False, elem_classes="xp-part")

    def on(
        self,
        triggers: Sequence[Any],
        handler: Callable[..., dict[Any, Any]],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        note: Any = None,
        *,
        network: bool = False,
        last: bool = False,
    ) -> None:
        """Call the handler with the values of `inputs`.

        Args:
            triggers: events of Gradio's components.
            handler: takes the key and the values.
            inputs: parts that are read.
            outputs: parts that may change.
            note: the part that shows mistakes.
            network: it runs the network, which takes its time.
            last: of many events in a row only the last needs an answer.
        """
        where = outputs[0] if note is None else note

        def guarded(key: str, *values: Any) -> dict[Any, Any]:
            try:
                return handler(key, *values)
            except Exception as error:
                return {where: message(error)}

        self.gr.on(
            triggers,
            guarded,
            [self.key, *inputs],
            [*outputs],
            trigger_mode="always_last" if last else "once" if network else "multiple",
            show_progress="minimal" if network else "hidden",
            **_DIRECT,
        )

    def on_act(
        self, part: Any, handler: Callable[..., dict[Any, Any]], outputs: Sequence[Any], note: Any = None
    ) -> None:
        """Call the handler with what the script of a part of the page reports, as a dictionary."""
        where = outputs[0] if note is None else note

        def guarded(event: self.gr.EventData, key: str) -> dict[Any, Any]:  # type: ignore[name-defined]
            try:
                action = event._data if isinstance(event._data, dict) else {}
                return handler(key, action)
            except Exception as error:
                return {where: message(error)}

        part.act(guarded, [self.key], [*outputs], trigger_mode="multiple", show_progress="hidden", **_DIRECT)

    def on_open(self, page: Any, zones: Sequence[Zone]) -> None:
        """Give every page that is opened a session of its own, and its private addresses."""

        def opened() -> list[Any]:
            key = self.desk.sessions.open().key
            return [key, *(show(key) for _, show in zones)]

        page.load(opened, None, [self.key, *(zone for zone, _ in zones)], show_progress="hidden", **_DIRECT)


@cache
def _script() -> str:
    return _SCRIPT.read_text("utf-8")


def message(error: Exception) -> str:
    """What the page shows: the message of a mistake; a bug with the way to report it, never a traceback."""
    if os.environ.get("XPOSE_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, XPoseError):
        return views.note(str(error), "problem")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return views.note("The machine ran out of memory. Use a smaller picture, or ask for less at a time.", "problem")
    return views.note(
        f"xpose met a fault of its own: {type(error).__name__}: {error}. This is a bug, not a mistake of yours. Please "
        "report it; started with XPOSE_DEBUG=1, the server shows where it happened.",
        "problem",
    )
