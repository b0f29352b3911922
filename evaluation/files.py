"""The files of an evaluation: answers, summary and report, below `evaluation/` of a run folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.schema import RewardTermConfig, RunConfig
from data.files import read_rows, write_atomically, write_rows
from data.splits import Splits
from evaluation.nulls import null_baselines
from evaluation.page import evaluation_page
from evaluation.summary import AnsweredSet, quality, summary_of_sets
from trainer.run_folder import RunFolder

logger = logging.getLogger(__name__)

FOLDER = "evaluation"
"""Below the run folder."""


def write_evaluation(
    run: Path,
    config: RunConfig,
    sets: Sequence[AnsweredSet],
    *,
    model: str,
    latency: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Write `answers.jsonl`, `controls/NAME.jsonl`, `summary.json` and `report.md`.

    Args:
        run: The run folder.
        config: The run.
        sets: At least one, all with the same controls.
        model: Folder of the policy.
        latency: `clips`, `p50_s`, `p95_s` and `device` of single requests; None = not measured.

    Returns:
        All metrics by their keys in docs/metrics.md, with the means over several benchmarks.
    """
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "answers.jsonl", (row for answered in sets for row in answered.rows))
    for name in sets[0].controls:
        (folder / "controls").mkdir(exist_ok=True)
        rows = (row for answered in sets for row in answered.controls[name])
        write_rows(folder / "controls" / f"{name}.jsonl", rows)
    summary = summary_of_sets(sets, seed=config.seed)
    metrics = {key: value for answered in sets for key, value in answered.all_metrics().items()}
    if summary["means"] and any(answered.is_benchmark for answered in sets):
        for kind in ("micro", "macro"):
            metrics[f"bench/{kind}_accuracy"] = summary["means"][kind]["accuracy"]
    if latency is not None:
        for kind in ("p50_s", "p95_s"):
            metrics[f"perf/latency_{kind}"] = latency[kind]
    summary |= {
        "model": model,
        "mode": config.eval.mode,
        "samples": config.eval.samples,
        "temperature": config.rollout.temperature,
        "seed": config.seed,
        "judges": {term.name: judge_name(term) for term in config.rewards.terms if term.judged},
        "latency": latency,
        "metrics": metrics,
    }
    write_atomically(folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    write_atomically(folder / "report.md", evaluation_page(summary))
    logger.info(f"report: {folder / 'report.md'}")
    return metrics


def write_last_test(
    folder: RunFolder, config: RunConfig, evaluations: Mapping[str, AnsweredSet], data: Splits
) -> None:
    """Write the evaluation of a training run's last weights on `eval.test_split`, if there is one.

    Args:
        folder: The run's.
        config: The run.
        evaluations: `Evaluator.answered`.
        data: Rows of the run, for the null baselines.
    """
    answered = evaluations.get("test_after")
    if answered is None:
        return
    # A training run asks for greedy answers with their reasoning, whatever else is configured.
    config = replace(config, eval=replace(config.eval, mode="reasoned", samples=0))
    nulls = null_baselines(answered.rows, data.test, data.train, seed=config.seed)
    answered = replace(answered, name=config.eval.test_split, nulls=nulls)
    write_evaluation(folder.root, config, [answered], model=str(folder.export_dir))


def read_answers(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's evaluation.

    Raises:
        UserError: There are none.
    """
    return read_rows(_written(run / FOLDER / "answers.jsonl"))


@dataclass(frozen=True)
class StoredEvaluation:
    """A finished evaluation, as its files tell it."""

    label: str
    """As tables call it."""
    summary: Mapping[str, Any]
    """Its summary.json."""
    rows: Sequence[Mapping[str, Any]]
    """Its answers.jsonl without those to probes."""

    @classmethod
    def read(cls, label: str, run: Path) -> StoredEvaluation:
        """Read the evaluation of a run folder.

        Raises:
            UserError: There is none, or an older version wrote it.
        """
        path = _written(run / FOLDER / "summary.json")
        summary = json.loads(path.read_text(encoding="utf-8"))
        if "sets" not in summary:
            raise UserError(f"{path.parent}: was written by an older version; evaluate again")
        probes = {name for name, numbers in summary["sets"].items() if numbers["probe"]}
        rows = [row for row in read_answers(run) if row["benchmark"] not in probes]
        return cls(label, summary, rows)

    @property
    def sets(self) -> dict[str, Mapping[str, Any]]:
        """Test sets that ask about the emotion: name -> summary."""
        sets = self.summary["sets"].items()
        return {name: numbers for name, numbers in sets if not numbers["probe"]}

    @property
    def probes(self) -> dict[str, float]:
        """Accuracy of each probe."""
        sets = self.summary["sets"].items()
        return {name: part["overall"]["accuracy"] for name, part in sets if part["probe"]}

    @property
    def accuracy(self) -> float | None:
        """Over the clips of all test sets together that ask about the emotion."""
        means = self.summary["means"]
        return means["micro"]["accuracy"] if means else None

    @property
    def judged(self) -> tuple[str, Mapping[str, Any]] | None:
        """The first judged term and what it says of all these clips; None if nothing was judged."""
        return next(iter(quality(self.rows).items()), None)


def _written(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file; evaluate with launch/evaluate.py first")
    return path


def judge_name(term: RewardTermConfig) -> str:
    """Return who judges a term: its class, and the model or checkpoint behind it."""
    target = str(term.options.get("judge", term.target)).partition(":")[2]
    options = term.options.get("judge_options", {})
    model = options.get("model") or options.get("model_path")
    return f"{target} ({model})" if model else target
