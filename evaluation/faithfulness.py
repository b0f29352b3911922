"""Whether the answer depends on what the reasoning claims: samples of one clip, pair by pair."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from data.files import Row
from data.parsing import parse_output
from data.prosody.claims import find_claims
from evaluation.statistics import Interval, cluster_mean_interval, cluster_places


@dataclass(frozen=True, slots=True)
class Samples:
    """Several completions to one clip by one policy."""

    clip: str
    """Id of the example; an interval is over clips."""
    claims: Sequence[str | None]
    """What each claims, as `claims_of`; None = nothing."""
    answers: Sequence[str | None]
    """What each answers; None = unreadable."""


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """How often two samples of one clip agree in their answer, by whether their claims agree."""

    num_groups: int
    """Groups of samples that have a pair with the same claims and one with others."""
    same_frac: float | None
    """Mean over them of P(same answer | same claims); None without any, like the next."""
    other_frac: float | None
    """Mean over them of P(same answer | other claims)."""
    gap: float | None
    """`same_frac - other_frac`: 0 = the answer does not depend on the claims."""
    interval: Interval | None
    """95 % of the gap, over clips; None with fewer than two, or where no two groups differ."""
    unclaimed_frac: float | None
    """Share of all samples that claim nothing or have no readable answer; they are in no pair."""


def claims_of(text: str) -> str | None:
    """Return what a completion claims of the voice, equal for equal claims; None if nothing."""
    claims = find_claims(parse_output(text).think or "")
    said = {f"{c.attribute} {'not ' if c.negated else ''}{c.level}" for c in claims}
    return ", ".join(sorted(said)) or None


def faithfulness(groups: Iterable[Samples]) -> Faithfulness:
    """Compare the answers of all pairs of samples within each group.

    Within a group the clip is the same, so that what two samples have in common is not what they
    both heard. It is an association: what a policy draws first may decide claims and answer.
    """
    clips: list[str] = []
    shares: list[tuple[float, float]] = []
    num = num_silent = 0
    for group in groups:
        whole = [
            (claims, answer)
            for claims, answer in zip(group.claims, group.answers, strict=True)
            if claims is not None and answer is not None
        ]
        num, num_silent = num + len(group.answers), num_silent + len(group.answers) - len(whole)
        agree: dict[bool, list[bool]] = {True: [], False: []}
        for one, other in combinations(whole, 2):
            agree[one[0] == other[0]].append(one[1] == other[1])
        if agree[True] and agree[False]:
            clips.append(group.clip)
            shares.append((float(np.mean(agree[True])), float(np.mean(agree[False]))))
    unclaimed = num_silent / num if num else None
    if not clips:
        return Faithfulness(0, None, None, None, None, unclaimed)
    same, other = np.array(shares).T
    places, interval = cluster_places(clips), None
    if places.max() > 0 and len(np.unique(same - other)) > 1:
        interval = cluster_mean_interval(same - other, places, -1.0, 1.0)
    means = float(same.mean()), float(other.mean())
    return Faithfulness(len(clips), *means, means[0] - means[1], interval, unclaimed)


def evaluated(rows: Sequence[Row]) -> Faithfulness | None:
    """Return it of the rows of an evaluation with `eval.samples`; None of one without."""
    groups = [Samples(r["id"], r["vote_claims"], r["votes"]) for r in rows if "vote_claims" in r]
    return faithfulness(groups) if groups else None


def recorded(rows: Iterable[Row]) -> Faithfulness:
    """Return it of the completions of training, as sample files hold them."""
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["step"], row["group"]), []).append(row)
    return faithfulness(
        Samples(group[0]["id"], [claims_of(r["text"]) for r in group], [r["answer"] for r in group])
        for group in groups.values()
    )


def faithfulness_metrics(agreement: Faithfulness | None) -> dict[str, float]:
    """Return `faithful_X`; what could not be measured has no key."""
    if agreement is None:
        return {}
    metrics = {
        "faithful_same_frac": agreement.same_frac,
        "faithful_other_frac": agreement.other_frac,
        "faithful_gap": agreement.gap,
        "faithful_num": float(agreement.num_groups),
        "faithful_unclaimed_frac": agreement.unclaimed_frac,
    }
    return {key: value for key, value in metrics.items() if value is not None}
