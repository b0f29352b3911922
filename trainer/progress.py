"""Plain lines for the terminal and for Ray job logs: no colours, no cursor movement."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

_SHORT_NAMES = (
    ("reward/mean", "reward"),
    ("rollout/accuracy", "acc"),
    ("sft/nll", "nll"),
    ("policy/kl", "kl"),
    ("eval/accuracy", "eval_acc"),
)
_PARTS = ("rollout", "reward", "update", "sync")


def duration(seconds: float) -> str:
    """Return a length of time for people: `8s`, `3m20s`, `2h05m`, `4d03h`."""
    total = round(seconds)
    if total < 60:
        return f"{total}s"
    if total < 3600:
        return f"{total // 60}m{total % 60:02d}s"
    if total < 86400:
        return f"{total // 3600}h{total % 3600 // 60:02d}m"
    return f"{total // 86400}d{total % 86400 // 3600:02d}h"


def log_step(
    step: int, num_steps: int, metrics: Mapping[str, float], alarms: Sequence[str] = ()
) -> None:
    """Log the line of a step, see `progress_line`, and its alarms."""
    for line in (progress_line(step, num_steps, metrics), *alarms):
        logger.info(line)


def progress_line(step: int, num_steps: int, metrics: Mapping[str, float]) -> str:
    """Return one line that sums up a step.

    The time left is the number of steps to go times `time/step_s` of this step. What `metrics`
    lacks (a supervised run has no rewards) is left out.
    """
    width = len(str(num_steps))
    fields = [f"step {step:>{width}}/{num_steps}"]
    fields += [f"{short} {metrics[key]:.4g}" for key, short in _SHORT_NAMES if key in metrics]
    times = [
        f"{part} {metrics[f'time/{part}_s']:.2f}s" for part in _PARTS if f"time/{part}_s" in metrics
    ]
    if times:
        fields.append(" ".join(times))
    if "perf/completion_tokens_per_s" in metrics:
        fields.append(f"{metrics['perf/completion_tokens_per_s']:.0f} tok/s")
    if "time/step_s" in metrics:
        left_s = (num_steps - step) * metrics["time/step_s"]
        fields.append(f"{metrics['time/step_s']:.2f}s/step")
        fields.append(f"left {duration(left_s)}")
    return "  ".join(fields)
