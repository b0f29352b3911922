"""From the scores of a group to its rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from configs.schema import RewardsConfig
from data.records import Group, RewardTerms, ScoredGroup
from rewards.trust import mean, trust_weight

OneSided = Literal["drop_reasoning", "tau_one", "skip_group"]

RIGHT_ABOVE = 0.5
"""A completion is right if its outcome term is above this."""


@dataclass(frozen=True, slots=True)
class CombineRules:
    """What is decided once per run about judged and missing scores."""

    judged: frozenset[str] = frozenset()
    """Terms that are a judge's opinion; trust damps them."""
    outcome: str = "accuracy"
    """Term that tells right completions from wrong ones."""
    damp: bool = True
    """Whether trust is applied; else it is 1."""
    one_sided: OneSided = "drop_reasoning"
    """What is done with a judged term where trust cannot be estimated."""
    min_judged: float = 0.5
    """Share of a group that a term must have scored, in (0, 1]."""

    @classmethod
    def from_config(cls, config: RewardsConfig) -> CombineRules:
        """Return the rules that a configuration states."""
        trust = config.trust
        return cls(
            judged=frozenset(term.name for term in config.terms if term.judged),
            outcome=config.outcome,
            damp=trust.enabled,
            one_sided=trust.one_sided,  # pyright: ignore[reportArgumentType]  # checked on load
            min_judged=trust.min_judged,
        )


def combine(
    group: Group, terms: RewardTerms, weights: Mapping[str, float], rules: CombineRules
) -> ScoredGroup:
    """Return the group with the weighted sum of its terms as rewards.

    A missing score never counts as zero: where a term scored enough of the group, a completion that
    it missed takes their mean, which neither rewards nor punishes it. If its own text is why
    (`unreadable` in its details), it is scored with the value that stands there, or takes the
    lowest of them where that is True. Where too few were scored, the group does without the term.
    Of a judged one malformed completions earn 0, and trust is estimated without them.

    Args:
        group: The group, G completions.
        terms: Raw values of every term in `weights`.
        weights: Term name -> weight; 0 = not introduced yet.
        rules: For judged and missing scores.

    Returns:
        Rewards `R_i = sum_k factor_k filled_ki` [G], where a term's factor is its applied weight,
        times the group's trust if it is judged.

    Source: EmotionThinker, the reward of GRPO-PTR: `0.3 R_f + 1.0 R_o + 0.5 tau R_t`. What happens
    to one-sided groups and missing scores is not in the paper.
    """
    assert terms.values.keys() == weights.keys(), (terms.values.keys(), weights.keys())
    well_formed = [completion.parsed.well_formed for completion in group.completions]
    applied: dict[str, float] = {}
    filled: dict[str, tuple[float, ...]] = {}
    trust, skipped = 1.0, False
    for name, weight in weights.items():
        values = terms.values[name]
        judged = name in rules.judged
        rows = _filled(terms, name, well_formed if judged else None, rules.min_judged)
        if rows is None or weight == 0:
            applied[name] = 0.0
            continue
        applied[name], filled[name] = weight, rows
        if judged:
            pairs = trusted_pairs(group, values, terms.values.get(rules.outcome))
            tau = trust_weight([value for value, _ in pairs], [right for _, right in pairs])
            if tau is None and rules.one_sided == "drop_reasoning":
                applied[name] = 0.0
                del filled[name]
            skipped = skipped or (tau is None and rules.one_sided == "skip_group")
            trust = tau if tau is not None and rules.damp else 1.0
    if skipped:
        applied, filled, trust = dict.fromkeys(weights, 0.0), {}, 1.0
    factors = {name: applied[name] * (trust if name in rules.judged else 1.0) for name in filled}
    rewards = [0.0] * len(group.completions)
    for name, rows in filled.items():
        rewards = [r + factors[name] * value for r, value in zip(rewards, rows, strict=True)]
    return ScoredGroup(
        group,
        terms,
        weights=applied,
        trust=trust,
        rewards=tuple(rewards),
        filled=filled,
        factors=factors,
    )


def _filled(
    terms: RewardTerms, name: str, well_formed: Sequence[bool] | None, min_judged: float
) -> tuple[float, ...] | None:
    """Return a term's values with missing ones replaced; None if too few are there.

    Args:
        terms: Raw values and details.
        name: Of the term.
        well_formed: [G] of a judged term; None for one that scores malformed completions too.
        min_judged: Share that must be there.
    """
    details = terms.details.get(name) or ({},) * len(terms.values[name])
    rows = zip(terms.values[name], details, strict=True)
    values = [_floor(detail) if value is None else value for value, detail in rows]
    mask = [True] * len(values) if well_formed is None else well_formed
    scored = [value for value, ask in zip(values, mask, strict=True) if ask and value is not None]
    if not scored or len(scored) < min_judged * sum(mask):
        return None
    middle, lowest = mean(scored), min(scored)
    instead = (lowest if detail.get("unreadable") else middle for detail in details)
    return tuple(
        0.0 if not ask else other if value is None else value
        for value, ask, other in zip(values, mask, instead, strict=True)
    )


def _floor(detail: Mapping[str, Any]) -> float | None:
    floor = detail.get("unreadable")
    return floor if isinstance(floor, float) and 0 <= floor <= 1 else None


def trusted_pairs(
    group: Group, values: Sequence[float | None], outcomes: Sequence[float | None] | None
) -> list[tuple[float, bool]]:
    """Return (score, whether it is right) of the rows that a judge's trust is estimated from.

    Those are the well-formed ones with both a judgement and an outcome: what a term of one's own
    says of a malformed completion, which is always wrong, tells nothing of its taste.

    Args:
        group: The group.
        values: [G] raw values of a judged term.
        outcomes: [G] of the outcome term; None if there is none.
    """
    rows = zip(group.completions, values, outcomes or [None] * len(values), strict=True)
    return [
        (value, outcome > RIGHT_ABOVE)
        for completion, value, outcome in rows
        if completion.parsed.well_formed and value is not None and outcome is not None
    ]
