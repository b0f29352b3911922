"""What all training commands share: arguments, checks before Ray, exit codes, run status."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import UserError
from configs.imports import without_collections
from configs.load import ConfigError, load_config
from configs.schema import RunConfig
from data.files import DiskFullError
from launch.command import (
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_PREEMPTED,
    EXIT_PREFLIGHT,
    WHOLE_MODELS,
    add_run_arguments,
    be_quiet,
    fail,
    run_command,
)
from launch.preflight import Problem, preflight, stop_run
from launch.restart import Restarts, start_again

if TYPE_CHECKING:  # what follows is heavy, and a typing error should not wait for it
    from data.splits import Splits
    from evaluation.test_sets import QuestionSet
    from trainer.run_folder import RunFolder
    from trainer.stop import StopRequest

    Data = Splits | list[QuestionSet]

logger = logging.getLogger(__name__)

NEEDED_FOR_DATA = ("model.path", "data.", "eval.", "Python", "transformers")
"""How problems begin that keep rows from being read."""


def run_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of `--config FILE [key=value ...] [--dry-run]`."""
    parser = argparse.ArgumentParser(description=description)
    add_run_arguments(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, print the plan, start nothing"
    )
    return parser


def main(kind: str, description: str, argv: Sequence[str] | None = None) -> int:
    """Run a training command.

    Args:
        kind: `policy` (RL), `sft`, `judge` or `evaluate`; the configuration must fit.
        description: for `--help`.
        argv: arguments without the program name; None = those of this process.

    Returns:
        The exit code: 0 done, 2 configuration or data, 3 preflight, 4 run failed, 75 preempted and
        saved.
    """
    # The line as it was typed, of a script or of `cadence`.
    command = shlex.join(["python", *sys.orig_argv[1:]]) if argv is None else ""
    return run_command(run_parser(description), partial(_check_and_run, kind, command), argv)


def _check_and_run(kind: str, command: str, arguments: argparse.Namespace) -> int:
    from trainer.stop import StopRequest

    stop = StopRequest()
    try:
        return _run(kind, command, arguments, stop)
    except KeyboardInterrupt:
        if not stop():
            raise
        # Rows may take minutes to check, and whoever asks to stop tries 75 again.
        logger.info("asked to stop before the run began; run the same command again to start it")
        return EXIT_PREEMPTED


def _run(kind: str, command: str, arguments: argparse.Namespace, stop: StopRequest) -> int:
    environment = dict(os.environ)
    be_quiet()
    config = load_config(arguments.config, arguments.overrides)
    check_kind(kind, arguments.config, config)
    problems = preflight(config, learns=kind != "evaluate")
    if stop_run(problems):
        _report_data(kind, config, problems)
        return EXIT_PREFLIGHT
    with without_collections():
        data = _read_data(kind, config)
    if arguments.dry_run:
        from launch.plan import describe_plan

        print(describe_plan(config, data))
        return EXIT_DONE
    return _execute(kind, config, data, command, environment, stop)


def _report_data(kind: str, config: RunConfig, problems: Sequence[Problem]) -> None:
    """Print what is wrong with the rows as well, unless that needs what was found to be broken."""
    if any(p.level == "error" and p.what.startswith(NEEDED_FOR_DATA) for p in problems):
        return
    try:
        _read_data(kind, config)
    except UserError as error:
        fail(EXIT_CONFIG, error)


def _read_data(kind: str, config: RunConfig) -> Data:
    """Read and check the rows that a command needs."""
    if kind == "judge":
        from launch.judge_training import read_judge_data

        return read_judge_data(config)
    from data.lengths import policy_lengths, sft_lengths, warn_of_cut_answers

    if kind == "evaluate":
        from evaluation.test_sets import read_test_sets

        return read_test_sets(config, policy_lengths(config))
    from data.splits import read_data

    if kind != "sft":
        return read_data(config, policy_lengths(config))
    data = read_data(config, sft_lengths(config))
    warn_of_cut_answers(config, data.train)
    return data


