"""What a step's rewards are worth writing down: terms, trust, and how the judge behaves.

Every key that is computed here has a row in docs/metrics.md.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data.records import FloatArray, RewardTerms, ScoredGroup
from rewards.combine import CombineRules, trusted_pairs
from rewards.trust import null_trusts

COUNTERS = ("calls", "prompt_tokens", "completion_tokens")
"""Costs of a judge that are summed over a step."""

ROUNDING = 1e-6
"""Rewards that lie within this range of each other are equal; in units of reward."""


def reward_metrics(scored: Sequence[ScoredGroup], rules: CombineRules) -> dict[str, float]:
    """Return the metrics `reward/*`, `extra/*`, `trust/*` and `judge/*` of a step.

    A term that was not scored for a single completion has a coverage and a weight, but no mean.
    Standard deviations are over all completions of the step, divided by their number.

    Args:
        scored: The groups of the step, at least one.
        rules: Which terms are judged, and which one tells right from wrong.
    """
    rewards = [reward for item in scored for reward in item.rewards]
    metrics = {
        "reward/mean": statistics.fmean(rewards),
        "reward/std": statistics.pstdev(rewards),
    }
    # Those that are computed, and those that are only weighted.
    names = [name for item in scored for name in (*item.weights, *item.terms.values)]
    for name in dict.fromkeys(names):
        metrics |= _term_metrics(scored, name)
        if name in rules.judged:
            metrics |= judge_metrics(f"judge/{name}", scored, name, rules.outcome)
            metrics |= advantage_share(f"judge/{name}", scored, name)
    return metrics | _trust_metrics(scored, rules)


def _term_metrics(scored: Sequence[ScoredGroup], name: str) -> dict[str, float]:
    pairs = [
        (item.group.prompt.example.label, value)
        for item in scored
        for value in item.terms.values.get(name, ())
    ]
    values = [value for _, value in pairs if value is not None]
    num_completions = sum(len(item.group.completions) for item in scored)
    metrics = {
        f"reward/{name}_coverage": len(values) / num_completions,
        f"reward/{name}_weight": statistics.fmean(item.weights.get(name, 0.0) for item in scored),
    }
    if values:
        metrics[f"reward/{name}_mean"] = statistics.fmean(values)
        metrics[f"reward/{name}_std"] = statistics.pstdev(values)
    by_label: dict[str, list[float]] = defaultdict(list)
    for label, value in pairs:
        if value is not None:
            by_label[label].append(value)
    for label, scores in by_label.items():
        key = f"reward/{name}_mean_{label.replace(' ', '_')}"
        metrics[key] = statistics.fmean(scores)
    facts: dict[str, list[float]] = defaultdict(list)
    for item in scored:
        for detail in item.terms.details.get(name, ()):
            for fact, value in detail.get("metrics", {}).items():
                facts[f"extra/{name}_{re.sub(r'[^A-Za-z0-9_]', '_', fact)}"].append(value)
    return metrics | {key: statistics.fmean(numbers) for key, numbers in facts.items()}


def _trust_metrics(scored: Sequence[ScoredGroup], rules: CombineRules) -> dict[str, float]:
    """Figures of the groups in which a judged term counted; nothing if there are none."""
    judged = [
        item for item in scored if any(item.weights.get(name, 0.0) > 0 for name in rules.judged)
    ]
    metrics = {"trust/applied_frac": len(judged) / len(scored)}
    if judged:
        factors = [item.trust for item in judged]
        metrics["trust/mean"] = statistics.fmean(factors)
        metrics["trust/min"] = min(factors)
        metrics["trust/std"] = statistics.pstdev(factors)
        metrics["trust/below_one_frac"] = statistics.fmean(factor < 1 for factor in factors)
    nulls = [trusts for item in judged for trusts in _null_trusts(item, rules) if len(trusts)]
    if nulls:
        metrics["trust/null_mean"] = statistics.fmean(float(trusts.mean()) for trusts in nulls)
        below = [float((trusts < 1).mean()) for trusts in nulls]
        metrics["trust/null_below_one_frac"] = statistics.fmean(below)
    return metrics


def _null_trusts(item: ScoredGroup, rules: CombineRules) -> Iterable[FloatArray]:
    """Yield the trusts of a group of each judged term that counted, right and wrong dealt anew."""
    outcomes = item.terms.values.get(rules.outcome)
    for name in sorted(rules.judged):
        if item.weights.get(name, 0.0) > 0:
            pairs = trusted_pairs(item.group, item.terms.values[name], outcomes)
            yield null_trusts([value for value, _ in pairs], [right for _, right in pairs])


def advantage_share(prefix: str, scored: Sequence[ScoredGroup], name: str) -> dict[str, float]:
    """Return the share of the credit that a judged term gives out, as `PREFIX_advantage_share`.

    Of each group that is not flat `Cov(x, R) / Var(R)` within the group, `R` its rewards and `x`
    what the term adds to them (0 where it was left out), then the mean over these groups. The
    shares of all terms sum to 1; one that pays against the others is negative.

    Returns:
        Nothing before the term counts anywhere, or if all groups are flat.
    """
    shares: list[float] = []
    for item in scored:
        rewards = np.asarray(item.rewards, dtype=np.float64)
        centred = rewards - rewards.mean()
        if np.ptp(rewards) > ROUNDING:
            added = item.factors.get(name, 0.0) * np.asarray(item.filled.get(name, rewards * 0))
            shares.append(float(centred @ added) / float(centred @ centred))
    counts = any(item.factors.get(name, 0.0) > 0 for item in scored)
    return {f"{prefix}_advantage_share": statistics.fmean(shares)} if counts and shares else {}


def judge_metrics(
    prefix: str, scored: Sequence[ScoredGroup], name: str, outcome: str
) -> dict[str, float]:
    """Return how one judge behaved in a step, as metrics `PREFIX_...`.

    Args:
        prefix: Of the keys.
        scored: The groups of the step; judges have nothing to say of moved clips.
        name: The judged term.
        outcome: The term that tells right from wrong.
    """
    scored = [item for item in scored if not item.group.prompt.is_moved]
    metrics = detail_metrics(prefix, [item.terms for item in scored], name)
    well_formed = [
        completion.parsed.well_formed for item in scored for completion in item.group.completions
    ]
    values = [value for item in scored for value in item.terms.values.get(name, ())]
    scores = [value for value, ask in zip(values, well_formed, strict=True) if ask]
    was_asked = any(item.terms.details.get(name, ({},))[0] for item in scored)
    if not was_asked or not scores:
        return metrics  # before its gate opens, a judge is not called
    metrics[f"{prefix}_missing_frac"] = statistics.fmean(value is None for value in scores)
    pairs = [
        pair
        for item in scored
        if name in item.terms.values
        for pair in trusted_pairs(
            item.group, item.terms.values[name], item.terms.values.get(outcome)
        )
    ]
    right = [value for value, is_right in pairs if is_right]
    wrong = [value for value, is_right in pairs if not is_right]
    if right:
        metrics[f"{prefix}_right_mean"] = statistics.fmean(right)
    if wrong:
        metrics[f"{prefix}_wrong_mean"] = statistics.fmean(wrong)
    if right and wrong:
        gap = statistics.fmean(right) - statistics.fmean(wrong)
        metrics[f"{prefix}_right_wrong_gap"] = gap
    if pairs:
        # What the judge rewards minus what is true: it grows when the judge is being gamed.
        proxy = statistics.fmean(value for value, _ in pairs)
        metrics[f"{prefix}_proxy_gap"] = proxy - len(right) / len(pairs)
    return metrics


def detail_metrics(prefix: str, terms: Sequence[RewardTerms], name: str) -> dict[str, float]:
    """Return the means of a judge's dimensions, its latency and its costs.

    Args:
        prefix: Of the keys, such as `judge/reasoning` or `test_after/reasoning`.
        terms: Of the groups.
        name: The judged term.
    """
    details = [detail for item in terms for detail in item.details.get(name, ())]
    by_dimension: dict[str, list[float]] = defaultdict(list)
    for detail in details:
        for dimension, score in detail.get("scores", {}).items():
            if score is not None:
                by_dimension[dimension].append(score)
    metrics = {f"{prefix}_{d}": statistics.fmean(scores) for d, scores in by_dimension.items()}
    latencies = _numbers(details, "latency_s")
    if latencies:
        metrics[f"{prefix}_latency_s"] = statistics.fmean(latencies)
        metrics[f"{prefix}_latency_max_s"] = max(latencies)
    for counter in COUNTERS:
        counts = _numbers(details, counter)
        if counts:
            metrics[f"{prefix}_{counter}"] = float(sum(counts))
    cached = [bool(detail["cached"]) for detail in details if "cached" in detail]
    if cached:
        metrics[f"{prefix}_cached_frac"] = statistics.fmean(cached)
    return metrics


def judged_evaluation(
    prefix: str, judged: Iterable[str], terms: Sequence[RewardTerms]
) -> dict[str, float]:
    """Return what the judges say of an evaluation's answers, as metrics `PREFIX/NAME_...`.

    Args:
        prefix: Such as `eval`.
        judged: Names of the judged terms.
        terms: Scores of the evaluation's groups.
    """
    metrics: dict[str, float] = {}
    for name in judged:
        values = [value for item in terms for value in item.values[name]]
        scores = [value for value in values if value is not None]
        metrics[f"{prefix}/{name}_coverage"] = len(scores) / len(values)
        if scores:
            metrics[f"{prefix}/{name}_mean"] = statistics.fmean(scores)
        metrics |= detail_metrics(f"{prefix}/{name}", terms, name)
    return metrics


def _numbers(details: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [float(detail[key]) for detail in details if key in detail]
