"""The checkpoint that a run starts from: whether all its files are there and can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.schema import RunConfig
from data.checkpoint import model_length
from launch.preflight import Problem, how_to_get

PARTS = (
    ("config.json",),
    ("tokenizer_config.json",),
    ("tokenizer.json", "vocab.json and merges.txt"),
    ("processor_config.json", "preprocessor_config.json"),
    ("chat_template.jinja", "chat_template.json", "chat_template in processor_config.json"),
)
"""What a checkpoint needs besides weights, each with its alternatives."""

INDEX = "model.safetensors.index.json"


def check_checkpoint(config: RunConfig) -> Iterator[Problem]:
    """Yield what is missing or unreadable in the folder of the policy that the run starts from."""
    folder = Path(config.model.path)
    if not folder.is_dir():
        yield Problem("error", f"model.path: no folder {folder}", how_to_get(config.model.path))
        return
    again = "fetch the whole checkpoint again; weights are read from safetensors files only"
    parts = [" or ".join(names) for names in PARTS if not any(_has(folder, n) for n in names)]
    missing = [*parts, *_missing_weights(folder)]
    if missing:
        yield Problem("error", f"model.path: {folder} lacks {', '.join(missing)}", again)
    broken = [path.name for path in sorted(folder.glob("*.json")) if _read(path) is None]
    if broken:
        yield Problem("error", f"model.path: {folder}: no JSON in {', '.join(broken)}", again)
    if adapter := config.model.adapter:
        yield from _adapter(Path(adapter), config)
    longest = model_length(folder)
    if config.loss.kind == "policy" and longest and config.rollout.max_model_len > longest:
        yield Problem(
            "error",
            f"rollout.max_model_len: {config.rollout.max_model_len} tokens, and {folder} was made "
            f"for {longest} (max_position_embeddings)",
            f"set rollout.max_model_len to {longest} or less",
        )


def _adapter(folder: Path, config: RunConfig) -> Iterator[Problem]:
    from trainer.adapters import AdapterError, check_settings

    if not folder.is_dir():
        yield Problem("error", f"model.adapter: no folder {folder}", how_to_get(str(folder)))
        return
    try:
        check_settings(folder, config.model.lora)
    except AdapterError as error:
        what, _, to_do = str(error).rpartition("; ")
        yield Problem("error", what, to_do)


def _missing_weights(folder: Path) -> list[str]:
    weights = {path.name for path in folder.glob("*.safetensors")}
    index = _read(folder / INDEX)
    if index is None or not isinstance(index.get("weight_map"), dict):
        return [] if weights else ["*.safetensors"]
    return sorted({*index["weight_map"].values()} - weights)


def _has(folder: Path, part: str) -> bool:
    """Return whether a folder has one of the alternatives in `PARTS`."""
    key, inside, file = part.rpartition(" in ")
    if inside:
        return key in (_read(folder / file) or {})
    return all((folder / name).is_file() for name in part.split(" and "))


def _read(path: Path) -> dict[str, Any] | None:
    """Return a JSON object; None if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
