"""The files of an evaluation: answers, summary and report, below `evaluation/` of a run folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.schema import RewardTermConfig, RunConfig
from data.files import write_rows
from evaluation.evaluator import Answered
from evaluation.page import evaluation_page
from evaluation.summary import AnsweredSet, summary_of_sets
from trainer.run_folder import RunFolder

logger = logging.getLogger(__name__)

FOLDER = "evaluation"
"""Below the run folder."""

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Evaluated:
    """All that an evaluation has found."""

    model: str
    """Folder of the policy."""
    sets: Sequence[AnsweredSet]
    """At least one."""
    mode: str = "reasoned"
    """`eval.mode`."""
    samples: int = 0
    """`eval.samples`."""
    controls: Mapping[str, Rows] = field(default_factory=dict[str, Rows])
    """Name of a control -> answers of all sets."""
    latency: Mapping[str, Any] | None = None
    """`clips`, `p50_s`, `p95_s` and `device` of single requests; None = not measured."""

    def metrics(self) -> dict[str, float]:
        """Return all metrics by their keys in docs/metrics.md."""
        found: dict[str, float] = {}
        for answered in self.sets:
            found |= answered.all_metrics()
        return found


def write_evaluation(run: Path, config: RunConfig, found: Evaluated) -> dict[str, float]:
    """Write `answers.jsonl`, `controls/NAME.jsonl`, `summary.json` and `report.md`.

    Args:
        run: The run folder.
        config: The run.
        found: What was found.

    Returns:
        The metrics, with the means over several benchmarks.
    """
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "answers.jsonl", (row for found in found.sets for row in found.rows))
    for name, answered in found.controls.items():
        (folder / "controls").mkdir(exist_ok=True)
        write_rows(folder / "controls" / f"{name}.jsonl", answered)
    summary = summary_of_sets(found.sets, seed=config.seed)
    metrics = found.metrics()
    if summary["means"] and any(answered.is_benchmark for answered in found.sets):
        for kind in ("micro", "macro"):
            metrics[f"bench/{kind}_accuracy"] = summary["means"][kind]["accuracy"]
    if found.latency is not None:
        for kind in ("p50_s", "p95_s"):
            metrics[f"perf/latency_{kind}"] = found.latency[kind]
    summary |= {
        "model": found.model,
        "mode": found.mode,
        "samples": found.samples,
        "temperature": config.rollout.temperature,
        "seed": config.seed,
        "judges": {term.name: judge_name(term) for term in config.rewards.terms if term.judged},
        "latency": found.latency,
        "metrics": metrics,
    }
    text = json.dumps(summary, indent=1) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    (folder / "report.md").write_text(evaluation_page(summary), encoding="utf-8")
    logger.info(f"report: {folder / 'report.md'}")
    return metrics


def write_last_test(
    folder: RunFolder, config: RunConfig, evaluations: Mapping[str, Answered]
) -> None:
    """Write the evaluation of a training run's last weights on `eval.test_split`, if there is one.

    Args:
        folder: The run's.
        config: The run.
        evaluations: Prefix of the metrics -> newest results.
    """
    found = evaluations.get("test_after")
    if found is None:
        return
    answered = AnsweredSet(
        name=config.eval.test_split,
        is_benchmark=False,
        is_probe=False,
        choices=tuple(config.data.choices),
        rows=[{"benchmark": None, "probe": False, **row} for row in found.rows],
        metrics={key.partition("/")[2]: value for key, value in found.metrics.items()},
    )
    write_evaluation(folder.root, config, Evaluated(str(folder.export_dir), [answered]))


def judge_name(term: RewardTermConfig) -> str:
    """Return who judges a term: its class, and the model or checkpoint behind it."""
    target = str(term.options.get("judge", term.target)).partition(":")[2]
    options = term.options.get("judge_options", {})
    model = options.get("model") or options.get("model_path")
    return f"{target} ({model})" if model else target
