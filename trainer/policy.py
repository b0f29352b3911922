"""The policy model: loading, freezing and adapters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import peft
import torch
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import AutoConfig, Qwen2_5OmniThinkerForConditionalGeneration

from configs.schema import LoraConfig, ModelConfig


def load_thinker(
    path: str | Path, dtype: str, device: torch.device | None = None
) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """Load the thinker of a Qwen2.5-Omni checkpoint without its vision tower.

    Args:
        dtype: `float32` or `bfloat16`.
        device: where it is loaded to, tensor by tensor, without a copy in host memory; None = the
            CPU.

    Returns:
        The model in evaluation mode (dropout off, also while training); its `visual` is None.

    Raises:
        ValueError: a weight is missing from the checkpoint.
    """
    config = AutoConfig.from_pretrained(path).thinker_config
    thinker, report = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        path,
        config=config,
        dtype=getattr(torch, dtype),
        device_map=device,
        use_safetensors=True,
        output_loading_info=True,
    )
    missing = [name for name in report["missing_keys"] if not name.startswith("visual.")]
    if missing:
        raise ValueError(f"{path}: the checkpoint lacks {len(missing)} weights, first {missing[0]}")
    thinker.visual = None
    return thinker.eval()


TRAINED, START = "default", "start"
"""Names of the adapter that is trained, and of the frozen one that it started from."""


def prepare_thinker(thinker: nn.Module, config: ModelConfig, *, keeps_start: bool = False) -> None:
    """Freeze parts, add adapters and switch gradient checkpointing on, in place.

    Args:
        keeps_start: Add a frozen second set of adapters, for the reference policy.

    Raises:
        ValueError: a `freeze` prefix names no weight, or nothing is left to train.
    """
    names = [name for name, _ in thinker.named_parameters()]
    for prefix in config.freeze:
        if not any(_has_prefix(name, prefix) for name in names):
            raise ValueError(f"model.freeze: no weight of the thinker starts with {prefix!r}")
    for name, parameter in thinker.named_parameters():
        frozen = any(_has_prefix(name, prefix) for prefix in config.freeze)
        # The audio start/end embedding takes no part in the forward pass.
        parameter.requires_grad_(not frozen and "audio_bos_eos_token" not in name)
    if config.lora.rank:
        add_adapters(thinker, config.lora, keeps_start=keeps_start)
    if config.gradient_checkpointing:
        thinker.gradient_checkpointing_enable({"use_reentrant": False})
        # The layers recompute only in training mode; nothing else in the model depends on it
        # but adapter dropout.
        thinker.train()
    if not any(parameter.requires_grad for parameter in thinker.parameters()):
        raise ValueError("model.freeze: every weight is frozen, nothing is left to train")


def layer_pieces(thinker: nn.Module) -> list[nn.Module]:
    """Return what is compiled of the decoder layers: their gated layers and their norms.

    Chains of small operations over all tokens of a row, which a compiler makes into a few. The
    projections around the attention gain nothing, and the attention is a kernel of its own.
    """
    return [
        piece
        for layer in thinker.model.layers
        for piece in (layer.mlp, layer.input_layernorm, layer.post_attention_layernorm)
    ]


def _has_prefix(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def add_adapters(thinker: nn.Module, config: LoraConfig, *, keeps_start: bool = False) -> None:
    """Add low-rank adapters to the language model and freeze everything else, in place.

    Args:
        keeps_start: As for `prepare_thinker`.
    """
    for parameter in thinker.parameters():
        parameter.requires_grad_(False)
    lora = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        bias="none",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft's, of more than one adapter
        for name in (TRAINED, START) if keeps_start else (TRAINED,):
            peft.inject_adapter_in_model(lora, thinker.model, adapter_name=name)
    for layer in _adapted(thinker):
        layer.set_adapter(TRAINED)


def _adapted(thinker: nn.Module) -> list[LoraLayer]:
    return [module for module in thinker.modules() if isinstance(module, LoraLayer)]


@contextmanager
def as_reference(thinker: nn.Module) -> Iterator[None]:
    """Run the frozen policy that training is held to.

    Inside the block the base has the adapters that the run started from, if they are kept, and
    else none. Which weights are trained does not change, as it would by peft's `set_adapter`:
    ZeRO has its hooks on them.
    """
    layers = _adapted(thinker)
    for layer in layers:
        if START in layer.lora_A:
            layer._active_adapter = [START]
        else:
            layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            if START in layer.lora_A:
                layer._active_adapter = [TRAINED]
            else:
                layer.enable_adapters(True)
