"""Make the shipped table of sentence embeddings: python -m xpose.model.prompting.build_table.

It holds the names of the vocabulary, of what the bundled weights have learned, and of other things.
"""

from __future__ import annotations

from pathlib import Path

from xpose import vocabulary
from xpose.model.checkpoints.categories import read_categories
from xpose.model.checkpoints.known import bundled_weights
from xpose.model.prompting.nano import table_path, write_table
from xpose.model.prompting.sentences import MODEL_SHA256, MiniLMEncoder
from xpose.model.prompting.sides import spell_out
from xpose.vocabulary.categories import OTHER_THINGS


def main(output: Path) -> None:
    """Encode every name and write the table."""
    names = known_names()
    write_table(output, names, MiniLMEncoder().encode(names), MODEL_SHA256)
    print(f"{len(names)} names, {output.stat().st_size / 1e6:.2f} MB: {output}")


def known_names() -> list[str]:
    """Every name and part of the shipped skeletons and every category, spelt out, sorted and unique."""
    names: list[str] = []
    for skeleton in vocabulary.list_skeletons():
        names += [*skeleton.keypoints, *skeleton.parts]
    for category in vocabulary.list_categories():
        names += [category.name, *category.also]
    names += OTHER_THINGS
    for folder in bundled_weights().values():
        for learned in read_categories(folder):
            names += [learned.name, *learned.keypoints]
    return sorted({spell_out(name) for name in names} - {""})


if __name__ == "__main__":
    main(table_path())