def check_kind(kind: str, path: str, config: RunConfig) -> None:
    """Refuse a configuration that a command cannot run; `kind` as in `main`.

    Raises:
        ConfigError: It is of another kind, a judge has no test split, or an evaluation has nothing
            to ask about.
    """
    needed = "sft" if kind in ("sft", "judge") else "policy"
    if config.loss.kind != needed:
        raise ConfigError(f"{path}: loss.kind is {config.loss.kind}, needs {needed}")
    if kind == "evaluate" and not (config.eval.test_split or config.eval.benchmarks):
        raise ConfigError(
            f"{path}: eval.test_split and eval.benchmarks are empty; name what is evaluated"
        )
    if kind == "evaluate" and config.model.adapter:
        raise ConfigError(f"{path}: {WHOLE_MODELS.format(config.model.adapter)}")
    if kind == "judge" and not config.eval.test_split:
        raise ConfigError(f"{path}: eval.test_split is empty; name the split to evaluate")
    if kind == "judge" and config.judge.target:
        raise ConfigError(
            f"{path}: judge.target is {config.judge.target}, which is for launch/calibrate.py"
        )


def _body(kind: str) -> Callable[..., int]:
    """Return what a command does once its folder is open and Ray is there."""
    with without_collections():
        from launch.build import run_rl, run_sft
        from launch.evaluation import run_evaluation
        from launch.judge_training import run_judge

    runs = {"policy": run_rl, "sft": run_sft, "judge": run_judge, "evaluate": run_evaluation}
    return runs[kind]


def _execute(
    kind: str,
    config: RunConfig,
    data: Data,
    command: str,
    environment: Mapping[str, str],
    stop: StopRequest,
) -> int:
    """Open the folder, run, and write the outcome down."""
    from launch.build import open_folder
    from trainer.run_folder import RunFolder
    from trainer.stop import Stopped

    folder = RunFolder(Path(config.output_dir) / config.name)
    restarts = Restarts.of(environment)
    folder.restart = (restarts.number, restarts.reason)
    stop.hold()  # from here on the folder says how the run has ended
    open_folder(config, folder)
    if kind != "evaluate" and _is_over(config, folder):
        logger.info(f"was finished before, nothing is left to do: {folder.root.resolve()}")
        return EXIT_DONE
    try:
        with stop.interruptible():
            folder.write_status("running", 0, "", command)
            logger.info(f"run folder: {folder.root.resolve()}")
            stop.watch(folder.stop_path)
            return _run_in(folder, kind, config, data, command, environment, stop)
    except Stopped:
        return _stopped(folder, folder.last_step(), command)


def _is_over(config: RunConfig, folder: RunFolder) -> bool:
    """Return whether the same command with the same settings has trained to the last step."""
    before = folder.read_status()
    is_whole = not config.checkpoint.export or folder.export_dir.is_dir()
    is_last = before["state"] == "finished" and before["step"] >= config.train.num_steps
    return is_last and is_whole and not folder.changes


