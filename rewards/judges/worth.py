"""What claims on a voice are worth: a rule under which guessing never pays like listening.

All that a text claims of an attribute is the set S of levels that it leaves possible: "high" is one
of three, "not low" two. The set is worth `w(S)` if the measurement bears it out and nothing if not,
with

    w(S) = min(1 / |S|, F / P(S)),    F = 1/3

where P(S) is the share of the run's clips on which it would be true. So the measured level by name
is worth 1. Who knows nothing of a clip can expect F at most, whatever he says; and since `w(S)` is
at most `1 / |S|`, no set can be expected to pay more than the likeliest of its levels: to name the
level that one believes in most is always best. (A scoring rule that is proper for the mode, see
Gneiting, "Making and evaluating point forecasts", JASA 2011.)

Levels are thirds of a speaker's own clips, so that P(S) = |S| / K of K levels unless base rates say
otherwise: then F / P(S) is not below 1 / |S|, and a denial is worth 1 / (K - levels denied).

A claim that the measurement is too close to a border to decide (half true) is worth what a guess
can expect, 1 / K; half of w(S) if that is less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from data.prosody.claims import ATTRIBUTES, CHANGES, LEVELS, TURNS, Claim
from data.prosody.contour import SHAPES
from rewards.judges.base import JudgeError

FLOOR = 1 / 3
"""F: what a claim made of every clip can expect, at most."""

SCALES: Mapping[str, tuple[str, ...]] = {
    **LEVELS,
    "intonation": tuple(shape for shape in SHAPES if shape not in TURNS),
    "contour": SHAPES,
}
"""What is measured -> its levels, of which a clip has one. `contour` bears out the two intonations
with a turn in them."""

Rates = Mapping[str, Mapping[str, float]]
"""Name in `SCALES` -> level -> share of the clips."""

_CHANGE_OF = {change: attribute for attribute, change in CHANGES.items()}


def checked_rates(rates: Rates) -> Rates:
    """Return base rates that are shares of all levels of known scales.

    Raises:
        JudgeError: An unknown scale, other levels than its own, a negative share, or shares that do
            not sum to 1 (up to 0.01).
    """
    for name, shares in rates.items():
        if name not in SCALES:
            raise JudgeError(f"base_rates: unknown {name!r}; allowed are {', '.join(SCALES)}")
        if set(shares) != set(SCALES[name]):
            raise JudgeError(
                f"base_rates: {name} has {', '.join(map(str, shares)) or 'no level'}; give the "
                f"share of each of {', '.join(SCALES[name])}"
            )
        if min(shares.values()) < 0 or abs(sum(shares.values()) - 1) > 0.01:
            raise JudgeError(f"base_rates: {name} {dict(shares)} are no shares: they sum to 1")
    return rates


def worths_of(
    claims: Sequence[Claim], truths: Sequence[float | None], rates: Rates
) -> dict[str, float]:
    """Return what the claims are worth, by attribute, in [0, 1].

    A change within the clip is no attribute of its own: told truly it adds nothing, since a steady
    voice is a safe guess; told falsely it makes what is told of its attribute worthless.

    Args:
        claims: Of one text.
        truths: Of each: 1, 0.5 (too close to decide), 0, or None (not measured).
        rates: As `checked_rates` returns them; equal shares for what they leave out.

    Returns:
        The attributes of which something that was measured is told, in the order of `ATTRIBUTES`.
    """
    rated: dict[str, list[tuple[Claim, float]]] = {}
    for claim, truth in zip(claims, truths, strict=True):
        attribute = _CHANGE_OF.get(claim.attribute, claim.attribute)
        if truth is not None and (claim.attribute == attribute or truth == 0):
            rated.setdefault(attribute, []).append((claim, truth))
    return {name: _worth(rated[name], rates) for name in ATTRIBUTES if name in rated}


def contradicts_itself(claims: Iterable[Claim]) -> bool:
    """Return whether what is claimed of one attribute leaves no level possible."""
    return not all(_possible(list(claims)).values())


def _worth(rated: Sequence[tuple[Claim, float]], rates: Rates) -> float:
    """Return what is told of one attribute: where two scales are spoken of, the mean of both."""
    possible = _possible([claim for claim, _ in rated])
    # "Flat to rising-falling" is true where either scale says so, as no set of one scale's levels
    # is: nothing bounds what such a claim is worth.
    if not possible.keys() <= SCALES.keys() or any(c.negated and not t for c, t in rated):
        return 0.0
    # "High, not normal" is as true as "high".
    stated = [(claim, truth) for claim, truth in rated if not claim.negated]
    worths = []
    for scale, left in possible.items():
        of_scale = [(claim, truth) for claim, truth in stated if _scale(claim) == scale] or rated
        truth = min(truth for _, truth in of_scale)
        # Ranges that are half true at different borders leave a level that none of them names.
        named = truth == 1 or not stated or any(claim.levels == left for claim, _ in of_scale)
        worths.append(_set_worth(scale, left, truth, rates) if truth > 0 and named else 0.0)
    return sum(worths) / len(worths)


def _possible(claims: Sequence[Claim]) -> dict[str, set[str]]:
    """Return the levels that claims on one attribute leave possible, by the scale they are of.

    What is stated counts, less what is denied; where nothing is stated, what is not denied.
    """
    stated: dict[str, list[set[str]]] = {}
    for claim in claims:
        if not claim.negated:
            stated.setdefault(_scale(claim), []).append(set(claim.levels))
    denied = {level for claim in claims if claim.negated for level in claim.levels}
    if stated:
        return {scale: set.intersection(*sets) - denied for scale, sets in stated.items()}
    scales = {_scale(claim, level) for claim in claims for level in claim.levels}
    return {scale: set(SCALES[scale]) - denied for scale in scales if scale in SCALES}


def _set_worth(scale: str, levels: set[str], truth: float, rates: Rates) -> float:
    num_levels = len(SCALES[scale])
    if not 0 < len(levels) < num_levels:
        return 0.0  # nothing is possible, or everything: nothing is told
    shares = rates.get(scale, {})
    share = sum(shares.get(level, 0.0) for level in levels) if shares else len(levels) / num_levels
    worth = min(1 / len(levels), FLOOR / share if share > 0 else 1.0)
    return worth if truth == 1 else min(0.5 * worth, 1 / num_levels)


def _scale(claim: Claim, *levels: str) -> str:
    """Return the scale of a claim's levels, or of some; no name of one where they are of two."""
    turns = {claim.attribute == "intonation" and level in TURNS for level in levels or claim.levels}
    return " and ".join("contour" if turn else claim.attribute for turn in sorted(turns))
