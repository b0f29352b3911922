"""What `--dry-run` prints: the run as it would start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs.schema import RunConfig
from data.splits import Splits
from evaluation.test_sets import QuestionSet
from launch.memory.estimate import find_device
from launch.memory.table import describe_memory
from launch.placement import bundles, describe_need


def describe_plan(config: RunConfig, data: Splits | list[QuestionSet]) -> str:
    """Return the plan of a checked run, one fact a line, and an estimate of its memory."""
    learns = isinstance(data, Splits)
    plan = _training(config, data) if learns else _evaluation(config, data)
    return f"{plan}\n{describe_memory(config, find_device(config), learns=learns)}"


def _training(config: RunConfig, data: Splits) -> str:
    train, rollout, learner = config.train, config.rollout, config.learner
    splits = [("train", data.train), ("left out", data.left_out), ("eval", data.eval)]
    splits += [("test", data.test), *data.benchmarks.items()]
    epochs = train.num_steps * train.prompts_per_step / len(data.train)
    lines = [
        f"run folder   {(Path(config.output_dir) / config.name).resolve()}",
        f"policy       {config.model.path} ({config.model.dtype}, {config.model.attention})"
        + (f" with {config.model.adapter}" if config.model.adapter else ""),
        f"data         {', '.join(f'{len(rows)} {name}' for name, rows in splits if rows)} clips",
        f"steps        {train.num_steps} of {train.prompts_per_step} prompts ({epochs:.1f} epochs)",
        f"learner      {learner.num_ranks} ranks on {config.device}, ZeRO-{learner.zero_stage}",
    ]
    if config.loss.kind == "policy":
        terms = ", ".join(f"{term.weight:g} {term.name}" for term in config.rewards.terms)
        lines += [
            f"completions  {train.prompts_per_step * rollout.group_size} a step, up to "
            f"{rollout.max_completion_tokens} tokens",
            f"engines      {rollout.num_engines} x {rollout.tensor_parallel} on {config.device}, "
            f"weights by {config.sync.transport}",
            f"reward       {terms}",
        ]
    if config.device == "cuda":
        lines.append(f"GPUs         {describe_need(bundles(config))}")
    return "\n".join(lines)


def _evaluation(config: RunConfig, data: Sequence[QuestionSet]) -> str:
    evaluation, rollout = config.eval, config.rollout
    judged = [term.name for term in config.rewards.terms if term.judged]
    is_judged = evaluation.judged and evaluation.mode == "reasoned"
    num = evaluation.control_samples if evaluation.mode == "reasoned" else 0
    sampled = f", {num} samples a clip where moved" if num else ""
    lines = [
        f"run folder   {(Path(config.output_dir) / config.name).resolve()}",
        f"policy       {config.model.path} ({config.model.dtype})",
        *(
            f"test set     {test.name}: {len(test.examples)} clips, {len(test.choices)} labels"
            for test in data
        ),
        f"answers      greedy, {evaluation.mode}, up to {rollout.max_completion_tokens} tokens",
        f"samples      {evaluation.samples} a clip at temperature {rollout.temperature:g}",
        f"controls     {', '.join(evaluation.controls) or 'none'}{sampled}",
        f"judges       {', '.join(judged) if is_judged and judged else 'none'}",
        f"engines      {rollout.num_engines} x {rollout.tensor_parallel} on {config.device}",
    ]
    return "\n".join(lines)
