"""The schema of a sweep: its trials, their settings and seeds, and what is compared."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path, PurePath
from typing import Any, Literal, cast

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.load import ConfigError, load_sections
from configs.section import Section

PREPARE = "prepare"
"""Folder of the prepared stages, below the sweep's."""

LOGS = "logs"
"""Folder of what the runs print, below the sweep's."""

SET_BY_SWEEP = ("name", "output_dir", "seed")
"""Keys of a run that the sweep gives itself."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]*")
# Texts that YAML reads back as they are, without quotes.
_PLAIN = re.compile(r"[A-Za-z_./][\w./:-]*\w")
_WORDS = {"true", "false", "yes", "no", "on", "off", "null"}


@dataclass
class MetricConfig(Section):
    """One number of a run for the tables."""

    key: str = ""
    """Key in metrics.jsonl, such as `test_after/accuracy`; see docs/metrics.md."""
    label: str = ""
    """Head of the column; empty = the key."""
    at: Literal["last", "first", "max", "min"] = "last"
    """Which of the run's rows that have the key."""


@dataclass
class StageConfig(Section):
    """A run that is made once per seed before the trials that use its files."""

    name: str = ""
    """Name of the folder."""
    label: str = ""
    """Name in tables and the figure; empty = the name."""
    command: Literal["rl", "sft", "evaluate"] = "rl"
    """`launch/rl.py`, `launch/sft.py` or `launch/evaluate.py`."""
    config: str = ""
    """YAML file of the run, relative to the folder the sweep is started in."""
    set: dict[str, Any] = Field(default={})
    """Dotted keys over that file. `{seed}` in a text stands for the seed, `{sweep}` for the
    sweep's folder."""
    report: bool = False
    """Show the runs in the tables and the figure."""


@dataclass
class TrialConfig(StageConfig):
    """What is compared: one setting, run with every seed."""

    report: bool = True
    """Show the runs in the tables and the figure."""


@dataclass
class HypothesisConfig(Section):
    """A comparison that is fixed before the runs: what decides, and when.

    The difference is `trial` minus `against`, paired by seed.
    """

    trial: str = ""
    """Name of the trial, with its axes' values."""
    against: str = ""
    """The trial that it is compared with; empty = the baseline."""
    metric: str = ""
    """One of `metrics`, by its key."""
    expect: Literal["more", "less", "equal", "not_less"] = "more"
    """`more`, `less`: the 95 % interval lies above or below 0. `equal`: two one-sided tests at 5 %,
    so the 90 % interval lies within the margin. `not_less`: its lower end is above minus the
    margin."""
    margin: float = Field(default=0.0, ge=0)
    """Of `equal` and `not_less`: largest difference that does not matter, in the metric's unit."""
    sd: float = Field(default=0.0, ge=0)
    """Standard deviation of the difference over seeds, in the metric's unit, that `seeds` were
    counted for; 0 = not said. `--dry-run` tells what they can show."""


@dataclass
class SweepConfig(Section):
    """A set of trials."""

    name: str = ""
    """Folder of the sweep below `output_dir`."""
    output_dir: str = "runs"
    """Folder of all runs."""
    seeds: list[int] = Field(default_factory=lambda: [0, 1, 2])
    """Every trial runs with each of them."""
    concurrency: int = Field(default=1, ge=1)
    """Runs at a time."""
    backend: Literal["local", "jobs"] = "local"
    """`local`: processes on this machine; `jobs`: jobs on a Ray cluster."""
    address: str = ""
    """Of the cluster that takes the jobs, such as `http://HOST:8265`; empty = RAY_ADDRESS."""
    baseline: str = ""
    """Trial that the others are compared with, seed by seed; empty = no comparison."""
    metrics: list[MetricConfig] = Field(default=[])
    """Columns of the tables; the first three are drawn."""
    hypotheses: list[HypothesisConfig] = Field(default=[])
    """What the sweep is to decide, written down before it runs; the page begins with them."""
    prepare: list[StageConfig] = Field(default=[])
    """Runs that trials start from, such as a cold start."""
    axes: dict[str, list[Any]] = Field(default={})
    """Dotted key -> values; every trial is repeated with every combination of them."""
    trials: list[TrialConfig] = Field(default=[])
    """What is compared."""

    @property
    def folder(self) -> Path:
        """Folder of the sweep, as `{sweep}` in values."""
        return Path(self.output_dir) / self.name


def load_sweep(path: str | Path) -> SweepConfig:
    """Return a checked sweep; its axes are spread over its trials.

    The runs' own configurations are not looked at here.

    Raises:
        ConfigError: With everything that is wrong with the file.
    """
    sweep = load_sections(path, SweepConfig)
    sweep.trials = [variant for trial in sweep.trials for variant in _variants(trial, sweep.axes)]
    problems = [f"{path}: {problem}" for problem in _rules(sweep)]
    if problems:
        raise ConfigError(path, *problems)
    return sweep


def override(key: str, value: Any) -> str:
    """Return `key=value` such that the loader of runs reads the very same value."""
    return f"{key}={_text(value)}"