def _run_in(
    folder: RunFolder,
    kind: str,
    config: RunConfig,
    data: Data,
    command: str,
    environment: Mapping[str, str],
    stop: StopRequest,
) -> int:
    """Connect Ray, run, and write the outcome down."""
    from launch.cluster import NodeAddress, connect, describe_lost_nodes
    from launch.watchdog import Watchdog
    from trainer.guard import AlarmError, NoSignalError
    from trainer.sealed import CheckpointFullError
    from trainer.stop import Stopped
    from trainer.trackers.sink import Trackers

    nodes: list[NodeAddress] = []
    restarts = Restarts.of(environment)
    with Trackers(config, folder) as trackers:
        try:
            with stop.lent():
                trackers.open(resumed=folder.has_progress())
                nodes = connect(config, learns=kind != "evaluate")
            Watchdog(config.log.stall_s)
            step = _body(kind)(config, folder, data, stop, trackers)
            stop.hold()
        except BaseException as error:
            if isinstance(error, Stopped) or (isinstance(error, KeyboardInterrupt) and stop()):
                return _stopped(folder, getattr(error, "step", folder.last_step()), command)
            lost = describe_lost_nodes(nodes) if isinstance(error, Exception) else ""
            where, again = _after_loss(config, folder, error, lost, restarts)
            reason = f"{lost}{type(error).__name__}: {error}{where}"
            _failed(folder, reason, command)
            if not isinstance(error, Exception):
                raise
            plain = (UserError, DiskFullError, CheckpointFullError, NoSignalError, AlarmError)
            if not isinstance(error, plain):  # those say themselves what to do
                traceback.print_exc()
            if again is not None and command and not stop():
                logger.warning(f"{reason} Starting again ({again.number}).")
                trackers.close()
                start_again(again, environment)
            return fail(EXIT_FAILED, f"{lost}{error}{where}")
        if not folder.is_done(step, config.train.num_steps):
            return _stopped(folder, step, command)
        folder.write_status("finished", step, folder.end_reason, command)
        if config.log.report and _report(folder):
            trackers.log_report(folder.report_path)
    if config.checkpoint.push_to_hub and kind != "evaluate":
        _push(folder, config.checkpoint.push_to_hub, environment)
    why = f"; {folder.end_reason}" if folder.end_reason else ""
    steps = "" if kind == "evaluate" else f" {step} steps"
    logger.info(f"finished{steps}: {folder.root.resolve()}{why}")
    return EXIT_DONE


def _failed(folder: RunFolder, reason: str, command: str) -> None:
    """Write down that the run failed, if the disk takes it."""
    try:
        folder.write_status("failed", folder.last_step(), reason, command)
    except OSError as full:  # the disk, for one, that has ended the run
        print(f"error: the status could not be written: {full}", file=sys.stderr)


def _stopped(folder: RunFolder, step: int, command: str) -> int:
    """Write down that the run was asked to stop, and return the exit code."""
    from trainer.checkpoint import newest_step

    folder.write_status("preempted", step, "asked to stop", command)
    saved = newest_step(folder.checkpoints_dir)
    what = "nothing to save yet" if saved is None else f"saved after step {saved}"
    logger.info(f"{what}; run the same command again to go on")
    return EXIT_PREEMPTED


def _after_loss(
    config: RunConfig, folder: RunFolder, error: BaseException, nodes: str, before: Restarts
) -> tuple[str, Restarts | None]:
    """Say from where a run that lost a process can go on, and how it starts again by itself.

    What lies in data, settings or code would only fail again: for that there is neither.

    Args:
        nodes: what is said of lost ones.
    """
    from rollout.actors import GONE, LostActorError
    from trainer.checkpoint import CheckpointError, latest_checkpoint

    if not (isinstance(error, (*GONE, LostActorError)) or (nodes and isinstance(error, Exception))):
        return "", None
    try:
        checkpoint = latest_checkpoint(folder.checkpoints_dir)
    except CheckpointError as bad:
        return f" {bad}", None
    step = checkpoint.step if checkpoint else -1
    start = f"the last good checkpoint, that of step {step}" if checkpoint else "its beginning"
    again = before.next(config.train.max_restarts, step, f"{nodes}{type(error).__name__}: {error}")
    return f" The run goes on from {start}, with the same command.", again


def _report(folder: RunFolder) -> bool:
    """Write the report; a run that is finished does not fail for the want of a picture of it."""
    from report.page import write_report

    try:
        logger.info(f"report: {write_report(folder.root)}")
    except (OSError, ValueError) as error:
        logger.info(f"the report was not written ({error}); try launch/report.py {folder.root}")
        return False
    return True


def _push(folder: RunFolder, repo: str, environment: Mapping[str, str]) -> None:
    """Push the export; a run that is finished does not fail for the want of a network.

    In a process of its own, with the environment of the start: this one is kept off the hub.
    """
    from launch.preflight import ROOT

    script = str(ROOT / "launch" / "push.py")
    command = [sys.executable, script, "model", str(folder.root), repo, "--yes"]
    if subprocess.run(command, env=environment, check=False).returncode:
        logger.warning(f"the export was not pushed; try again: {shlex.join(command)}")
