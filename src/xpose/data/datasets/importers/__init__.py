"""Importers for labels of other tools: one module per format, each a converter created for one file or folder.

`import_set("yolo-pose", "my/data.yaml", "sets")` does all of it. docs/data-import.md has one command per format.
"""

from __future__ import annotations

from xpose.data.datasets.importers.importing import (
    IMPORTERS,
    Imported,
    import_set,
    imported_skeletons,
    load_importer,
)

__all__ = ["IMPORTERS", "Imported", "import_set", "imported_skeletons", "load_importer"]
