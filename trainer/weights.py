"""The learner's weights under their checkpoint names, gathered layer by layer.

One source serves all readers: weight sync (any transport) and the export of checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import deepspeed
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from rollout.host_receiver import WeightInfo

CHECKPOINT_PREFIX = "thinker."
"""Prefix of the thinker's weights in a full Qwen2.5-Omni checkpoint."""


def checkpoint_name(name: str) -> str | None:
    """Map a learner's parameter name to the name of a full checkpoint.

    Returns:
        The checkpoint's name, or None for adapter weights, which have none of their own.
    """
    if ".lora_" in name:
        return None
    return CHECKPOINT_PREFIX + name.replace(".base_layer.", ".")


def merged_weight(layer: LoraLayer, weight: Tensor) -> Tensor:
    """Return W + scaling * B A of an adapted layer, computed in float32.

    Args:
        layer: the adapted layer; its adapter weights must be gathered.
        weight: its base weight, gathered.

    Returns:
        [out, in] in the weight's dtype.

    Source: LoRA (arXiv 2106.09685), section 4.1.
    """
    (name,) = layer.active_adapters
    delta = layer.lora_B[name].weight.float() @ layer.lora_A[name].weight.float()
    return (weight.float() + layer.scaling[name] * delta).to(weight.dtype)


class WeightSource:
    """Iterates a thinker's weights in full, whatever the ZeRO stage.

    Every iteration is a fresh pass in the same order. Under ZeRO-3 a pass is a collective: all
    ranks must run it in step. It has the two channels of vLLM's own weight sources (`metadata` and
    iteration), so vLLM's trainer engines take it as it is.

    Args:
        skip: parameter-name prefixes to leave out: frozen parts, which the engines have already.
        changed_only: with adapters, leave out the layers that have none.
    """

    def __init__(
        self, thinker: nn.Module, skip: Sequence[str] = (), *, changed_only: bool = False
    ) -> None:
        self._thinker = thinker
        dropped = tuple(prefix + "." for prefix in skip)
        self._parameters = [
            (name, parameter)
            for name, parameter in thinker.named_parameters()
            if not f"{name}.".startswith(dropped)
        ]
        self._adapted = {
            f"{name}.base_layer.weight": module
            for name, module in thinker.named_modules()
            if isinstance(module, LoraLayer)
        }
        if changed_only and self._adapted:
            changed = {_fused_name(name) for name in self._adapted}
            self._parameters = [
                (name, parameter)
                for name, parameter in self._parameters
                if _fused_name(name) in changed
            ]

    def metadata(self) -> list[WeightInfo]:
        """Return what a pass yields, in its order, without gathering anything."""
        return [
            WeightInfo(target, parameter.dtype, _full_shape(parameter))
            for name, parameter in self._parameters
            if (target := checkpoint_name(name)) is not None
        ]

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (checkpoint name, full tensor).

        A tensor may alias the live parameter; it keeps its values until the next optimizer step.
        """
        for _, layer in groupby(self._parameters, key=lambda item: _layer_key(item[0])):
            parameters = list(layer)
            with gathered([parameter for _, parameter in parameters]):
                for name, parameter in parameters:
                    target = checkpoint_name(name)
                    if target is None:
                        continue
                    weight = parameter.detach()
                    if name in self._adapted:
                        weight = merged_weight(self._adapted[name], weight)
                    yield target, weight


def gathered(parameters: Sequence[nn.Parameter]) -> deepspeed.zero.GatheredParameters:
    """Return a context in which parameters partitioned by ZeRO-3 are whole on every rank."""
    partitioned = [parameter for parameter in parameters if is_partitioned(parameter)]
    return deepspeed.zero.GatheredParameters(partitioned, enabled=bool(partitioned))


def is_partitioned(parameter: nn.Parameter) -> bool:
    """Return whether ZeRO-3 holds this parameter in shards."""
    return hasattr(parameter, "ds_id")


_FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers that the engine holds as one: it can load all of them or none."""


def _fused_name(name: str) -> str:
    """Return the layer of a weight or of its adapter, the same for layers that go together.

    `model.layers.0.self_attn.k_proj.lora_A.default.weight` -> `model.layers.0.self_attn.q_proj`
    """
    layer = re.split(r"\.base_layer\.|\.lora_|\.(?=weight$|bias$)", name)[0]
    block, _, projection = layer.rpartition(".")
    first = next((group[0] for group in _FUSED if projection in group), projection)
    return f"{block}.{first}"


def _full_shape(parameter: nn.Parameter) -> tuple[int, ...]:
    return tuple(parameter.ds_shape if is_partitioned(parameter) else parameter.shape)


def _layer_key(name: str) -> str:
    """Everything up to the first layer number: `model.layers.3`, `audio_tower.layers.0`."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: number + 1]) if number is not None else parts[0]
