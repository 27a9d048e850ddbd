"""HTML pages that stand alone: Jinja templates with one style sheet, without scripts or anything loaded from elsewhere.

A page extends `base.html` and takes tables, lists and charts from `macros.html`. Every value is escaped except what a
template marks as `safe`, which are drawings in SVG. Beside Jinja's own filters there are `thousands` ("1,234") and
`counted` ("2 objects").
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """The page that a file of this folder makes of the values."""
    return _templates().get_template(template).render(**values)


def embedded(content: bytes, kind: str = "jpeg") -> str:
    """The bytes of a picture as an address that carries them (`data:image/...`)."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 object", "2 objects"; also a filter of the templates."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"thousands": "{:,}".format, "counted": counted}
    return templates
