"""Serves the labelling page and its pictures."""

from __future__ import annotations

from typing import Any

from xpose.demo.labelling.controller import PICTURE_ADDRESS, LabelController
from xpose.demo.server import mount, new_app
from xpose.errors import XPoseError


def make_label_app(controller: LabelController) -> Any:
    """The page as an ASGI application; a `MissingExtraError` without Gradio."""
    app = new_app()
    from fastapi import HTTPException, Response

    from xpose.demo.labelling.page import CSS, build

    labelling = controller.labelling

    @app.get(f"/{PICTURE_ADDRESS}".format("{number}"), response_model=None)
    def picture(number: int) -> Any:
        if not 0 <= number < len(labelling.names):
            raise HTTPException(404)
        try:
            jpeg = labelling.prepared(labelling.names[number]).result().jpeg
        except XPoseError:  # the page says why
            raise HTTPException(404) from None
        return Response(jpeg, media_type="image/jpeg", headers={"Cache-Control": "no-cache"})

    return mount(app, build(controller), CSS)