def fill(value: Any, places: Mapping[str, str]) -> Any:
    """Return what YAML can hold with `{name}` replaced in all its texts; other braces stay."""
    if isinstance(value, str):
        for name, text in places.items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, list):
        return [fill(item, places) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {name: fill(item, places) for name, item in cast(dict[str, Any], value).items()}
    return value


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the one of the names that is most like a name."""
    return max(names, key=lambda other: difflib.SequenceMatcher(None, name, other).ratio())


def _text(value: Any) -> str:
    """Return a value in the flow syntax of YAML."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    # JSON is YAML, but for the escapes of characters outside the 16-bit range.
    return json.dumps(value, ensure_ascii=False)


def _variants(trial: TrialConfig, axes: Mapping[str, Sequence[Any]]) -> Iterator[TrialConfig]:
    """Yield a trial for every combination of the axes' values, its own settings below theirs."""
    last_parts = Counter(key.rpartition(".")[2] for key in axes)
    for values in product(*axes.values()):
        name, label = trial.name, trial.label or trial.name
        for key, value in zip(axes, values, strict=True):
            part = key.rpartition(".")[2]
            short = part if last_parts[part] == 1 else key
            text = re.sub(r"[^A-Za-z0-9.-]+", "_", _text(value)).strip("_")
            name, label = f"{name}-{short}={text}", f"{label}, {short} {_text(value)}"
        setting = {**trial.set, **dict(zip(axes, values, strict=True))}
        yield replace(trial, name=name, label=label, set=setting)


def _rules(sweep: SweepConfig) -> Iterator[str]:
    if not _NAME.fullmatch(sweep.name):
        yield f"name: found {sweep.name!r}; allowed are letters, digits and _ . = -"
    if not sweep.output_dir:
        yield "output_dir: is empty; name the folder that holds all runs"
    if sweep.backend == "jobs" and not PurePath(sweep.output_dir).is_absolute():
        yield (
            f"output_dir: found {sweep.output_dir}; backend: jobs needs an absolute path that this "
            "machine and every node see"
        )
    if not sweep.seeds or len(set(sweep.seeds)) < len(sweep.seeds) or min(sweep.seeds) < 0:
        yield f"seeds: found {sweep.seeds}; allowed are different whole numbers from 0, at least 1"
    for key, values in sweep.axes.items():
        if not values:
            yield f"axes: {key} has no values"
    if not sweep.metrics:
        yield "metrics: none are named, so nothing could be compared"
    for index, metric in enumerate(sweep.metrics):
        if not metric.key:
            yield f"metrics.{index}.key: is missing"
    yield from _repeated("metrics", [f"{m.key} at {m.at}" for m in sweep.metrics])
    if not sweep.trials and all(sweep.axes.values()):
        yield "trials: none are named"
    yield from _stages("prepare", sweep.prepare)
    yield from _stages("trials", sweep.trials)
    shown = [row for row, _ in reported(sweep)]
    if sweep.baseline and shown and sweep.baseline not in shown:
        yield (
            f"baseline: found {sweep.baseline}, which is no reported trial; the nearest is "
            f"{nearest(sweep.baseline, shown)}"
        )
    for index, hypothesis in enumerate(sweep.hypotheses):
        for problem in _hypothesis_rules(sweep, hypothesis, shown):
            yield f"hypotheses.{index}.{problem}"


def _hypothesis_rules(
    sweep: SweepConfig, hypothesis: HypothesisConfig, trials: Sequence[str]
) -> Iterator[str]:
    keys = [metric.key for metric in sweep.metrics]
    names = {"trial": hypothesis.trial, "against": hypothesis.against or sweep.baseline}
    for key, name in names.items():
        if name not in trials:
            near = f"; the nearest is {nearest(name, trials)}" if trials else ""
            yield f"{key}: found {name or 'nothing'}, which is no reported trial{near}"
    if names["trial"] == names["against"]:
        yield f"against: {names['trial']} would be compared with itself"
    if hypothesis.metric not in keys:
        yield f"metric: found {hypothesis.metric or 'nothing'}; name one of: {', '.join(keys)}"
    if (hypothesis.expect in ("equal", "not_less")) != bool(hypothesis.margin):
        yield (
            f"margin: found {hypothesis.margin} with expect: {hypothesis.expect}; `equal` and "
            "`not_less` need one, `more` and `less` have none"
        )


def _stages(key: str, stages: Sequence[StageConfig]) -> Iterator[str]:
    yield from _repeated(key, [stage.name for stage in stages])
    for stage in stages:
        where = f"{key}: {stage.name or '(no name)'}"
        if not _NAME.fullmatch(stage.name) or stage.name in (PREPARE, LOGS):
            yield (
                f"{where}: allowed names have letters, digits and _ . = -, and are not {PREPARE} "
                f"or {LOGS}"
            )
        if not stage.config:
            yield f"{where}: config is missing; name the YAML file of the run"
        for name in SET_BY_SWEEP:
            if name in stage.set:
                yield f"{where}: set: {name} is given by the sweep; remove it"


def _repeated(key: str, names: Sequence[str]) -> Iterator[str]:
    for name, count in Counter(names).items():
        if count > 1:
            yield f"{key}: {name} stands there {count} times"


def reported(sweep: SweepConfig) -> list[tuple[str, StageConfig]]:
    """Return the rows of the tables: name (a folder below the sweep's) and stage or trial."""
    stages = [(f"{PREPARE}/{stage.name}", stage) for stage in sweep.prepare]
    trials = [(trial.name, trial) for trial in sweep.trials]
    return [(name, stage) for name, stage in [*stages, *trials] if stage.report]
