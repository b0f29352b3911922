"""Supervised fine-tuning through the same learner, packing and checkpoints as RL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from configs.schema import RunConfig
from data.loader import PromptLoader
from data.prompts import PromptBuilder, target_text
from data.records import Completion, Group, GroupSample, Prompt
from trainer.checkpoint import CheckpointStore
from trainer.clock import StepClock
from trainer.learner_group import LearnerGroup
from trainer.loop import is_due
from trainer.lr import learning_rate
from trainer.metrics_writer import MetricsWriter
from trainer.progress import log_step


@dataclass(frozen=True)
class SftParts:
    """What a supervised run is made of; `launch.build` builds it."""

    loader: PromptLoader
    to_sample: Callable[[Prompt], GroupSample]
    """Prompt -> the answers that are trained on."""
    learner: LearnerGroup
    writer: MetricsWriter
    store: CheckpointStore
    evaluate: Callable[[], dict[str, float]]
    """Metrics of the current weights on what is held out; empty if nothing is."""
    stop_requested: Callable[[], bool]


def target_sample(prompt: Prompt, builder: PromptBuilder) -> GroupSample:
    """Return the reference answer of a prompt as a group of one; its end token is trained."""
    text = target_text(prompt.example)
    token_ids = builder.encode_target(text)
    answer = Completion.unsampled(token_ids, text)
    return GroupSample(Group(prompt, (answer,)), np.ones(1, np.float32), np.ones(1, np.bool_))


def train_sft(config: RunConfig, parts: SftParts, step: int) -> int:
    """Run supervised steps from `step` to the end, or until asked to stop.

    Args:
        step: updates done so far.

    Returns:
        The step that was reached; its checkpoint is written as in `trainer.loop.train`.
    """
    if step == 0 and (before := parts.evaluate()):
        parts.writer.write(0, before)
    while step < config.train.num_steps and not parts.stop_requested():
        clock = StepClock()
        samples = [parts.to_sample(prompt) for prompt in parts.loader.next_batch()]
        clock.lap("data")
        rate = learning_rate(step, config.train.num_steps, config.optim)
        metrics = parts.learner.update(samples, rate)
        clock.lap("update")
        step += 1
        if is_due(step, config.eval.every_steps or config.train.num_steps, config.train.num_steps):
            metrics |= parts.evaluate()
        clock.lap("eval")
        metrics |= clock.metrics()
        metrics["data/skipped_clips"] = parts.loader.num_skipped
        parts.writer.write(step, metrics)
        log_step(step, config.train.num_steps, metrics)
        if is_due(step, config.checkpoint.every_steps, config.train.num_steps):
            save_checkpoint(parts, step)
    if parts.stop_requested():
        save_checkpoint(parts, step)
    return step


def save_checkpoint(parts: SftParts, step: int) -> None:
    """Publish a checkpoint of the learner and the data position."""
    folder = parts.store.begin(step)
    try:
        files = parts.learner.save(folder)
        state = {"step": step, "loader": parts.loader.state_dict()}
        parts.store.publish(step, state, files)
    finally:
        parts.store.discard(step)
