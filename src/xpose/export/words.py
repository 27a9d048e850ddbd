"""Write the package's sentence encoder for installations without PyTorch: python -m xpose.export.words.

It is MiniLM with weights of 8 bits, which become 32 bits when it is opened.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpose.export.files import to_onnx, traced, write_without_weights
from xpose.export.graphs import Graph
from xpose.model.prompting.sentences import ASSETS, load_bert, model_folder
from xpose.pictures.atomic import write_atomically

_LEAST = 4096  # smaller tensors keep 32 bits


class SentenceModule(nn.Module):
    """MiniLM, the mean over its tokens, and the normalisation."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor]:
        """[n, T] and [n, T] to [n, 384]."""
        states = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        weights = mask[..., None].to(states.dtype)
        return (F.normalize((states * weights).sum(1) / weights.sum(1), dim=-1),)


def main(folder: Path) -> None:
    """Write the graph, the weights and the tokeniser."""
    from safetensors.numpy import save_file

    module = SentenceModule(load_bert(model_folder()))
    tokens = torch.arange(1000, 1021).view(3, 7)
    mask = torch.ones(3, 7, dtype=torch.long)
    axes = {name: {0: "texts", 1: "tokens"} for name in ("tokens", "mask")}
    graph = Graph("minilm", module, {"tokens": tokens, "mask": mask}, axes, ("embeddings",))
    state = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    needed = write_without_weights(to_onnx(graph, traced(graph)), folder / ASSETS.graph, state.keys())
    arrays: dict[str, np.ndarray] = {}
    for name in needed:
        values = state[name]
        if values.size < _LEAST:
            arrays[name] = values
        else:
            arrays[name], arrays[f"{name}.scale"] = quantised(values)
    write_atomically(folder / ASSETS.weights, lambda path: save_file(arrays, path))
    shutil.copy(model_folder() / "tokenizer.json", folder / ASSETS.tokenizer)


def quantised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 8-bit numbers, and the scale of each row."""
    scales = np.abs(values).max(axis=1, keepdims=True) / 127
    scales[scales == 0] = 1
    return np.round(values / scales).astype(np.int8), scales.astype(np.float32)


if __name__ == "__main__":
    from xpose.model.prompting.nano import table_path

    main(table_path().parent)
