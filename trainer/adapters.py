"""Adapters as files in peft's layout: what training starts from, and what it leaves.

Names are those of a full Qwen2.5-Omni (`base_model.model.thinker.model.layers...`), by which vLLM
and other trainers know them; files whose names lack `thinker.` are read too.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import peft
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from configs.errors import UserError
from configs.schema import LoraConfig, RunConfig
from data.files import sync
from trainer.policy import TRAINED
from trainer.weights import CHECKPOINT_PREFIX, gathered

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
"""What peft puts before the names of weights."""

OTHER_KINDS: Mapping[str, Any] = {
    "use_rslora": False,
    "use_dora": False,
    "bias": "none",
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}
"""Settings of kinds of adapters that are not trained here -> what they are in those that are."""


class AdapterError(UserError):
    """An adapter that training cannot start from; the message says why and what to do."""


def holds_to_adapter(config: RunConfig) -> bool:
    """Return whether the KL term is against the adapter that the run starts from."""
    loss = config.loss
    is_held = loss.kind == "policy" and loss.kl_coef > 0
    return bool(config.model.adapter) and is_held and loss.reference == "start"


def check_settings(folder: Path, lora: LoraConfig) -> None:
    """Check that an adapter is of the kind, rank and scale that the run is configured for.

    Raises:
        AdapterError: It is not, or its settings cannot be read.
    """
    rank, alpha = _rank_and_alpha(folder)
    if (rank, alpha) != (lora.rank, lora.alpha):
        raise AdapterError(
            f"model.adapter: {folder} has rank {rank} and alpha {alpha:g}, the run rank "
            f"{lora.rank} and alpha {lora.alpha:g}; set model.lora.rank={rank} "
            f"model.lora.alpha={alpha:g}"
        )


def lora_of(folder: Path) -> LoraConfig:
    """Return rank, scale and layers of an adapter as its files have them.

    Raises:
        AdapterError: It is of another kind, or cannot be read.
    """
    rank, alpha = _rank_and_alpha(folder)
    targets = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in _weights(folder)})
    return LoraConfig(rank=rank, alpha=alpha, targets=targets)


def _rank_and_alpha(folder: Path) -> tuple[int, float]:
    file = folder / SETTINGS
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            f"model.adapter: {file} is not the {SETTINGS} of a peft LoRA adapter ({error!r}); name "
            "the folder that has it"
        ) from error
    other = [k for k, usual in OTHER_KINDS.items() if (settings.get(k) or usual) != usual]
    if settings.get("peft_type") != "LORA" or other:
        what = ", ".join(other) or f"peft_type {settings.get('peft_type')}"
        raise AdapterError(
            f"model.adapter: {file}: {what} is not trained here; merge that adapter into its base "
            "with peft, and give the merged checkpoint as model.path"
        )
    return rank, alpha


def _weights(folder: Path) -> dict[str, Tensor]:
    """Return an adapter's weights by their names in a thinker."""
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"model.adapter: {folder / WEIGHTS}: cannot be read: {error}") from error
    prefix = re.compile(rf"^{re.escape(PREFIX)}({re.escape(CHECKPOINT_PREFIX)})?")
    return {prefix.sub("", name): weight for name, weight in weights.items()}


@torch.no_grad()
def fill_adapters(thinker: nn.Module, folder: Path, lora: LoraConfig) -> None:
    """Give the adapters of a thinker, every set of them, the weights of a folder, in place.

    Raises:
        AdapterError: As `check_settings`, or it is of other layers or sizes than
            `model.lora.targets` and the model have, or its weights cannot be read.
    """
    check_settings(folder, lora)
    weights = _weights(folder)
    places: dict[str, list[nn.Parameter]] = {}
    for name, parameter in thinker.named_parameters():
        if ".lora_" in name:
            places.setdefault(re.sub(r"(\.lora_[AB])\.\w+\.", r"\1.", name), []).append(parameter)
    if unlike := sorted(weights.keys() ^ places.keys()):
        side = "has" if unlike[0] in weights else "lacks"
        raise AdapterError(
            f"model.adapter: {folder} {side} {unlike[0]} ({len(unlike)} such weights); set "
            "model.lora.targets to the layers that it was trained on"
        )
    for name, parameters in places.items():
        for parameter in parameters:
            if parameter.shape != weights[name].shape:
                raise AdapterError(
                    f"model.adapter: {folder}: {name} is {list(weights[name].shape)}, the model "
                    f"needs {list(parameter.shape)}; it is of another base than model.path"
                )
            parameter.copy_(weights[name])


def adapter_weights(thinker: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the trained adapter's weights in full under the names of their file.

    Under ZeRO-3 a pass is a collective.
    """
    mark = f".{TRAINED}."
    named = [(n, p) for n, p in thinker.named_parameters() if ".lora_" in n and mark in n]
    for _, layer in groupby(named, key=lambda item: item[0].partition(".lora_")[0]):
        parameters = list(layer)
        with gathered([parameter for _, parameter in parameters]):
            for name, parameter in parameters:
                yield PREFIX + CHECKPOINT_PREFIX + name.replace(mark, "."), parameter.detach()


def write_adapter(folder: Path, weights: Mapping[str, Tensor], lora: LoraConfig) -> None:
    """Write an adapter's folder, which appears under its name once it is complete.

    Args:
        folder: Replaced if it exists.
        weights: From `adapter_weights`.
        lora: As they were trained.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(dict(weights), partial / WEIGHTS, metadata={"format": "pt"})
    targets = "|".join(map(re.escape, lora.targets))
    alpha: Any = int(lora.alpha) if lora.alpha.is_integer() else lora.alpha  # others want integers
    settings = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=alpha,
        lora_dropout=lora.dropout,
        # By their full names: the audio tower and the talker have layers that are called alike.
        target_modules=rf"(thinker\.)?model\.layers\.\d+\.\w+\.({targets})",
        bias="none",
        inference_mode=True,
    )
    settings.save_pretrained(str(partial))
    for file in partial.iterdir():
        sync(file)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    sync(folder.parent)
