#!/usr/bin/env python
"""Compare two evaluations of the same clips, clip by clip.

python launch/compare.py RUN_FOLDER RUN_FOLDER
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from evaluation.compare import describe
from launch.command import EXIT_DONE, run_command


def compare(arguments: argparse.Namespace) -> int:
    """Print the comparison."""
    print(describe(arguments.first, arguments.second))
    return EXIT_DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 for done, 2 for nothing to compare."""
    parser = argparse.ArgumentParser(description="Compare two evaluations of the same clips.")
    parser.add_argument("first", type=Path, help="run folder of launch/evaluate.py")
    parser.add_argument("second", type=Path, help="another one, of the same clips")
    return run_command(parser, compare, argv)


if __name__ == "__main__":
    sys.exit(main())
