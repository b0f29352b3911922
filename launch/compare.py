#!/usr/bin/env python
"""Compare two evaluations of the same clips, clip by clip.

python launch/compare.py RUN_FOLDER RUN_FOLDER
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The repository comes first on the path: its package names are common words.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.jsonl import read_rows
from trainer.intervals import compare

EXIT_DONE, EXIT_CONFIG = 0, 2

Rows = Sequence[Mapping[str, Any]]


def describe(first: Path, second: Path) -> str:
    """Return the comparison of two run folders of `launch/evaluate.py` in a few lines.

    Each benchmark is compared by itself, and, if there are several test sets, all clips together.

    Raises:
        ValueError: A folder has no answers, or they are of other clips.
    """
    rows = []
    for folder in (first, second):
        path = folder / "evaluation" / "answers.jsonl"
        if not path.is_file():
            raise ValueError(f"{path}: no such file; evaluate with launch/evaluate.py first")
        rows.append(read_rows(path))
    names = list(dict.fromkeys(row.get("benchmark") or "" for row in rows[0]))
    lines = _lines("all clips" if len(names) > 1 else names[0], rows[0], rows[1])
    for name in names if len(names) > 1 else ():
        lines += ["", *_lines(name or "test split", *(_of(name, found) for found in rows))]
    return "\n".join(lines)


def _of(benchmark: str, rows: Rows) -> Rows:
    return [row for row in rows if (row.get("benchmark") or "") == benchmark]


def _lines(name: str, first: Rows, second: Rows) -> list[str]:
    found = compare(first, second)
    before = sum(bool(row["correct"]) for row in first) / found.num_examples
    low, high = 100 * found.interval.low, 100 * found.interval.high
    return [
        f"{name + ': ' if name else ''}{found.num_examples} clips: accuracy {before:.1%} -> "
        f"{before + found.difference:.1%}",
        f"difference {100 * found.difference:+.1f} points, 95 % interval {low:+.1f} to "
        f"{high:+.1f} (bootstrap over clips)",
        f"{found.gained} clips gained, {found.lost} lost: p = {found.p:.3g} (McNemar, exact)",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done, 2 nothing to compare.
    """
    parser = argparse.ArgumentParser(description="Compare two evaluations of the same clips.")
    parser.add_argument("first", type=Path, help="run folder of launch/evaluate.py")
    parser.add_argument("second", type=Path, help="another one, of the same clips")
    arguments = parser.parse_args(argv)
    try:
        print(describe(arguments.first, arguments.second))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_CONFIG
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
