"""Whether answers and claims follow the voice: the same clips altered, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data.files import Row
from data.parsing import parse_output
from data.prosody.claims import single_levels
from evaluation.controls import CONTROLS


@dataclass(frozen=True, slots=True)
class ClaimShift:
    """What became of the claims on one attribute when it was moved."""

    num_examples: int
    """Examples whose two texts name one level of the attribute each, and whose first one was not at
    the end of the scale already."""
    follow_frac: float | None
    """Share of them whose claim moved the way the clip did; None without examples."""
    against_frac: float | None
    """Share of them whose claim moved the other way."""


def claimed_levels(text: str) -> dict[str, int | None]:
    """Return the level that a completion claims of each attribute, as `single_levels`."""
    return single_levels(parse_output(text).think or "")


def claimed_level(text: str, attribute: str) -> int | None:
    """Return the level that a completion claims of one attribute, as `claimed_levels`."""
    return claimed_levels(text)[attribute]


def claim_shift(
    before: Sequence[Row], after: Sequence[Row], attribute: str, direction: int
) -> ClaimShift:
    """Compare the claims on an attribute before and after it was moved.

    Args:
        before: Rows with `id` and `text`, of the clips before.
        after: The same after; other examples are left out.
        attribute: `pitch`, `energy` or `rate`.
        direction: +1 if it was moved up, -1 if down.
    """
    texts = {row["id"]: row["text"] for row in after}
    moves: list[int] = []
    for row in before:
        if row["id"] not in texts:
            continue
        first = claimed_level(row["text"], attribute)
        second = claimed_level(texts[row["id"]], attribute)
        if first is None or second is None or first == (2 if direction > 0 else 0):
            continue
        moves.append((second - first) * direction)
    if not moves:
        return ClaimShift(0, None, None)
    return ClaimShift(
        len(moves),
        sum(move > 0 for move in moves) / len(moves),
        sum(move < 0 for move in moves) / len(moves),
    )


def control_metrics(
    plain: Sequence[Row], controls: Mapping[str, Sequence[Row]]
) -> dict[str, float]:
    """Return `control_NAME_X` of all controls: accuracy, changed answers, claims that follow.

    Args:
        plain: Rows of the clips as they are: `id`, `text`, `answer`, `correct`.
        controls: Name -> rows of the altered clips.
    """
    metrics: dict[str, float] = {}
    answers = {row["id"]: row["answer"] for row in plain}
    for name, rows in controls.items():
        if not rows:  # none of the clips could be read again
            continue
        key = f"control_{name}"
        metrics[f"{key}_accuracy"] = sum(bool(row["correct"]) for row in rows) / len(rows)
        changed = sum(row["answer"] != answers[row["id"]] for row in rows)
        metrics[f"{key}_changed_frac"] = changed / len(rows)
        control = CONTROLS[name]
        if control.attribute and (not control.baseline or control.baseline in controls):
            before = controls[control.baseline] if control.baseline else plain
            shift = claim_shift(before, rows, control.attribute, control.direction)
            if shift.follow_frac is not None and shift.against_frac is not None:
                metrics[f"{key}_follow_num"] = float(shift.num_examples)
                metrics[f"{key}_follow_frac"] = shift.follow_frac
                metrics[f"{key}_against_frac"] = shift.against_frac
    return metrics
