"""What must hold of every step; bugs that break it would train the policy on wrong numbers unseen.

Each check recomputes, in another way, something that the step has computed already, and takes well
under a millisecond a group.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from configs.reward_schema import RewardsConfig
from configs.schema import RunConfig
from data.records import Completion, GroupSample, Microbatch, ScoredGroup
from rewards.accuracy import is_correct
from rewards.base import ACCURACY_TARGET

ROUNDING = 1e-3
"""Largest difference, relative to what is summed up, that float32 may make."""


class AuditError(RuntimeError):
    """A step contradicts itself: the program has a bug, and training would be wrong."""


def check_step(
    scored: Sequence[ScoredGroup],
    samples: Sequence[GroupSample],
    version: int,
    config: RunConfig,
) -> None:
    """Refuse a step whose completions, rewards and advantages do not belong together.

    Args:
        scored: All groups of the step.
        samples: Those that are trained on, with their advantages.
        version: Policy version that the step updates.
        config: Of the run: the terms that it scores with, and how rewards become advantages.

    Raises:
        AuditError: The first contradiction, with the example.
    """
    by_index = {item.group.index: item for item in scored}
    _require(len(by_index) == len(scored), scored, "two groups have the same index")
    for item in scored:
        _check_completions(item, version, config.async_.max_staleness)
        _check_rewards(item, config.rewards)
    ends = {
        int(completion.token_ids[-1])
        for item in scored
        for completion in item.group.completions
        if completion.finish_reason == "stop"
    }
    _require(len(ends) <= 1, scored, f"completions end with different tokens: {sorted(ends)}")
    counts = Counter(sample.group.index for sample in samples)
    for sample in samples:
        item = by_index.get(sample.group.index)
        if item is None or item.group is not sample.group or counts[sample.group.index] > 1:
            raise _error(sample, "it is trained on twice, or is no group of this step")
        _check_advantages(sample, item, summed=config.advantage.normalize != "per_term")


def check_rows(
    ranks: Sequence[Sequence[Microbatch]],
    samples: Sequence[GroupSample],
    max_tokens: int | None = None,
) -> None:
    """Refuse rows that do not hold every completion of an update once, with weights of sum 1.

    Args:
        ranks: Rows of every rank, padding rows included.
        samples: What was packed into them.
        max_tokens: Longest completion, with `loss.aggregation: constant`: then the weights sum to
            the mean length over it.

    Raises:
        AuditError: Tokens are missing, doubled, foreign or shifted, or the weights do not sum to
            what they should.
    """
    wanted = Counter(
        (completion.token_ids.tobytes(), completion.rollout_logprobs.tobytes(), float(advantage))
        for sample in samples
        for completion, advantage, keep in zip(
            sample.group.completions, sample.advantages, sample.loss_mask, strict=True
        )
        if keep
    )
    packed: Counter[tuple[bytes, bytes, float]] = Counter()
    total = 0.0
    for row in (row for rank in ranks for row in rank if row.completion_ids.min(initial=0) >= 0):
        total += math.fsum(row.loss_weights)
        borders = np.flatnonzero(np.diff(row.completion_ids)) + 1
        for part in np.split(np.arange(len(row.target)), borders):
            _check_place(row, part)
            tokens, logprobs = row.target[part], row.rollout_logprobs[part]
            advantage = float(row.advantages[part[0]])
            packed[tokens.tobytes(), logprobs.tobytes(), advantage] += 1
    if packed != wanted:
        extra, missing = (packed - wanted).total(), (wanted - packed).total()
        raise AuditError(
            f"an update's rows lack {missing} of its completions and hold {extra} others: the "
            "packing has a bug"
        )
    expected = 1.0
    if max_tokens is not None:
        lengths = [
            len(completion.token_ids)
            for sample in samples
            for completion, keep in zip(sample.group.completions, sample.loss_mask, strict=True)
            if keep and len(completion.token_ids)
        ]
        expected = sum(lengths) / max(len(lengths), 1) / max_tokens
    if wanted and abs(total - expected) > ROUNDING:
        raise AuditError(f"the loss weights of an update sum to {total:g}, not {expected:g}")


def _check_place(row: Microbatch, part: np.ndarray) -> None:
    """Each token of a completion is predicted by the one before it, the first by the prompt."""
    source = row.source[part]
    # The tokens themselves stand in a run; only the first one's predictor lies elsewhere.
    start = int(source[1]) if len(part) > 1 else -1
    predicts = (
        row.segment_ids[source[0]] == 0
        and (start < 0 or np.array_equal(source[1:], start + np.arange(len(part) - 1)))
        and (start < 0 or np.array_equal(row.input_ids[source[1:]], row.target[part][:-1]))
    )
    after_prompt = row.positions[0, source[0]] + 1
    in_place = start < 0 or row.positions[0, start] == after_prompt
    if not (predicts and in_place and row.loss_weights[part].min() == row.loss_weights[part].max()):
        raise AuditError(
            "a completion's tokens are not predicted by the tokens before them, or do not weigh "
            "the same: the packing has a bug"
        )


def _check_completions(item: ScoredGroup, version: int, max_staleness: int) -> None:
    for completion in item.group.completions:
        num_tokens, num_logprobs = len(completion.token_ids), len(completion.rollout_logprobs)
        if not version - max_staleness <= completion.policy_version <= version:
            raise _error(
                item,
                f"it was sampled by policy version {completion.policy_version}; the step "
                f"updates version {version} and async.max_staleness is {max_staleness}",
            )
        if num_tokens != num_logprobs or not num_tokens:
            raise _error(item, f"{num_tokens} tokens with {num_logprobs} log-probabilities")


def _format_again(completion: Completion, *_: Any) -> float:
    return float(completion.parsed.well_formed)


def _accuracy_again(
    completion: Completion,
    item: ScoredGroup,
    options: Mapping[str, Any],
    aliases: Mapping[str, str],
) -> float:
    label = item.group.prompt.example.label
    return float(is_correct(completion.parsed, label, options.get("aliases", aliases)))


_AGAIN = {"rewards.format:FormatReward": _format_again, ACCURACY_TARGET: _accuracy_again}
"""Terms whose values follow from the text alone: target -> the value of one completion."""


def _check_rewards(item: ScoredGroup, rewards: RewardsConfig) -> None:
    """The rewards are those of the terms, and the terms say of a completion what it says itself."""
    for i, completion in enumerate(item.group.completions):
        again = math.fsum(item.factors[name] * values[i] for name, values in item.filled.items())
        if item.filled and abs(again - item.rewards[i]) > ROUNDING * max(1.0, abs(again)):
            raise _error(item, f"completion {i} has reward {item.rewards[i]:g}, not {again:g}")
        for term in rewards.terms:
            value = item.terms.values[term.name][i]
            if value is None or term.target not in _AGAIN:
                continue
            if value != _AGAIN[term.target](completion, item, term.options, rewards.aliases):
                raise _error(
                    item, f"term {term.name!r} has scored another completion than number {i}"
                )


def _check_advantages(sample: GroupSample, item: ScoredGroup, *, summed: bool) -> None:
    advantages = sample.advantages.astype(np.float64)
    if len(advantages) != len(item.rewards) or not np.isfinite(advantages).all():
        raise _error(item, "its advantages are not finite, or not one for each completion")
    size = np.abs(advantages).sum()
    if abs(advantages.sum()) > ROUNDING * size:
        raise _error(item, f"its advantages sum to {advantages.sum():g}, not 0")
    rewards = np.array(item.rewards)
    centred = rewards - rewards.mean()
    # Terms that are normalized one by one and contradict each other may turn their sum round.
    if summed and (advantages * centred).sum() < 0:
        raise _error(item, "its advantages go against its rewards: they are of another group")


def _require(holds: bool, scored: Sequence[ScoredGroup], problem: str) -> None:
    if not holds:
        raise AuditError(f"a step of {len(scored)} groups: {problem}; this is a bug")


def _error(item: ScoredGroup | GroupSample, problem: str) -> AuditError:
    return AuditError(f"example {item.group.prompt.example.id!r}: {problem}; this is a bug")
