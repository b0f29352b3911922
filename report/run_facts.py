"""What a run folder and its manifest say about a run, as plain data."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from configs.schema import LogConfig, RewardTermConfig, RunConfig
from configs.section import tree_of
from data.files import Row, read_rows
from trainer.alarms import Alarms
from trainer.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """Rows of a manifest that have one value of `split`."""

    num_rows: int
    num_speakers: int
    """Different speakers among the rows that name one."""
    labels: Mapping[str, int]
    """Label -> rows."""
    datasets: Mapping[str, int]
    """Corpus -> rows; rows that name none are left out."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run, as its folder describes it."""

    config: Mapping[str, Any]
    """Its configuration, as `configs.schema.RunConfig` in plain values; complete, also of a run of
    an older version."""
    status: Mapping[str, Any]
    """run_status.json: state, step, reason, resume_cmd."""
    rows: Sequence[Row]
    """metrics.jsonl, by step."""
    starts: Sequence[Row]
    """starts.jsonl, oldest first; a run of an older version has none."""
    splits: Mapping[str, SplitFacts] = field(default_factory=dict[str, SplitFacts])
    """Split -> what the manifest holds of it; empty if the manifest is not here any more."""

    @property
    def is_rl(self) -> bool:
        """Whether the configuration is one of reinforcement learning (or of an evaluation)."""
        return self.config["loss"]["kind"] == "policy"

    @property
    def is_judge(self) -> bool:
        """Whether a judge was trained, and not a policy."""
        return any(key.startswith("judge_eval/") for row in self.rows for key in row)

    @property
    def step(self) -> int:
        """Last step with a row; 0 before the first."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    def last(self, area: str) -> dict[str, float]:
        """Return the newest values of a metric area, `area/` taken off the keys."""
        values: dict[str, float] = {}
        for row in self.rows:
            for key, value in row.items():
                if key.startswith(f"{area}/"):
                    values[key.removeprefix(f"{area}/")] = value
        return values

    def seconds(self) -> float:
        """Return the time of all steps, in seconds; starting up is not in it."""
        return sum(row.get("time/step_s", 0.0) for row in self.rows)


def read_facts(run: Path) -> RunFacts:
    """Return the facts of a run folder.

    Args:
        run: The folder; it has config.yaml and run_status.json.

    Raises:
        OSError: A file is missing.
        RunFolderError: run_status.json was not written by a run.
    """
    folder = RunFolder(run)
    written = yaml.safe_load(folder.config_path.read_text(encoding="utf-8"))
    # With the defaults of keys that did not exist when it was written.
    config = _over(tree_of(RunConfig()), written)
    term = asdict(RewardTermConfig())
    config["rewards"]["terms"] = [_over(term, given) for given in config["rewards"]["terms"]]
    return RunFacts(
        config=config,
        status=folder.read_status(),
        rows=folder.rows(),
        starts=folder.starts(),
        splits=split_facts(manifest_rows(Path(config["data"]["manifest"]))),
    )


def _over(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(defaults)
    for key, value in given.items():
        below = defaults.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            value = _over(cast(dict[str, Any], below), cast(dict[str, Any], value))
        merged[key] = value
    return merged


def manifest_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a manifest; none if it is not here any more, or no JSON Lines."""
    if not path.is_file():
        return []
    try:
        return read_rows(path)
    except json.JSONDecodeError:
        return []


def split_facts(manifest: Sequence[Row]) -> dict[str, SplitFacts]:
    """Return split -> what the rows of a manifest are; rows without a split are left out."""
    by_split: dict[str, list[Row]] = {}
    for row in manifest:
        if row.get("split"):
            by_split.setdefault(str(row["split"]), []).append(row)
    return {
        split: SplitFacts(
            num_rows=len(rows),
            num_speakers=len({row["speaker"] for row in rows if row.get("speaker")}),
            labels=Counter(str(row["label"]) for row in rows if row.get("label")),
            datasets=Counter(str(row["dataset"]) for row in rows if row.get("dataset")),
        )
        for split, rows in by_split.items()
    }


def alarms_of(facts: RunFacts) -> list[tuple[int, str]]:
    """Return (step, line) of every alarm that the run raised.

    The alarms follow from the metrics alone, so they are found again by the same code; the settings
    are those of the run's last start.
    """
    log = facts.config["log"]
    config = LogConfig(alarm_steps=log["alarm_steps"], alarm_growth=log["alarm_growth"])
    alarms = Alarms(config, judged_terms(facts.config))
    return [
        (int(row["step"]), line.removeprefix("alarm: "))
        for row in facts.rows
        if "rollout/completion_tokens_mean" in row
        for line in alarms.observe(row)
    ]


def judged_terms(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the reward terms that are a judge's opinion."""
    return [str(term["name"]) for term in config["rewards"]["terms"] if term["judged"]]
