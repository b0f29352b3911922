"""What the driver says to a rank and hears from it, without the libraries that a rank loads."""

from __future__ import annotations

import math
from typing import NamedTuple

from configs.schema import RunConfig


class LearnerSpec(NamedTuple):
    """What a rank must know to join its group."""

    config: RunConfig
    rank: int
    num_ranks: int
    forbidden_token_ids: tuple[int, ...]


def learner_environment(config: RunConfig) -> dict[str, str]:
    """Return the environment variables a rank's process needs before DeepSpeed is imported."""
    return {"DS_ACCELERATOR": config.device, "TOKENIZERS_PARALLELISM": "false"}


def accumulate(totals: dict[str, float], stats: dict[str, float], share: float = 1.0) -> None:
    """Add the metrics of a row or a rank: `share` of each, but of keys in `_max` the maximum."""
    for name, value in stats.items():
        if name.endswith("_max"):
            # Of a number and NaN, `max` returns the first: a NaN would vanish.
            seen = (totals.get(name, 0.0), value)
            totals[name] = math.nan if any(map(math.isnan, seen)) else max(seen)
        else:
            totals[name] = totals.get(name, 0.0) + share * value
