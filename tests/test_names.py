"""One word per concept: no public class has the name of another one."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "xpose"

# Names that still stand for several things. The list only shrinks: whoever renames one of them takes it out.
SEVERAL = {
    *(
        "Answer",
        "Asked",
        "Category",
        "Data",
        "Entry",
        "Example",
        "Examples",
        "Figure",
        "Kind",
        "Outcome",
        "Part",
        "Picture",
        "Plan",
        "Run",
        "Sample",
        "Similarity",
        "Source",
        "Taxonomy",
    ),
}


def test_no_public_class_name_is_defined_twice():
    names = Counter(
        node.name
        for path in SOURCE.rglob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {name for name, count in names.items() if count > 1} == SEVERAL
