"""The schema of what a run writes down."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.section import Section

AlarmName = Literal[
    "prefers_wrong",
    "judge_drift",
    "hacking",
    "accuracy",
    "entropy",
    "no_kl",
    "classes",
    "given_up",
    "length",
    "truncated",
    "flat",
]
"""What `log.alarm_stop` may name; docs/metrics.md says when each of them is raised."""

TrackerName = Literal["tensorboard", "wandb", "mlflow", "trackio", "swanlab"]
"""What `log.trackers` may name; docs/trackers.md says what each of them needs."""


@dataclass
class LogConfig(Section):
    """What a run writes down."""

    samples_every: int = Field(default=10, ge=0)
    """Steps between sample files; 0 = none."""
    trackers: list[TrackerName] = Field(default=["tensorboard"])
    """Experiment trackers that get the metrics, the configuration, tables of completions with
    playable clips, and the report; docs/trackers.md."""
    project: str = "cadence"
    """Name of the project, or experiment, that the trackers file the run under."""
    clips: int = Field(default=4, ge=0)
    """Clips to listen to in each table of completions, of as many groups; 0 = none."""
    report: bool = True
    """Write report.html at the end of the run; `launch/report.py` does it at any time."""
    stall_s: float = Field(default=300.0, gt=0)
    """Seconds without an answer of an engine or rank after which the log says who is in which call,
    with the stacks of all threads of all of them, once a call. The call's own timeout ends it."""
    alarm_steps: int = Field(default=20, ge=0)
    """Steps in a row that a condition of docs/metrics.md#alarms must hold to raise an alarm line;
    0 = never."""
    class_window: int = Field(default=20, ge=1)
    """Last steps over which `classes/*` count how often each label is asked, answered and right."""
    alarm_growth: float = Field(default=2.0, gt=1)
    """Length of completions, relative to the run's first steps, that counts as too long."""
    alarm_stop: list[AlarmName] = Field(default=[])
    """Alarms that end the run (exit code 4) instead of a line alone, such as `accuracy`."""
