#!/usr/bin/env python
"""Run trials with several seeds and compare them.

python launch/sweep.py --config FILE [--dry-run] [--only NAME ...]
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":
    # The repository in the place of this folder, whose files have names of packages.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.sweep import SweepConfig, load_sweep
from launch.command import (
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PREEMPTED,
    EXIT_PREFLIGHT,
    be_quiet,
    fail,
    run_command,
)
from launch.preflight import ROOT, check_authentication, stop_run
from launch.preflight.upload import check_upload
from launch.sweep_plan import describe_runs, plan_runs, read_states, results_of, select_runs
from launch.sweep_runner import Backend, LocalBackend, Outcome, Runner, StopSignals
from report.hypotheses import describe_power
from report.sweep_results import write_report
from trainer.run_folder import lock_folder

logger = logging.getLogger(__name__)

ATTEMPTS = "attempts.jsonl"
"""File below the sweep's folder: one line for every execution of a run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sweep.

    Returns:
        The exit code: 0 all done, 2 configuration, 3 no cluster for the jobs, 4 a run failed, 75
        stopped, and the same command goes on.
    """
    parser = argparse.ArgumentParser(description="Run trials with several seeds and compare them.")
    parser.add_argument("--config", required=True, metavar="FILE", help="see docs/sweeps.md")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, start nothing"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="trials (or prepare/STAGE) to run, with what they need; the tables show all",
    )
    return run_command(parser, run_sweep, argv)


def run_sweep(arguments: argparse.Namespace) -> int:
    """Plan, execute and report a sweep; see `main`."""
    sweep = load_sweep(arguments.config)
    everything = plan_runs(sweep)
    runs = select_runs(everything, arguments.only)
    states = read_states(runs)
    if arguments.dry_run:
        print(describe_runs(runs, states), *describe_power(sweep), sep="\n")
        return EXIT_DONE
    be_quiet()
    try:
        sweep.folder.mkdir(parents=True, exist_ok=True)
        lock_folder(sweep.folder)
    except OSError as error:
        return fail(EXIT_CONFIG, f"output_dir: {error}")
    # What another sweep has done while this one was not yet alone.
    states = read_states(runs)
    backend = _backend(sweep)
    if isinstance(backend, int):
        return backend
    todo = [run for run in runs if states[run.title] != "done"]
    logger.info(f"sweep {sweep.name}: {len(runs)} runs, {len(runs) - len(todo)} done before")
    attempts = sweep.folder / ATTEMPTS
    stop = StopSignals()
    outcomes = Runner(backend, sweep.concurrency, stop, attempts).execute(todo)
    for path in write_report(sweep, results_of(everything), attempts):
        logger.info(f"wrote {path}")
    return _sum_up(outcomes, stopped=stop.count > 0)


def _backend(sweep: SweepConfig) -> Backend | int:
    """Return where runs execute, or the exit code if nowhere."""
    if sweep.backend == "local":
        return LocalBackend()
    from launch.sweep_jobs import JobsBackend, NoClusterError  # Ray takes seconds to import

    if Path.cwd().resolve() != ROOT:
        return fail(EXIT_CONFIG, f"backend: jobs uploads the repository; start the sweep in {ROOT}")
    if stop_run([*check_upload(ROOT), *check_authentication(submitting=True)]):
        return EXIT_PREFLIGHT
    try:
        return JobsBackend(sweep.address)
    except NoClusterError as error:
        return fail(EXIT_PREFLIGHT, error)


def _sum_up(outcomes: Sequence[Outcome], *, stopped: bool) -> int:
    """Name what is not done and return the exit code."""
    for outcome in outcomes:
        if outcome.ending == "not started":
            logger.info(f"not started: {outcome.run.title}: {outcome.reason}")
        elif outcome.ending != "done":
            logger.info(
                f"{outcome.ending}: {outcome.run.title} ({outcome.reason}): {outcome.run.log_path}"
            )
    endings = {outcome.ending for outcome in outcomes}
    if endings <= {"done"}:
        return EXIT_DONE
    if "failed" in endings and not stopped:
        return EXIT_FAILED
    logger.info("run the same command again to go on")
    return EXIT_PREEMPTED


if __name__ == "__main__":
    sys.exit(main())
