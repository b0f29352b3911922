"""The sizes of a checkpoint's thinker, from the headers of its safetensors files alone.

A header is some JSON before the weights; no weight is read, and PyTorch is not imported. The vision
tower is left out, since no process of a run holds it; so are the talker and its vocoder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.schema import ModelConfig

PREFIX = "thinker."
"""Before the thinker's names in a full checkpoint."""

MAX_HEADER_BYTES = 100 * 2**20
"""What the format allows a header."""

DTYPE_BYTES = {"float32": 4, "bfloat16": 2}
"""Bytes of a number, by `model.dtype`."""

AUDIO_TOWER = "audio_tower"


class ModelSizeError(UserError):
    """A checkpoint's sizes cannot be read; the message says which file and why."""


@dataclass(frozen=True)
class ModelSize:
    """Names and shapes of the thinker's weights, and the few facts that no shape tells."""

    shapes: Mapping[str, tuple[int, ...]]
    """Name below `thinker.` -> shape; without the vision tower."""
    num_heads: int
    """Attention heads of the language model."""
    num_audio_heads: int
    """Attention heads of the audio tower."""

    @cached_property
    def vocab(self) -> int:
        """Rows of the embedding."""
        return self.shapes["model.embed_tokens.weight"][0]

    @cached_property
    def hidden(self) -> int:
        """Width of the language model."""
        return self.shapes["model.embed_tokens.weight"][1]

    @cached_property
    def layers(self) -> int:
        """Layers of the language model."""
        return sum(name.endswith("self_attn.k_proj.weight") for name in self.language)

    @cached_property
    def language(self) -> dict[str, tuple[int, ...]]:
        """Weights of the language model's layers alone."""
        return {n: shape for n, shape in self.shapes.items() if n.startswith("model.layers.")}

    @cached_property
    def query_dim(self) -> int:
        """Width of a layer's queries, all heads together."""
        return self.shapes["model.layers.0.self_attn.q_proj.weight"][0]

    @cached_property
    def kv_dim(self) -> int:
        """Width of a layer's keys, all heads together; that of its values too."""
        return self.shapes["model.layers.0.self_attn.k_proj.weight"][0]

    @cached_property
    def num_kv_heads(self) -> int:
        """Key-value heads of the language model."""
        return self.kv_dim * self.num_heads // self.query_dim

    @cached_property
    def intermediate(self) -> int:
        """Width inside the language model's feed-forward blocks."""
        return self.shapes["model.layers.0.mlp.up_proj.weight"][0]

    @cached_property
    def audio_hidden(self) -> int:
        """Width of the audio tower."""
        return self.shapes["audio_tower.conv1.weight"][0]

    @cached_property
    def audio_layers(self) -> int:
        """Layers of the audio tower."""
        names = (name for name in self.shapes if name.startswith("audio_tower.layers."))
        return sum(name.endswith("self_attn.k_proj.weight") for name in names)

    @cached_property
    def audio_intermediate(self) -> int:
        """Width inside the audio tower's feed-forward blocks."""
        return self.shapes["audio_tower.layers.0.fc1.weight"][0]

    def count(self, prefix: str = "") -> int:
        """Return the number of weights whose names start with a prefix (whole parts of a name)."""
        return sum(math.prod(s) for n, s in self.shapes.items() if not prefix or _below(n, prefix))

    def trained_shapes(self, model: ModelConfig) -> list[tuple[int, ...]]:
        """Return the shape of every trained weight, as `trainer.policy.prepare_thinker` chooses."""
        if model.lora.rank:
            return list(self._adapter_shapes(model.lora.rank, model.lora.targets))
        return [
            shape
            for name, shape in self.shapes.items()
            if "audio_bos_eos_token" not in name
            and not any(_below(name, prefix) for prefix in model.freeze)
        ]

    def num_trained(self, model: ModelConfig) -> int:
        """Return the number of trained weights."""
        return sum(map(math.prod, self.trained_shapes(model)))

    def num_adapters(self, model: ModelConfig) -> int:
        """Return the number of weights of the adapters; 0 without them."""
        return self.num_trained(model) if model.lora.rank else 0

    def _adapter_shapes(self, rank: int, targets: Sequence[str]) -> Iterator[tuple[int, ...]]:
        for name, shape in self.shapes.items():
            layer = name.removesuffix(".weight").rpartition(".")[2]
            if name.startswith("model.") and len(shape) == 2 and layer in targets:
                yield (rank, shape[1])
                yield (shape[0], rank)


def _below(name: str, prefix: str) -> bool:
    return f"{name}.".startswith(f"{prefix}.")


def read_model_size(folder: Path) -> ModelSize:
    """Read the sizes of a checkpoint.

    Raises:
        ModelSizeError: A file is missing, is no safetensors file, or holds no thinker.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        paths = [folder / name for name in sorted(set(_read_json(index)["weight_map"].values()))]
    else:
        paths = sorted(folder.glob("*.safetensors"))
    shapes = {}
    for path in paths:
        for name, shape in read_header(path).items():
            if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}visual."):
                shapes[name.removeprefix(PREFIX)] = shape
    if "model.embed_tokens.weight" not in shapes or "audio_tower.conv1.weight" not in shapes:
        raise ModelSizeError(
            f"{folder}: no weights of a Qwen2.5-Omni thinker; give the folder of such a checkpoint"
        )
    config = _read_json(folder / "config.json")
    try:
        thinker = config["thinker_config"]
        num_heads = int(thinker["text_config"]["num_attention_heads"])
        num_audio_heads = int(thinker["audio_config"]["encoder_attention_heads"])
    except (KeyError, TypeError) as error:
        raise ModelSizeError(f"{folder / 'config.json'}: no entry {error}") from error
    return ModelSize(shapes, num_heads, num_audio_heads)


def read_header(path: Path) -> dict[str, tuple[int, ...]]:
    """Return name -> shape of every tensor of a safetensors file; its tensors are not read.

    Raises:
        ModelSizeError: No such file, or not in this format.

    Source: the safetensors format: 8 bytes of length, little-endian, then a JSON object.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= MAX_HEADER_BYTES else b""
    except OSError as error:
        raise ModelSizeError(f"{path}: {error.strerror}") from error
    try:
        return {
            name: tuple(int(size) for size in entry["shape"])
            for name, entry in json.loads(text).items()
            if name != "__metadata__"
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelSizeError(f"{path}: not a safetensors file; fetch it again") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelSizeError(f"{path}: {error}") from error
