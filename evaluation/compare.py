"""Two evaluations of the same clips, compared clip by clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.files import read_rows
from evaluation.statistics import compare

Rows = Sequence[Mapping[str, Any]]


def describe(first: Path, second: Path) -> str:
    """Return the comparison of two run folders of `launch/evaluate.py` in a few lines.

    Each test set is compared by itself, and, if several ask about the emotion, all of their clips
    together.

    Raises:
        ValueError: A folder has no answers, or they are of other clips.
    """
    rows = []
    for folder in (first, second):
        path = folder / "evaluation" / "answers.jsonl"
        if not path.is_file():
            raise ValueError(f"{path}: no such file; evaluate with launch/evaluate.py first")
        rows.append(read_rows(path))
    names = list(dict.fromkeys(_set_of(row) for found in rows for row in found))
    asked = [[row for row in found if not row.get("probe")] for found in rows]
    parts = [
        _lines(name, *([row for row in found if _set_of(row) == name] for found in rows))
        for name in names
    ]
    if len({_set_of(row) for row in asked[0]}) > 1:
        parts.insert(0, _lines("all but probes" if asked != rows else "all", *asked))
    return "\n\n".join("\n".join(part) for part in parts)


def _set_of(row: Mapping[str, Any]) -> str:
    return row.get("benchmark") or "test split"


def _lines(name: str, first: Rows, second: Rows) -> list[str]:
    """Return the comparison of one set of clips.

    Raises:
        ValueError: They are not the same clips.
    """
    try:
        found = compare(first, second)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    before = sum(bool(row["correct"]) for row in first) / found.num_examples
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return [
        f"{name}: {found.num_examples} clips: accuracy {before:.1%} -> "
        f"{before + found.difference:.1%}",
        f"difference {100 * found.difference:+.1f} points, 95 % interval {low:+.1f} to "
        f"{high:+.1f} (bootstrap over clips)",
        f"{found.gained} clips gained, {found.lost} lost: p = {found.p:.3g} (McNemar, exact)",
    ]
