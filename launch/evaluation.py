"""Evaluation of a policy: engines and judges, no learner."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray

from configs.schema import RunConfig
from data.controls import CONTROLS, shuffled
from data.jsonl import write_rows
from data.prompts import PromptBuilder, prompt_function
from data.records import Example, Prompt
from launch.assemble import engine_spec, with_run_options
from launch.cluster import engine_options
from launch.splits import Splits
from rewards.pool import RewardPool
from rollout.pool import EnginePool
from trainer.console import log
from trainer.evaluation_report import evaluation_page, evaluation_summary
from trainer.evaluator import Evaluator
from trainer.grounding import control_metrics
from trainer.metrics import MetricsWriter
from trainer.run_folder import RunFolder

PREFIX = "test_after"
"""Of the metrics: the keys that a training run writes after its last step."""


def run_evaluation(
    config: RunConfig, folder: RunFolder, data: Splits, stop_requested: Callable[[], bool]
) -> int:
    """Evaluate a policy on the test split; write metrics, answers and a report.

    Below `evaluation/` of the run folder: `answers.jsonl`, `controls/NAME.jsonl`, `summary.json`
    and `report.md`.

    Args:
        config: The run; `model.path` is the policy.
        folder: Its folder.
        data: The test split is used.
        stop_requested: Not used: there is nothing to save.

    Returns:
        `train.num_steps`, as a finished run.
    """
    del stop_requested
    builder = PromptBuilder(config.model.path, config.data)
    engines = EnginePool(engine_spec(config, builder), engine_options(config))
    rewards = RewardPool(with_run_options(config), config.rewards.packages)
    engines.start()
    rewards.ping()
    folder.truncate_after(-1)
    build = prompt_function(builder, config.data, ray.put)
    evaluate = Evaluator(config, engines, rewards, build)
    found = evaluate.answer(PREFIX, [build(example) for example in data.test])
    # What a judge says of altered clips would be about other clips than were measured.
    plain = Evaluator(
        replace(config, eval=replace(config.eval, judged=False)), engines, rewards, build
    )
    controls: dict[str, list[dict[str, Any]]] = {}
    for name in with_baselines(config.eval.controls):
        prompts = control_prompts(name, data.test, builder, config)
        controls[name] = plain.answer(f"control {name}", prompts).rows
    metrics = found.metrics | control_metrics(PREFIX, found.rows, controls)
    _write(folder.root / "evaluation", config, found.rows, controls, metrics)
    writer = MetricsWriter(folder, config.log.tensorboard, first_step=0)
    writer.write(0, metrics)
    for part in (writer, rewards, engines):
        part.close()
    return config.train.num_steps


def with_baselines(names: Sequence[str]) -> list[str]:
    """Return the controls with those that they are compared with, each once, in their order."""
    wanted = {*names, *(CONTROLS[name].baseline for name in names)}
    return [name for name in CONTROLS if name in wanted]


def control_prompts(
    name: str, examples: Sequence[Example], builder: PromptBuilder, config: RunConfig
) -> list[Prompt]:
    """Return the prompts of the examples with altered clips; their examples stay as they are."""
    build = prompt_function(builder, config.data, ray.put, CONTROLS[name].alter)
    heard = shuffled(examples, config.seed) if name == "shuffle" else examples
    return [
        replace(build(other), example=example)
        for other, example in zip(heard, examples, strict=True)
    ]


def _write(
    folder: Path,
    config: RunConfig,
    rows: Sequence[Mapping[str, Any]],
    controls: Mapping[str, Sequence[Mapping[str, Any]]],
    metrics: Mapping[str, float],
) -> None:
    (folder / "controls").mkdir(parents=True, exist_ok=True)
    write_rows(folder / "answers.jsonl", rows)
    for name, answered in controls.items():
        write_rows(folder / "controls" / f"{name}.jsonl", answered)
    summary = evaluation_summary(rows, config.data.choices, seed=config.seed)
    summary["metrics"] = dict(metrics)
    text = json.dumps(summary, indent=1) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    page = evaluation_page(summary, config.model.path, config.eval.test_split)
    (folder / "report.md").write_text(page, encoding="utf-8")
    log(f"report: {folder / 'report.md'}")
