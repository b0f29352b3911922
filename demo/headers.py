"""Checkpoint folders of the released models' dimensions, without their weights.

python -m demo.headers {3B,7B} FOLDER

Writes what `launch/doctor.py` and `--dry-run` read to estimate memory: `config.json`, and
safetensors files of full size that consist of a header and a hole, so that they take no room on the
disk.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

from demo.random_checkpoint import SIZES

RELEASED = ("3B", "7B")
"""Sizes of the released models."""


def thinker_config(name: str) -> Qwen2_5OmniThinkerConfig:
    """Return the configuration of a released thinker, one of `RELEASED`."""
    size = SIZES[name.lower()]
    text = {
        "hidden_size": size.hidden_size,
        "num_hidden_layers": size.num_layers,
        "num_attention_heads": size.num_heads,
        "num_key_value_heads": size.num_kv_heads,
        "intermediate_size": size.intermediate_size,
        "vocab_size": size.vocab_size,
        "tie_word_embeddings": False,
    }
    audio = {
        "d_model": size.audio_width,
        "encoder_layers": size.audio_layers,
        "encoder_attention_heads": size.audio_heads,
        "encoder_ffn_dim": size.audio_intermediate_size,
        "output_dim": size.hidden_size,
    }
    return Qwen2_5OmniThinkerConfig(text_config=text, audio_config=audio)


def meta_thinker(name: str) -> nn.Module:
    """Return a released thinker on the meta device: names and shapes without memory."""
    with torch.device("meta"):
        return Qwen2_5OmniThinkerForConditionalGeneration(thinker_config(name))


def write_headers(
    folder: Path, shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], num_files: int
) -> None:
    """Write a checkpoint of headers and holes.

    Args:
        num_files: Files that the weights are spread over; with an index if there are several.
    """
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    names = sorted(shapes)
    files: dict[str, str] = {}
    for number in range(num_files):
        path = folder / f"model-{number + 1:05d}-of-{num_files:05d}.safetensors"
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for name in names[number::num_files]:
            start, end = end, end + 2 * math.prod(shapes[name])
            entry = {"dtype": "BF16", "shape": list(shapes[name]), "data_offsets": [start, end]}
            header[name] = entry
            files[name] = path.name
        text = json.dumps(header).encode()
        with path.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            file.truncate(8 + len(text) + end)
    if num_files > 1:
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": files}), encoding="utf-8")


def write_omni(folder: Path, name: str, num_files: int = 3) -> None:
    """Write the headers of a released thinker with its vision tower; see `write_headers`."""
    weights = meta_thinker(name).named_parameters()
    shapes = {f"thinker.{key}": tuple(weight.shape) for key, weight in weights}
    config = {"thinker_config": json.loads(thinker_config(name).to_json_string())}
    write_headers(folder, shapes, config, num_files)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a checkpoint of headers without weights.")
    parser.add_argument("size", choices=RELEASED)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    write_omni(arguments.folder, arguments.size)
