"""Supervised fine-tuning through the same learner, packing and checkpoints as RL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.schema import RunConfig
from data.loader import PromptLoader
from data.prompts import PromptBuilder, target_text
from data.records import Completion, Group, GroupSample, Prompt
from trainer.clock import StepClock
from trainer.guard import IdleGuard, may_replace_checkpoints
from trainer.learner_group import LearnerGroup
from trainer.loop import is_due
from trainer.lr import learning_rate
from trainer.metrics_writer import MetricsWriter
from trainer.progress import log_step
from trainer.rescue import Rescue
from trainer.saving import Saver, pack_row, score_of
from trainer.stop import StopRequest


@dataclass(frozen=True)
class SftParts:
    """What a supervised run is made of; `launch.build` builds it."""

    loader: PromptLoader
    to_sample: Callable[[Prompt], GroupSample]
    """Prompt -> the answers that are trained on."""
    learner: LearnerGroup
    writer: MetricsWriter
    saver: Saver
    evaluate: Callable[[], dict[str, float]]
    """Metrics of the current weights on what is held out; empty if nothing is."""
    stop: StopRequest


def target_sample(prompt: Prompt, builder: PromptBuilder) -> GroupSample:
    """Return the reference answer of a prompt as a group of one; its end token is trained."""
    text = target_text(prompt.example)
    token_ids = builder.encode_target(text)
    answer = Completion.unsampled(token_ids, text)
    return GroupSample(Group(prompt, (answer,)), np.ones(1, np.float32), np.ones(1, np.bool_))


def train_sft(
    config: RunConfig, parts: SftParts, step: int, row: dict[str, float] | None = None
) -> int:
    """Run supervised steps from `step` to the end, or until asked to stop.

    Args:
        step: updates done so far.
        row: metrics of a last step that was saved before its evaluation, which is done first.

    Returns:
        The step that was reached; its checkpoint is written as in `trainer.loop.train`.

    Raises:
        Stopped: as `trainer.loop.train`.
    """
    if step == 0:
        with parts.stop.interruptible():
            if before := parts.evaluate():
                parts.writer.write(0, before)
    parts.stop.hold()
    guard = IdleGuard()
    rescue = Rescue(parts.saver, enabled=config.checkpoint.every_steps > 0)
    with rescue:
        rescue.ready(step, state_of(config, parts, step, row or {}, unfinished=row is not None))
        if row is not None:
            _finish_step(config, parts, rescue, step, dict(row), StepClock())
        while step < config.train.num_steps and not parts.stop():
            clock = StepClock()
            with parts.stop.interruptible(config.train.stop_grace_s):
                samples = [parts.to_sample(prompt) for prompt in parts.loader.next_batch()]
            clock.lap("data")
            rescue.updating()
            rate = learning_rate(step, config.train.num_steps, config.optim)
            metrics = parts.learner.update(samples, rate)
            clock.lap("update")
            step += 1
            metrics["data/skipped_clips"] = parts.loader.num_skipped
            rescue.ready(step, state_of(config, parts, step, metrics, unfinished=True))
            _finish_step(config, parts, rescue, step, metrics, clock)
            guard.observe(step, metrics, [s.group.prompt.example.id for s in samples])
        if parts.stop():
            parts.saver.save(step, state_of(config, parts, step, {}))
        parts.saver.finish()
    return step


def _finish_step(
    config: RunConfig,
    parts: SftParts,
    rescue: Rescue,
    step: int,
    metrics: dict[str, float],
    clock: StepClock,
) -> None:
    """Evaluate if that is due after a step, write its row, and save it if that is due."""
    num_steps = config.train.num_steps
    if is_due(step, config.eval.every_steps or num_steps, num_steps):
        with parts.stop.interruptible():
            metrics |= parts.evaluate()
    clock.lap("eval")
    metrics |= clock.metrics()
    parts.writer.write(step, metrics)
    log_step(step, num_steps, metrics)
    state = state_of(config, parts, step, metrics)
    rescue.ready(step, state)
    due = is_due(step, config.checkpoint.every_steps, num_steps)
    if due and (step == num_steps or may_replace_checkpoints(metrics)):
        parts.saver.begin(step, state)


def state_of(
    config: RunConfig,
    parts: SftParts,
    step: int,
    metrics: dict[str, float],
    unfinished: bool = False,
) -> dict[str, Any]:
    """Return what a checkpoint holds besides the learner; see `trainer.loop.state_of`."""
    return {
        "step": step,
        "loader": parts.loader.state_dict(),
        "score": score_of(config.checkpoint, metrics),
        "row": pack_row(metrics) if unfinished else None,
    }
