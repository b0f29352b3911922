"""Optimizer state in host memory while an engine uses the learner's GPU."""

from __future__ import annotations

from typing import Any

import torch
from deepspeed.runtime.zero.offload_config import OffloadStateTypeEnum

IN_HOST_MEMORY = (OffloadStateTypeEnum.hp_params, OffloadStateTypeEnum.optim_states)
"""Master weights and moments: 12 bytes a parameter, over the ranks."""


class OptimizerOffload:
    """Moves a DeepSpeed engine's master weights and moments out and in.

    DeepSpeed's own way is used for ZeRO-1 and 2, where views of the buffers have to be renewed. Its
    way for ZeRO-3 takes no optimizer but its own compiled one, so there the tensors are moved here.

    Args:
        zero_stage: 1 to 3.
    """

    def __init__(self, engine: Any, zero_stage: int) -> None:
        self._engine = engine
        self._by_deepspeed = zero_stage < 3
        self._away = False

    def move_out(self) -> None:
        """Leave the GPU, and give what PyTorch keeps in reserve back to the device."""
        if self._by_deepspeed:
            self._engine.offload_states(include=IN_HOST_MEMORY)
        else:
            _move(self._engine.optimizer.optimizer, torch.device("cpu"))
        self._away = True
        torch.cuda.empty_cache()

    def move_in(self) -> None:
        """Come back to the GPU; nothing happens if the state is there."""
        if not self._away:
            return
        if self._by_deepspeed:
            self._engine.reload_states()
        else:
            _move(self._engine.optimizer.optimizer, torch.device("cuda", 0))
        self._away = False


def _move(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Move every master weight and its moments in place; the step counters stay where they are."""
    for weight, state in optimizer.state.items():
        for tensor in (weight, state["exp_avg"], state["exp_avg_sq"]):
            tensor.data = tensor.data.to(device)
