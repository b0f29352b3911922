#!/usr/bin/env python
"""Evaluate a policy on a test split and on benchmarks; no learner, no training.

python launch/evaluate.py --config FILE [key=value ...] [--dry-run]

`eval.test_split` and `eval.benchmarks` say what is asked about. Writes a report, all answers and
one row of metrics into the run folder; docs/evaluation.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit codes are those of `launch.cli.main`."""
    return cli.main("evaluate", "Evaluate a policy on a test split and benchmarks.", argv)


if __name__ == "__main__":
    sys.exit(main())
