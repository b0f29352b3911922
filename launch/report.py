#!/usr/bin/env python
"""Write the report of a run or a sweep: one HTML file that opens from a disk, without a network.

python launch/report.py RUN_FOLDER [--compare RUN_FOLDER ...] [--samples 2000] [--clips 60]
python launch/report.py RUN_FOLDER --follow 30
python launch/report.py SWEEP_FOLDER

With --follow, a run that goes on has its report written again at most that often, and an open page
shows it by itself. Any process that sees the folder can do it: the run has nothing to do with it.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.errors import UserError
from launch.command import EXIT_DONE, run_command
from report.data import read_run
from report.page import write_report, write_sweep_report
from report.sweep_results import VALUES
from trainer.run_folder import RunFolder

logger = logging.getLogger(__name__)

MAX_BUSY = 0.1
"""Share of the time in which a followed run's report is written: it grows with the run."""

ENDED = ("finished", "failed")
"""States after which nothing comes; a run that was stopped is mostly started again."""


def report(arguments: argparse.Namespace) -> int:
    """Write the page of a run or of a sweep."""
    is_sweep = (arguments.run / VALUES).is_file()
    if arguments.follow is not None:
        if is_sweep or arguments.follow < 1:
            raise UserError("--follow takes 1 s or more, and the folder of one run, not of a sweep")
        with suppress(KeyboardInterrupt):
            follow(arguments)
    path = write_sweep_report(arguments.run) if is_sweep else write(arguments)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    return EXIT_DONE


def write(arguments: argparse.Namespace, every_s: float = 0.0) -> Path:
    """Write the page of a run and return its path; see `write_report`."""
    return write_report(
        arguments.run,
        num_samples=arguments.samples,
        num_clips=arguments.clips,
        compare=arguments.compare,
        every_s=every_s,
    )


def follow(arguments: argparse.Namespace) -> None:
    """Write the page of a run whenever its files have changed, until the run has ended.

    Raises:
        UserError: The folder holds no run, or is gone.
    """
    folder = RunFolder(arguments.run)
    paths = (folder.metrics_path, folder.status_path, folder.samples_dir)
    written: tuple[int, ...] = ()
    if not folder.last_step():
        logger.info(f"{arguments.run}: the page comes with the first step")
    while folder.read_status()["state"] not in ENDED:
        # Of what the page shows: they are others once it would show other things.
        times = tuple(path.stat().st_mtime_ns for path in paths if path.exists())
        began = time.monotonic()
        if times != written and folder.last_step():
            try:
                path = write(arguments, every_s=arguments.follow)
                logger.info(f"{path}: step {folder.last_step()}")
                written = times
            except FileNotFoundError as error:
                # A resumed run takes back samples of steps that it does again.
                read_run(arguments.run)
                logger.info(f"{error.filename}: has just gone; the page is written again")
        time.sleep(max(arguments.follow, (time.monotonic() - began) * (1 / MAX_BUSY - 1)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0 for done, 2 for no run there."""
    parser = argparse.ArgumentParser(description="Write the report of a run as one HTML file.")
    parser.add_argument("run", type=Path, help="folder of the run, or of a sweep")
    parser.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="RUN", help="runs set beside it"
    )
    parser.add_argument("--samples", type=int, default=2000, help="most completions shown")
    parser.add_argument("--clips", type=int, default=60, help="clips drawn, with their sound")
    parser.add_argument(
        "--follow", type=float, metavar="SECONDS", help="write it again while the run goes on"
    )
    return run_command(parser, report, argv)


if __name__ == "__main__":
    sys.exit(main())
