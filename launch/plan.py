"""What `--dry-run` prints: the run as it would start."""

from __future__ import annotations

from pathlib import Path

from configs.schema import RunConfig
from launch.splits import Splits


def describe_plan(config: RunConfig, data: Splits) -> str:
    """Return the plan of a checked run, one fact a line."""
    train, rollout, learner = config.train, config.rollout, config.learner
    epochs = train.num_steps * train.prompts_per_step / len(data.train)
    lines = [
        f"run folder   {(Path(config.output_dir) / config.name).resolve()}",
        f"policy       {config.model.path} ({config.model.dtype}, {config.model.attention})",
        f"data         {len(data.train)} train, {len(data.eval)} eval, {len(data.test)} test clips",
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
    return "\n".join(lines)
