"""Write the package's graphs: python -m xpose.export.bundled.

They contain no weights, so that weights of the same architecture share them: those of the package and those that users
train from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from xpose.errors import quote
from xpose.export.files import to_onnx, traced, write_without_weights
from xpose.export.graphs import graphs_of
from xpose.inference.engines.graphs import ABOUT_FILE, BUNDLED_GRAPHS, architecture
from xpose.inference.engines.torch import TorchEngine
from xpose.model.checkpoints.known import bundled_weights
from xpose.model.checkpoints.pretrained import from_pretrained


def main(folder: Path) -> None:
    """Write the graphs of every architecture among the bundled weights."""
    for name, engine in _engines():
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        weights = {}
        for graph in graphs_of(engine):
            path = target / f"{graph.name}.onnx"
            model = to_onnx(graph, traced(graph))
            weights[graph.name] = write_without_weights(model, path, engine.model.state_dict().keys())
            print(f"{quote(path)}: {path.stat().st_size / 1e3:.0f} kB", flush=True)
        about = {"config": json.loads(engine.config.to_json()), "weights": weights}
        (target / ABOUT_FILE).write_text(json.dumps(about, indent=1) + "\n", "utf-8")


def _engines() -> Iterator[tuple[str, TorchEngine]]:
    """One network of each architecture."""
    seen = []
    for name, folder in bundled_weights().items():
        model = from_pretrained(folder).model.requires_grad_(False)
        if architecture(model.config) not in seen:
            seen.append(architecture(model.config))
            yield name, TorchEngine(model)


if __name__ == "__main__":
    main(BUNDLED_GRAPHS)
