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

from configs.errors import UserError
from launch.command import EXIT_CONFIG, EXIT_DONE, fail
from report.page import write_report, write_sweep_report
from report.sweep_results import VALUES


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done, 2 no run there.
    """
    parser = argparse.ArgumentParser(description="Write the report of a run as one HTML file.")
    parser.add_argument("run", type=Path, help="folder of the run, or of a sweep")
    parser.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="RUN", help="runs set beside it"
    )
    parser.add_argument("--samples", type=int, default=2000, help="most completions shown")
    parser.add_argument("--clips", type=int, default=60, help="clips drawn, with their sound")
    arguments = parser.parse_args(argv)
    try:
        if (arguments.run / VALUES).is_file():
            path = write_sweep_report(arguments.run)
        else:
            path = write_report(
                arguments.run,
                num_samples=arguments.samples,
                num_clips=arguments.clips,
                compare=arguments.compare,
            )
    except UserError as error:
        return fail(EXIT_CONFIG, error)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
