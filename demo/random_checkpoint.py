"""Checkpoints of the released sizes with random weights: `python launch/random_checkpoint.py`.

For runs and measurements at real size without the released weights: every dimension, weight name
and file is as there, but the weights are noise, the vision tower has one layer, there is no talker,
and tokenizer and processor are the demo's, whose ids lie in the first rows of the vocabulary.
Tensors are drawn one by one and written shard by shard, so that memory holds two shards at most.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2_5OmniProcessor,
)

from demo.checkpoint import (
    VOCAB_SIZE,
    ThinkerSize,
    build_processor,
    generation_config,
    small_size,
    thinker_config,
)
from demo.texts import tokenizer_texts

_AUDIO_TOWER = {
    "audio_width": 1280,
    "audio_intermediate_size": 5120,
    "audio_layers": 32,
    "audio_heads": 20,
}

SIZES = {
    "tiny": small_size(128, 4, VOCAB_SIZE),
    "3b": ThinkerSize(
        hidden_size=2048,
        intermediate_size=11008,
        num_layers=36,
        num_heads=16,
        num_kv_heads=2,
        vocab_size=151936,
        max_positions=32768,
        **_AUDIO_TOWER,
    ),
    "7b": ThinkerSize(
        hidden_size=3584,
        intermediate_size=18944,
        num_layers=28,
        num_heads=28,
        num_kv_heads=4,
        vocab_size=152064,
        max_positions=32768,
        **_AUDIO_TOWER,
    ),
}
"""Source: `thinker_config` in config.json of Qwen/Qwen2.5-Omni-3B and -7B; the 7B numbers are also
the defaults of transformers. Embedding and head of the 3B model are counted apart (not tied)."""

DTYPE = torch.bfloat16

SHARD_BYTES = 2**30
"""Weights of one file; a larger tensor (the 7B embedding, 1.09 GB) gets a file of its own."""

INDEX = "model.safetensors.index.json"


def full_config(
    size: ThinkerSize, processor: Qwen2_5OmniProcessor | None = None
) -> Qwen2_5OmniConfig:
    """Return the configuration of a checkpoint of this size; `processor` names its special ids."""
    processor = processor or build_processor(tokenizer_texts(), VOCAB_SIZE)
    thinker = thinker_config(processor.tokenizer, size)
    return Qwen2_5OmniConfig(
        thinker_config=thinker.to_dict(),
        enable_audio_output=False,
        architectures=["Qwen2_5OmniForConditionalGeneration"],
        dtype=DTYPE,
    )


def weight_shapes(config: Qwen2_5OmniConfig) -> dict[str, torch.Size]:
    """Return checkpoint name -> shape of every weight, without memory for any of them."""
    with torch.device("meta"):
        model = Qwen2_5OmniForConditionalGeneration(config)
    return {name: weight.shape for name, weight in model.state_dict().items()}


def plan_shards(shapes: Mapping[str, torch.Size], shard_bytes: int) -> list[list[str]]:
    """Deal weights to files in order; a file is full before it would pass `shard_bytes`."""
    shards: list[list[str]] = []
    size = 0
    for name, shape in shapes.items():
        num_bytes = shape.numel() * DTYPE.itemsize
        if not shards or size + num_bytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += num_bytes
    return shards


def draw_weight(name: str, shape: torch.Size, seed: int, device: str) -> Tensor:
    """Return a weight as a fresh model has it: norms 1, biases 0, the rest normal with std 0.02.

    Args:
        name: with the seed it decides the numbers, so they do not depend on order or shards.
        device: draws it; CPU and GPU draw other numbers.
    """
    if len(shape) == 1:
        return torch.full(shape, 0.0 if name.endswith("bias") else 1.0, dtype=DTYPE)
    draw = torch.Generator(device).manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    return torch.empty(shape, dtype=DTYPE, device=device).normal_(0.0, 0.02, generator=draw).cpu()


def write_random_checkpoint(
    path: Path,
    size: ThinkerSize,
    *,
    num_layers: int = 0,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
    report: Callable[[str], None] = print,
) -> None:
    """Write a checkpoint folder; it appears only once it is complete.

    Args:
        num_layers: layers of the language model; 0 = all of them.
        shard_bytes: most bytes of one file, unless a single weight has more.

    Raises:
        ValueError: the folder exists already.
    """
    if path.exists():
        raise ValueError(f"{path} exists: remove it, or build elsewhere")
    size = replace(size, num_layers=num_layers or size.num_layers)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = build_processor(tokenizer_texts(), VOCAB_SIZE)
    config = full_config(size, processor)
    shapes = weight_shapes(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as unfinished:
        folder = Path(unfinished) / path.name
        processor.save_pretrained(folder)
        config.save_pretrained(folder)
        generation_config(processor.tokenizer).save_pretrained(folder)
        start = time.monotonic()
        places: dict[str, str] = {}
        shards = plan_shards(shapes, shard_bytes)
        for number, names in enumerate(shards, start=1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            weights = {name: draw_weight(name, shapes[name], seed, device) for name in names}
            save_file(weights, folder / file, metadata={"format": "pt"})
            places |= dict.fromkeys(names, file)
            report(f"{file}: {len(names)} weights, {time.monotonic() - start:.0f} s")
        total = sum(shape.numel() for shape in shapes.values())
        index = {
            "metadata": {"total_size": total * DTYPE.itemsize, "total_parameters": total},
            "weight_map": places,
        }
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        folder.rename(path)
    report(f"{path}: {total / 1e9:.3f} billion weights, {total * DTYPE.itemsize / 1e9:.1f} GB")


def main(argv: Sequence[str] | None = None) -> int:
    """Write a checkpoint; exit code 2 if its folder exists."""
    parser = argparse.ArgumentParser(
        description="Write a Qwen2.5-Omni checkpoint of a released size with random weights."
    )
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("path", type=Path, help="folder to make; 3b takes 8 GB, 7b 17 GB")
    parser.add_argument("--layers", type=int, default=0, help="of the language model; 0 = all")
    parser.add_argument("--seed", type=int, default=0, help="draws the weights")
    parsed = parser.parse_args(argv)
    if parsed.path.exists():
        parser.error(f"{parsed.path} exists: remove it, or build elsewhere")
    write_random_checkpoint(
        parsed.path,
        SIZES[parsed.size],
        num_layers=parsed.layers,
        seed=parsed.seed,
        report=lambda line: print(line, flush=True),
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
