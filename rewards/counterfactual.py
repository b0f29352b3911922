"""The counterfactual term: does what the reasoning claims follow a clip that was moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.prosody.claims import single_levels
from data.records import Completion, Group, Move
from rewards.base import Scores
from rewards.trust import mean

MIDDLE = 1.0
"""The level that a moved clip's claims are compared with if no other says anything."""

STEPS = 2.0
"""From the lowest level to the highest."""


class CounterfactualReward:
    """Pays the half of a group that hears its clip moved for claims that moved the same way.

    Of a completion that claims level `L` (0, 1, 2) of the moved attribute

        r = 1/2 + s (L - m) / 4

    where `s` is 1 if the clip was moved up and -1 if down, and `m` the mean level that the half
    with the clip as it is claims (1 if it claims none). A completion that claims no single level,
    or is malformed, has 0: claims are never worth less than silence.

    Up or down is a fair coin that knows nothing of the clip, so whatever is said without listening
    has 1/2 on average, and a listener 1/2 plus a quarter of the shift of his level. By the same
    coin the half with the clip as it is cannot know which way the other was moved: its claims would
    earn noise and nothing else, so it is compared with and not scored. Neither is a pair whose move
    was not clean.

    Source: ours; the shift is the one that an evaluation measures (`evaluation.shift`).
    """

    scores_moved = True

    def score(self, group: Group) -> Scores:
        """Return G values in [0, 1], or None for what is no moved half of a pair.

        Details: `level`, the claimed level or None; as metrics `claimed` (1 or 0), `clean` (1 or
        0), and `shift_ATTRIBUTE`, the level minus that of the other half, times the direction.
        """
        move = group.prompt.move
        if move is None:
            return Scores.not_applicable(len(group.completions))
        others = [level for c in group.others if (level := _level(c, move)) is not None]
        levels = [_level(completion, move) for completion in group.completions]
        paid = move.clean and group.prompt.is_moved
        compared = mean(others) if others else MIDDLE
        return Scores(
            tuple(_value(level, compared, move) if paid else None for level in levels),
            tuple(_detail(level, others, move, paid) for level in levels),
        )


def _level(completion: Completion, move: Move) -> int | None:
    """Return the level that a completion claims of the moved attribute, if it claims one."""
    return single_levels(completion.parsed.think or "")[move.attribute]


def _value(level: int | None, compared: float, move: Move) -> float:
    if level is None:
        return 0.0
    return 0.5 + move.direction * (level - compared) / (2 * STEPS)


def _detail(level: int | None, others: list[int], move: Move, paid: bool) -> Mapping[str, Any]:
    metrics = {"claimed": float(level is not None), "clean": float(move.clean)}
    if paid and level is not None and others:
        metrics[f"shift_{move.attribute}"] = move.direction * (level - mean(others))
    return {"level": level, "metrics": metrics} | ({} if paid else {"not_applicable": True})
