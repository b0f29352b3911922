"""The runs of a sweep: what each would execute, where, and how far it is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configs.load import ConfigError, config_differences, load_config
from configs.schema import RunConfig
from configs.sweep import LOGS, PREPARE, StageConfig, SweepConfig, fill, nearest, override
from launch.preflight import joins_cluster
from report.sweep_results import SweepRun
from trainer.run_folder import RunFolder, RunFolderError

State = Literal["new", "half-done", "done", "changed"]

KINDS = {"rl": "policy", "sft": "sft", "evaluate": "policy"}
"""Command -> `loss.kind` that its configuration must have."""


@dataclass(frozen=True)
class PlannedRun:
    """One trial or prepared stage with one seed."""

    row: str
    """Its stage or trial: `TRIAL` or `prepare/STAGE`."""
    seed: int
    arguments: tuple[str, ...]
    """Of `python`: script below the repository, configuration and settings."""
    config: RunConfig
    folder: RunFolder
    log_path: Path
    """Where the output goes."""
    needs: tuple[str, ...] = ()
    """Titles of the prepared runs whose files its configuration names."""

    @property
    def title(self) -> str:
        """Name of the run for people, unique in the sweep."""
        return f"{self.row}/seed_{self.seed}"

    @property
    def command(self) -> str:
        """Command line that starts the run or goes on with it, in the repository."""
        return shlex.join(["python", *self.arguments])

    def differences(self) -> Sequence[tuple[str, Any, Any]]:
        """Return the keys in which the run in the folder had other values: key, then, now."""
        old = self.folder.config_path.read_text(encoding="utf-8")
        return config_differences(old, self.config)

    def state(self) -> State:
        """Return how far the run is.

        A run that left neither metrics nor checkpoints is new: any configuration may start there.

        Raises:
            RunFolderError: the folder holds something else than a run.
        """
        folder = self.folder
        if not any(path for path in folder.root.glob("*") if path.name[0] != "."):
            return "new"
        status = folder.read_status()
        if not (folder.config_path.is_file() and folder.has_progress()):
            return "new"
        if self.differences():
            return "changed"
        return "done" if status["state"] == "finished" else "half-done"


def results_of(runs: Sequence[PlannedRun]) -> list[SweepRun]:
    """Return the runs as the report of a sweep takes them."""
    return [SweepRun(run.row, run.seed, run.title, _shown_state(run), run.folder) for run in runs]


def _shown_state(run: PlannedRun) -> str:
    try:
        return run.state()
    except RunFolderError:
        return "not a run"


def plan_runs(sweep: SweepConfig) -> list[PlannedRun]:
    """Return all runs of a sweep: what is prepared, then the trials, seed by seed.

    Raises:
        ConfigError: with everything that is wrong with the configuration of any run.
    """
    problems: list[str] = []
    runs: list[PlannedRun] = []
    stages: list[tuple[str, StageConfig]] = [(f"{PREPARE}/{s.name}", s) for s in sweep.prepare]
    for seed in sweep.seeds:
        for row, stage in stages:
            runs += _plan_run(sweep, row, stage, seed, runs, problems)
    prepared = list(runs)
    for seed in sweep.seeds:
        for trial in sweep.trials:
            runs += _plan_run(sweep, trial.name, trial, seed, prepared, problems)
    problems += _shared_gpus(sweep, runs)
    if problems:
        # A mistake in a trial is one for every seed.
        raise ConfigError(f"sweep {sweep.name}", *dict.fromkeys(problems))
    return runs


def _plan_run(
    sweep: SweepConfig,
    row: str,
    stage: StageConfig,
    seed: int,
    prepared: Sequence[PlannedRun],
    problems: list[str],
) -> list[PlannedRun]:
    """Return the run of a stage, or nothing and the problems of its configuration."""
    fixed = {
        "name": f"{sweep.name}/{row}/seed_{seed}",
        "output_dir": sweep.output_dir,
        "seed": seed,
    }
    places = {"seed": str(seed), "sweep": str(sweep.folder)}
    settings: Mapping[str, Any] = fixed | fill(stage.set, places)
    overrides = [override(key, value) for key, value in settings.items()]
    try:
        config = load_config(stage.config, overrides)
    except ConfigError as error:
        problems += [f"{row}: {problem}" for problem in error.problems]
        return []
    if config.loss.kind != KINDS[stage.command]:
        problems.append(
            f"{row}: {stage.config}: loss.kind is {config.loss.kind}; command: {stage.command} "
            f"needs {KINDS[stage.command]}"
        )
    text = repr(config)
    needs = [
        other.title
        for other in prepared
        if re.search(rf"{re.escape(str(other.folder.root))}(?!\w)", text)
    ]
    return [
        PlannedRun(
            row=row,
            seed=seed,
            arguments=(f"launch/{stage.command}.py", "--config", stage.config, *overrides),
            config=config,
            folder=RunFolder(sweep.folder / row / f"seed_{seed}"),
            log_path=sweep.folder / LOGS / row / f"seed_{seed}.log",
            needs=tuple(needs),
        )
    ]


def _shared_gpus(sweep: SweepConfig, runs: Sequence[PlannedRun]) -> list[str]:
    on_gpus = any(run.config.device != "cpu" for run in runs)
    if sweep.backend == "local" and sweep.concurrency > 1 and on_gpus and not joins_cluster():
        return [
            f"concurrency: found {sweep.concurrency}; runs that each start their own Ray would "
            "take the same GPUs: use 1, or one cluster for all with backend: jobs"
        ]
    return []


def select_runs(runs: Sequence[PlannedRun], only: Sequence[str]) -> list[PlannedRun]:
    """Return the runs of some stages and trials, and what they need.

    Args:
        only: names of trials, or `prepare/STAGE`; empty = all.

    Raises:
        ConfigError: an unknown name.
    """
    rows = list(dict.fromkeys(run.row for run in runs))
    unknown = [
        f"--only {name}: no such trial; the nearest is {nearest(name, rows)}"
        for name in only
        if name not in rows
    ]
    if unknown:
        raise ConfigError("command line", *unknown)
    if not only:
        return list(runs)
    wanted = {run.title for run in runs if run.row in only}
    for run in reversed(runs):
        if run.title in wanted:
            wanted.update(run.needs)
    return [run for run in runs if run.title in wanted]


def read_states(runs: Sequence[PlannedRun]) -> dict[str, State]:
    """Return the state of each run by its title.

    Raises:
        ConfigError: a folder holds something else, a run with another configuration, or one that
            started from a prepared run which is not there any more.
    """
    states: dict[str, State] = {}
    problems: list[str] = []
    for run in runs:
        try:
            states[run.title] = run.state()
        except RunFolderError as error:
            problems.append(str(error))
            continue
        if states[run.title] == "changed":
            problems.append(_describe_change(run))
        if states[run.title] in ("half-done", "done"):
            problems += [
                f"{run.folder.root}: started from {need}, which has to be made anew; remove this "
                "folder as well, or give the sweep another name"
                for need in run.needs
                if states.get(need, "done") in ("new", "half-done")
            ]
    if problems:
        raise ConfigError("run folders", *problems)
    return states


def _describe_change(run: PlannedRun) -> str:
    listed = [f"{key}: {old} there, {new} now" for key, old, new in run.differences()]
    more = f" and {len(listed) - 4} more" if len(listed) > 4 else ""
    return (
        f"{run.folder.root}: holds a run with another configuration ({'; '.join(listed[:4])}{more})"
        "; set it back, remove the folder, or give the sweep another name"
    )


def describe_runs(runs: Sequence[PlannedRun], states: Mapping[str, State]) -> str:
    """Return the plan: state, folder and command of every run, then the counts."""
    lines = [f"{states[run.title]:<10}{run.folder.root}\n{'':10}{run.command}" for run in runs]
    counts = [f"{list(states.values()).count(s)} {s}" for s in ("done", "half-done", "new")]
    return "\n".join([*lines, f"{len(runs)} runs: {', '.join(counts)}"])
