"""Connects components of a Gradio page with the methods of a controller."""

# No `from __future__ import annotations`: Gradio looks at the annotations of handlers and needs the classes themselves.

import asyncio
import os
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from xpose.demo.controller import Updates, note
from xpose.errors import XPoseError

# Scripts for what Gradio lacks, keeping quick clicks in order: requests may overtake each other, so each event waits
# for the answer to the one before. A lost answer is awaited for ten seconds.
_IN_ORDER = """async (...values) => {{ const sent = {values}, before = window.turn; let end;
  window.turn = new Promise((ended) => {{ end = ended; }});
  await before; window.endTurn = end; setTimeout(end, 10000); return sent; }}"""
_END = "() => window.endTurn()"


class PageSession(Protocol):
    """What `Events` needs of the state of one open page."""

    lock: threading.RLock  # held while the state changes


class Events:
    """Connects components by name with methods that take the page's session and return updates."""

    def __init__(self, session_of: Callable[[str], PageSession], parts: dict[str, Any]) -> None:
        self.session_of, self.parts = session_of, parts
        self.outputs = [*parts.values()]

    def changed(self, updates: Updates) -> dict[Any, Any]:
        """The updates in Gradio's form."""
        import gradio as gr

        return {self.parts[name]: gr.update(**properties) for name, properties in updates.items()}

    def on(
        self,
        events: Sequence[tuple[str, str]],
        handler: Callable[..., Updates],
        inputs: Sequence[str] = (),
        status: str = "status",
        changes: Sequence[str] | None = None,
        in_order: str | None = None,
        **options: Any,
    ) -> Any:
        """On events, call a controller method with the session, the values of `inputs` and any clicked place.

        The method may change the parts in `changes`, by default all; Gradio takes time for each of them. If it fails,
        `status` shows the message. All events with `in_order` are handled in the order in which they happened; it is a
        JavaScript expression for the values of `inputs`, which are `values`.
        """
        import gradio as gr

        changed = dict.fromkeys([*(self.parts if changes is None else changes), status])
        after_error = {"download": {"value": None}} if "download" in changed else {}

        def work(session: PageSession, *values: Any) -> Any:
            try:
                with session.lock:
                    return self.changed(handler(session, *values))
            except Exception as error:
                return self.changed({status: {"value": message(error)}, **after_error})

        async def answer(request: gr.Request, event: gr.EventData, *values: Any) -> Any:
            session = self.session_of(str(request.session_hash))
            place = [event._data["index"]] if events[0][1] == "select" else []
            return await asyncio.to_thread(work, session, *values, *place)

        triggers = [getattr(self.parts[name], event) for name, event in events]
        direct = {"queue": False, "show_progress": "hidden", "trigger_mode": "multiple", "api_visibility": "private"}
        read, written = ([self.parts[name] for name in names] for names in (inputs, changed))
        if in_order is None:
            return gr.on(triggers, answer, read, written, **{**direct, **options})
        event = gr.on(triggers, answer, read, written, js=_IN_ORDER.format(values=in_order), **{**direct, **options})
        event.then(None, js=_END)
        return event


def message(error: Exception) -> str:
    """The message that the page shows for a mistake or a bug, never a traceback."""
    if os.environ.get("XPOSE_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
    if isinstance(error, XPoseError):
        return note(str(error), "problem")
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return note("The machine ran out of memory. Use a smaller picture, or ask for less at a time.", "problem")
    text = f"xpose failed unexpectedly: {type(error).__name__}: {error}. This is a bug. Please report it; started with "
    return note(text + "XPOSE_DEBUG=1, the server shows where it happened.", "problem")
