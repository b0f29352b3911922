"""What was to be decided before a sweep ran, and what its intervals say of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from configs.sweep import HypothesisConfig, SweepConfig
from report.formats import measured
from report.seeds import (
    Estimate,
    RunResult,
    detectable,
    detectable_margin,
    estimate,
    paired,
)


def hypothesis_blocks(
    hypotheses: Sequence[HypothesisConfig],
    trials: Mapping[str, Sequence[RunResult]],
    baseline: str,
    heads: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return the pieces of a page on the hypotheses: a table and what follows of each.

    Args:
        hypotheses: As they were written down.
        trials: Name -> its runs.
        baseline: What a hypothesis without `against` compares with.
        heads: Metric -> its name for people.
    """
    rows: list[list[str]] = []
    for hypothesis in hypotheses:
        ours = trials[hypothesis.trial]
        base = trials[hypothesis.against or baseline]
        differences = paired(ours, base, hypothesis.metric)
        effect = estimate(differences)
        ends = effect.ends if effect else None
        rows.append(
            [
                f"{ours[0].label} against {base[0].label}",
                f"{heads.get(hypothesis.metric, hypothesis.metric)}: {expectation(hypothesis)}",
                str(len(differences)),
                measured(effect.mean if effect else None, sign=True),
                " to ".join(measured(end, sign=True) for end in ends or ()),
                measured(_seen(differences)),
                conclusion(hypothesis, effect),
            ]
        )
    if not rows:
        return []
    text = (
        "Written down before the runs. Differences are paired by seed, with their 95 % interval "
        "(Student's t). *Seen in 80 %*: the difference that so many seeds with this spread would "
        "show in 80 of 100 experiments. Equality: two one-sided tests at 5 %. "
        f"{len(rows)} comparisons, not corrected; those with one baseline share its runs."
    )
    heads_of_table = ["comparison", "expected", "n", "difference", "95 % interval"]
    heads_of_table += ["seen in 80 %", "conclusion"]
    return [
        {"heading": "What was to be decided"},
        {"text": text, "strong": False},
        {"heads": heads_of_table, "rows": rows, "num_texts": 2},
        {"heading": "All trials"},
    ]


def describe_power(sweep: SweepConfig) -> list[str]:
    """Return a line per hypothesis: what the seeds of a sweep can show, before it has run."""
    lines, num = [], len(sweep.seeds)
    for one in sweep.hypotheses:
        compared = f"{one.trial} against {one.against or sweep.baseline}"
        line = f"decides   {compared}, {one.metric}: {expectation(one)}"
        if one.sd and num > 1:
            sides = {"equal": 2, "not_less": 1}.get(one.expect)
            line += f"; {num} seeds with an sd of {measured(one.sd)} have a power of 80 % for "
            if sides:
                margin = detectable_margin(one.sd, num, sides=sides)
                line += f"a margin of {measured(margin)}"
            else:
                line += f"a difference of {measured(detectable(one.sd, num))}"
        lines.append(line)
    return lines


def _seen(differences: Sequence[float]) -> float | None:
    """Return the difference that so many seeds with this spread show; None with fewer than two."""
    num = len(differences)
    return detectable(statistics.stdev(differences), num) if num > 1 else None


def expectation(hypothesis: HypothesisConfig) -> str:
    """Return what is expected, in words."""
    margin = measured(hypothesis.margin)
    return {
        "more": "more",
        "less": "less",
        "equal": f"equal within {margin}",
        "not_less": f"at most {margin} less",
    }[hypothesis.expect]


def conclusion(hypothesis: HypothesisConfig, effect: Estimate | None) -> str:
    """Return what the intervals support, in words: no more than that."""
    if effect is None or effect.ends is None or effect.ends_90 is None:
        return "too few seeds"
    low, high = effect.ends
    low_90, high_90 = effect.ends_90
    margin = hypothesis.margin
    if hypothesis.expect == "equal" and -margin < low_90 and high_90 < margin:
        return f"equal within {measured(margin)}"
    if hypothesis.expect == "not_less" and low_90 > -margin:
        return f"not less by {measured(margin)}"
    if low > 0:
        return "more"
    if high < 0:
        return "less"
    return (
        f"not decided; more than {measured(max(high, 0.0), sign=True)} and less than "
        f"{measured(min(low, 0.0), sign=True)} are excluded"
    )
