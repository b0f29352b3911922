"""Calibration of a judge: it is asked as in a run, and what it says is kept and summed up."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray

from configs.errors import UserError
from configs.rules import LOCAL_JUDGE
from configs.schema import RunConfig
from data.files import read_rows, write_rows
from data.prompts import PromptBuilder, prompt_function
from data.records import Prompt
from evaluation.calibration.page import calibration_page
from evaluation.calibration.probes import Probe, probes_of
from evaluation.calibration.summary import (
    accuracy_summary,
    calibration_summary,
    drift_summary,
    human_summary,
    read_ratings,
)
from rewards.judges.base import JudgeContext, Judgement, load_judge
from rewards.judges.rows import JudgeRow

logger = logging.getLogger(__name__)

NUM_CPUS = 0.01
"""Ray CPUs of the judge's process, as of a reward worker."""

START_TIMEOUT_S = 600.0
"""Longest wait for a judge to load and warm up."""


class JudgeWorker:
    """A judge in a process of its own; wrapped with `ray.remote`."""

    def __init__(self, target: str, options: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self._judge = load_judge(target, options, JudgeContext(**context))

    def ready(self) -> bool:
        """Return once the judge is built."""
        return True

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge texts about one clip; see `Judge.judge`."""
        return self._judge.judge(prompt, reasonings)

    def close(self) -> None:
        """Free what the judge holds."""
        self._judge.close()


def local_judge(config: RunConfig, model_path: str) -> tuple[str, dict[str, Any]]:
    """Return target and options of the judge that serves a checkpoint of a judge run.

    Args:
        config: The run; what stands in `judge.options` wins.
        model_path: Folder of the checkpoint.
    """
    known = {
        "model_path": model_path,
        "prompt_file": config.judge.prompt_file,
        "dtype": config.model.dtype,
    }
    return LOCAL_JUDGE, known | config.judge.options


class CalibratedJudge:
    """A judge under calibration."""

    def __init__(self, config: RunConfig, target: str, options: Mapping[str, Any]) -> None:
        """Start its process and wait until it can judge.

        Args:
            config: The run; Ray is connected.
            target: "module:Class" of the judge.
            options: Its keyword arguments.
        """
        context = {
            "audio_root": config.data.audio_root,
            "device": config.device,
            "packages": list(config.rewards.packages),
        }
        kind = ray.remote(JudgeWorker).options(
            num_cpus=NUM_CPUS,
            num_gpus=config.judge.gpus,
            max_concurrency=config.judge.concurrency,
        )
        self._actor: Any = kind.remote(target, dict(options), context)
        ray.get(self._actor.ready.remote(), timeout=START_TIMEOUT_S)
        self._concurrency = config.judge.concurrency

    def judge(self, asked: Iterable[tuple[Prompt, Sequence[str]]]) -> list[list[Judgement]]:
        """Return the judgements of texts about several clips, in order.

        Args:
            asked: Clips, each with the texts about it; taken as the judge gets on.
        """
        found: dict[int, list[Judgement]] = {}
        running: dict[Any, int] = {}
        for place, (prompt, texts) in enumerate(asked):
            if len(running) >= 2 * self._concurrency:
                self._take(running, found)
            running[self._actor.judge.remote(prompt, list(texts))] = place
        while running:
            self._take(running, found)
        return [found[place] for place in range(len(found))]

    def close(self) -> None:
        """End the judge and its process."""
        ray.get(self._actor.close.remote())
        ray.kill(self._actor)

    @staticmethod
    def _take(running: dict[Any, int], found: dict[int, list[Judgement]]) -> None:
        (done,), _ = ray.wait(list(running))
        found[running.pop(done)] = ray.get(done)


def score_probes(
    config: RunConfig, judge: CalibratedJudge, rows: Sequence[JudgeRow]
) -> list[dict[str, Any]]:
    """Return the lines of `scores.jsonl`, one per probe; see `summary.Row`."""
    build = prompt_function(PromptBuilder(config.model.path, config.data), config.data)
    probes = probes_of(rows)
    asked = (
        (build(row.example), [probe.reasoning for probe in probes[row.example.id]]) for row in rows
    )
    return [
        _line(row, probe, judgement)
        for row, judgements in zip(rows, judge.judge(asked), strict=True)
        for probe, judgement in zip(probes[row.example.id], judgements, strict=True)
    ]


def _line(row: JudgeRow, probe: Probe, judgement: Judgement) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if probe.kind == "held_out":
        known = {"gold": dict(row.scores), "num_words": len(probe.reasoning.split())}
    scored = None not in judgement.scores.values()
    return {
        "id": probe.id,
        "row": probe.row,
        "kind": probe.kind,
        "payload": probe.payload,
        "clip": row.example.audio,
        "text_sha256": hashlib.sha256(probe.reasoning.encode("utf-8", "surrogatepass")).hexdigest(),
        "scores": dict(judgement.scores) if scored else None,
        "missing": judgement.missing,
        **known,
    }


def write_calibration(
    folder: Path,
    scored: Mapping[str, Sequence[dict[str, Any]]],
    *,
    seed: int,
    human: str = "",
    against: str = "",
    completions: Mapping[str, Sequence[dict[str, Any]]] | None = None,
) -> dict[str, Any]:
    """Write `scores.jsonl`, `summary.json`, `report.md` and `report.png` of judges.

    Args:
        folder: Made if need be.
        scored: Name of a judge -> its scored probes; the last one's go to `scores.jsonl`.
        seed: Of the bootstrap.
        human: CSV of human scores; empty = none.
        against: `scores.jsonl` of an earlier calibration; empty = none.
        completions: Name of a judge -> scored completions of a run, see `accuracy_summary`.

    Returns:
        The summary: name of a judge -> its numbers.

    Raises:
        UserError: A file that cannot be compared, or a judge that scored nothing.
    """
    from evaluation.calibration.figure import calibration_figure

    summary = {name: calibration_summary(rows, seed=seed) for name, rows in scored.items()}
    for name, rows in scored.items():
        if human:
            summary[name]["human"] = human_summary(rows, read_ratings(Path(human)))
        if against:
            summary[name]["drift"] = drift_summary(_earlier(Path(against)), rows)
        if completions and name in completions:
            summary[name]["accuracy"] = accuracy_summary(completions[name])
    folder.mkdir(parents=True, exist_ok=True)
    last = list(scored)[-1]
    write_rows(folder / "scores.jsonl", scored[last])
    text = json.dumps(summary, indent=1) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    (folder / "report.md").write_text(calibration_page(summary), encoding="utf-8")
    calibration_figure(folder / "report.png", scored[last], summary[last])
    logger.info(f"calibration: {folder / 'report.md'}")
    return summary


def _earlier(path: Path) -> list[dict[str, Any]]:
    try:
        return read_rows(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as scores.jsonl: {error}") from error
