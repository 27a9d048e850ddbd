"""Self-contained HTML pages: Jinja templates with one style sheet, without scripts or external files.

A page extends `base.html` and uses the tables, lists and charts of `macros.html`. Every value is escaped except SVG
drawings, which templates mark as `safe`. The filters `thousands` ("1,234") and `counted` ("2 objects") are added to
Jinja's.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xpose.errors import counted

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """Render a template in this folder with the given values."""
    return _templates().get_template(template).render(**values)


def embedded(content: bytes, kind: str = "jpeg") -> str:
    """The bytes of a picture as a data URL (`data:image/...`)."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


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
