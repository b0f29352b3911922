"""What DeepSpeed is told of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from configs.schema import OptimConfig, RunConfig


def deepspeed_config(config: RunConfig) -> dict[str, Any]:
    """Return DeepSpeed's own configuration of a run."""
    stage, in_bfloat16 = config.learner.zero_stage, config.model.dtype == "bfloat16"
    settings = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # `step()` is the boundary: ranks and steps may differ in their number of rows.
        "managed_gradient_accumulation": False,
        "zero_optimization": {
            "stage": stage,
            # Else ZeRO-3 gathers on the stream that computes, which then waits for every layer.
            "overlap_comm": stage == 3 and config.device == "cuda",
        },
        "bf16": {"enabled": in_bfloat16},
        "gradient_clipping": config.optim.grad_clip,
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**62,
    }
    if in_bfloat16 and stage > 1:
        # Rows of a step add up, and ranks are reduced, in float32. For ZeRO-1 the same setting
        # would choose another optimizer of DeepSpeed's, which was not tried.
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
    return settings


def adamw(model: nn.Module, optim: OptimConfig, *, fused: bool) -> torch.optim.AdamW:
    """Return the optimizer of what a model trains; `fused`, it makes no copy of the gradient."""
    return torch.optim.AdamW(
        [weight for weight in model.parameters() if weight.requires_grad],
        lr=optim.lr,
        betas=(optim.beta1, optim.beta2),
        eps=optim.eps,
        weight_decay=optim.weight_decay,
        fused=fused,
    )
