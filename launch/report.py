#!/usr/bin/env python
"""Write the report of a run or a sweep: one HTML file that opens from a disk, without a network.

python launch/report.py RUN_FOLDER [--compare RUN_FOLDER ...] [--samples 2000] [--clips 60]
python launch/report.py SWEEP_FOLDER
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from launch.command import EXIT_DONE, run_command
from report.page import write_report, write_sweep_report
from report.sweep_results import VALUES


def report(arguments: argparse.Namespace) -> int:
    """Write the page of a run or of a sweep."""
    if (arguments.run / VALUES).is_file():
        path = write_sweep_report(arguments.run)
    else:
        path = write_report(
            arguments.run,
            num_samples=arguments.samples,
            num_clips=arguments.clips,
            compare=arguments.compare,
        )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return EXIT_DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 for done, 2 for no run there."""
    parser = argparse.ArgumentParser(description="Write the report of a run as one HTML file.")
    parser.add_argument("run", type=Path, help="folder of the run, or of a sweep")
    parser.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="RUN", help="runs set beside it"
    )
    parser.add_argument("--samples", type=int, default=2000, help="most completions shown")
    parser.add_argument("--clips", type=int, default=60, help="clips drawn, with their sound")
    return run_command(parser, report, argv)


if __name__ == "__main__":
    sys.exit(main())
