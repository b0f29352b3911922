"""Learning rate as a pure function of the step: nothing to save, nothing to resume."""

from __future__ import annotations

import math

from configs.schema import OptimConfig


def learning_rate(step: int, num_steps: int, config: OptimConfig) -> float:
    """Return the rate of a loop step.

    Args:
        step: 0-based.

    Returns:
        lr * (step + 1) / warmup_steps while warming up; then the peak (`constant`), or a line or
        half cosine from the peak down to `min_lr_frac` of it at the last step.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    done = (step - config.warmup_steps) / max(1, num_steps - 1 - config.warmup_steps)
    left = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.lr * (config.min_lr_frac + (1 - config.min_lr_frac) * left)
