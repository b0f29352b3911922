"""Two evaluations of the same clips, compared clip by clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import UserError
from evaluation.files import read_answers
from evaluation.paired import compare

Rows = Sequence[Mapping[str, Any]]


def describe(first: Path, second: Path) -> str:
    """Return the comparison of two run folders of `launch/evaluate.py` in a few lines.

    Each test set is compared by itself, and, if several ask about the emotion, all of their clips
    together.

    Raises:
        UserError: A folder has no answers, or they are of other clips.
    """
    return describe_answers(read_answers(first), read_answers(second))


def describe_answers(first: Rows, second: Rows) -> str:
    """Return the comparison of the answers of two evaluations, see `describe`.

    Raises:
        UserError: They are of other clips.
    """
    runs = [first, second]
    emotions = [[row for row in rows if not row.get("probe")] for rows in runs]
    parts = [
        _lines(name, *([row for row in rows if _set_of(row) == name] for rows in runs))
        for name in dict.fromkeys(_set_of(row) for rows in runs for row in rows)
    ]
    if len({_set_of(row) for row in emotions[0]}) > 1:
        parts.insert(0, _lines("all but probes" if emotions != runs else "all", *emotions))
    return "\n\n".join(parts)


def _set_of(row: Mapping[str, Any]) -> str:
    return row.get("benchmark") or "test split"


def _lines(name: str, first: Rows, second: Rows) -> str:
    """Return the comparison of one set of clips.

    Raises:
        UserError: They are not the same clips.
    """
    try:
        paired = compare(first, second)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from error
    before = sum(bool(row["correct"]) for row in first) / paired.num_examples
    low, high = 100 * paired.interval.low, 100 * paired.interval.high
    test = "McNemar, exact" if paired.num_speakers is None else "speakers exchanged"
    return (
        f"{name}: {paired.num_examples} clips: accuracy {before:.1%} -> "
        f"{before + paired.difference:.1%}\n"
        f"difference {100 * paired.difference:+.1f} points, 95 % interval {low:+.1f} to "
        f"{high:+.1f} (over {paired.over})\n"
        f"{paired.gained} clips gained, {paired.lost} lost: p = {paired.p:.3g} ({test})"
    )
