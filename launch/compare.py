#!/usr/bin/env python
"""Compare two evaluations of the same clips, clip by clip.

python launch/compare.py RUN_FOLDER RUN_FOLDER
python launch/compare.py RUN_FOLDER RUN_FOLDER --html FILE [--clips 200]

With --html, the answers to each clip that both have stand side by side on a page, with a player.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.errors import UserError
from evaluation.compare import describe
from launch.command import EXIT_DONE, run_command


def compare(arguments: argparse.Namespace) -> int:
    """Print the comparison, or write its page."""
    first, second, path = arguments.first, arguments.second, arguments.html
    if path is None:
        print(describe(first, second))
        return EXIT_DONE
    from report.page import write_pair  # draws, and a few lines should not wait for it

    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; --html names the file to write")
    pairs = write_pair(first, second, path, num_clips=arguments.clips)
    print(f"{pairs.words}\n{path}: {len(pairs.rows)} clips, {path.stat().st_size / 1e6:.1f} MB")
    return EXIT_DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 for done, 2 for nothing to compare."""
    parser = argparse.ArgumentParser(description="Compare two evaluations of the same clips.")
    parser.add_argument("first", type=Path, help="run folder of launch/evaluate.py")
    parser.add_argument("second", type=Path, help="another one, of the same clips")
    parser.add_argument("--html", type=Path, metavar="FILE", help="page of both answers to a clip")
    parser.add_argument("--clips", type=int, default=200, help="clips drawn, with their sound")
    return run_command(parser, compare, argv)


if __name__ == "__main__":
    sys.exit(main())
