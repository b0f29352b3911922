"""From the rewards of a group to the credit of each completion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from data.records import FloatArray, GroupSample, ScoredGroup

STD_EPSILON = 1e-4
"""Added to a group's standard deviation before dividing by it."""

_DIVIDES = {"std": True, "mean": False}


def group_advantages(
    rewards: Sequence[float] | FloatArray, *, divide_by_std: bool, tolerance: float
) -> FloatArray:
    """Return each reward centred on its group: `A_i = (R_i - mean) / (std + 1e-4)`.

    Args:
        rewards: [G] weighted reward of each completion.
        divide_by_std: Divide by the group's unbiased standard deviation (GRPO) or not (Dr. GRPO).
        tolerance: A group whose rewards lie within this range of each other (largest minus
            smallest, in units of reward, >= 0) is flat: what tells them apart is rounding.

    Returns:
        [G] float32. They sum to zero up to rounding; a flat group is exactly zero. Exact under
        reordering: the advantages of permuted rewards are the permuted advantages, bit by bit.

    Raises:
        ValueError: G < 2, since a lone completion has no baseline, or a reward that is not finite.

    Source: DeepSeekMath (arXiv 2402.03300), section 4.1, with the unbiased deviation and the
    epsilon that are customary in implementations; without division: Dr. GRPO (arXiv 2503.20783).
    """
    values = np.asarray(rewards, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            f"rewards of shape {values.shape}: a group needs at least 2 completions, since the "
            "baseline is their mean"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"rewards {values.tolist()} are not all finite")
    if values.max() - values.min() <= tolerance:
        return np.zeros(len(values), dtype=np.float32)
    centred = values - math.fsum(values) / len(values)
    if divide_by_std:
        centred /= math.sqrt(math.fsum(centred**2) / (len(values) - 1)) + STD_EPSILON
    return centred.astype(np.float32)


def to_samples(
    scored: Sequence[ScoredGroup], *, normalize: Literal["std", "mean"], tolerance: float
) -> list[GroupSample]:
    """Return what the learner trains on; flat groups carry no gradient and are dropped.

    Args:
        scored: Groups with rewards; they may differ in G.
        normalize: `std` divides by each group's deviation, `mean` only centres.
        tolerance: As in `group_advantages`.

    Returns:
        One sample per group that is not flat, in order, with no completion masked. The number of
        flat groups is the difference in length.

    Raises:
        ValueError: As `group_advantages`, naming the example.
    """
    samples: list[GroupSample] = []
    for item in scored:
        try:
            advantages = group_advantages(
                item.rewards, divide_by_std=_DIVIDES[normalize], tolerance=tolerance
            )
        except ValueError as error:
            raise ValueError(f"example {item.group.prompt.example.id!r}: {error}") from error
        if advantages.any():
            mask = np.ones(len(advantages), dtype=np.bool_)
            samples.append(GroupSample(item.group, advantages, mask))
    return samples
