"""From the rewards of a group to the credit of each completion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from configs.schema import AdvantageConfig
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


def per_term_advantages(groups: Sequence[ScoredGroup], *, tolerance: float) -> list[FloatArray]:
    """Return the advantages of a step whose reward terms are normalized one by one.

    In each group every term's values are centred and divided by their deviation, as in
    `group_advantages`; a completion's credit is the sum over the terms, each times its weight and
    trust. The credits of the step are then divided by their deviation over all completions, so that
    their size does not grow with the number of terms. Their mean is 0 already.

    Args:
        groups: All groups of the step, flat ones included, with `filled` and `factors`.
        tolerance: A term whose values lie within this range of each other is flat: 0 for all.

    Returns:
        [G] float32 for each group; exact under reordering within a group. Flat groups count in the
        step's deviation.

    Raises:
        ValueError: As `group_advantages`, naming the example and the term.

    Source: GDPO (arXiv 2601.05242): group-wise normalization per reward, weighted sum, batch-wise
    normalization.
    """
    credits_of: list[FloatArray] = []
    for item in groups:
        credit = np.zeros(len(item.rewards), dtype=np.float64)
        for name, values in item.filled.items():
            try:
                normalized = group_advantages(values, divide_by_std=True, tolerance=tolerance)
            except ValueError as error:
                example = item.group.prompt.example.id
                raise ValueError(f"example {example!r}, term {name!r}: {error}") from error
            credit += item.factors[name] * normalized.astype(np.float64)
        credits_of.append(credit.astype(np.float32))
    everything = [float(value) for credit in credits_of for value in credit]
    deviation = math.sqrt(math.fsum(value**2 for value in everything) / max(1, len(everything)))
    return [(credit / np.float32(deviation + STD_EPSILON)) for credit in credits_of]


def to_samples(
    scored: Sequence[ScoredGroup], config: AdvantageConfig, *, kl_coef: float
) -> list[GroupSample]:
    """Return what the learner trains on; groups without a gradient are dropped.

    Args:
        scored: Groups with rewards; they may differ in G.
        config: How rewards become advantages, and whether flat groups stay.
        kl_coef: Weight of the KL term; at 0 a flat group has no gradient.

    Returns:
        One sample per group with credit (`has_credit`), in order; with a KL term also those of flat
        groups, if any group of the step has credit: what no reward told apart makes no update.

    Raises:
        ValueError: As `group_advantages`, naming the example.
    """
    if config.normalize == "per_term":
        advantages_of = per_term_advantages(scored, tolerance=config.tolerance)
    else:
        advantages_of = [_advantages(item, config) for item in scored]
    keeps_flat = config.flat_groups == "keep" and kl_coef > 0
    samples: list[GroupSample] = []
    for item, advantages in zip(scored, advantages_of, strict=True):
        reasons = [completion.finish_reason for completion in item.group.completions]
        cut = np.array([reason == "length" for reason in reasons], dtype=np.bool_)
        mask = ~cut if config.mask_truncated else np.ones(len(advantages), dtype=np.bool_)
        sample = GroupSample(item.group, advantages, mask)
        if has_credit(sample) or (keeps_flat and mask.any()):
            samples.append(sample)
    return samples if any(map(has_credit, samples)) else []


def has_credit(sample: GroupSample) -> bool:
    """Return whether a completion that is trained on has an advantage."""
    return bool(sample.advantages[sample.loss_mask].any())


def _advantages(item: ScoredGroup, config: AdvantageConfig) -> FloatArray:
    try:
        return group_advantages(
            item.rewards, divide_by_std=_DIVIDES[config.normalize], tolerance=config.tolerance
        )
    except ValueError as error:
        raise ValueError(f"example {item.group.prompt.example.id!r}: {error}") from error
