"""The main loop: one step from prompts to new weights in the engines. Read this first.

Strictly on-policy, unless `async.max_staleness` is above 0: every completion of a step is sampled
with the weights that the step updates. With 1 the engines sample the next step with these weights
meanwhile, with more also those after it. Generation, scoring and learning are Ray actors behind the
objects in `Parts`; groups stream, so rewards are computed while other groups still generate. What
is left out on purpose: a critic, a replay buffer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from configs.schema import RunConfig
from data.records import Example
from rewards.combine import CombineRules
from rewards.missing import enough_scores
from rewards.schedule import Schedule
from rollout.pool import EnginePool
from trainer.advantages import has_credit, to_samples
from trainer.alarms import Alarms
from trainer.audit import check_step
from trainer.classes import ClassWindow
from trainer.clock import StepClock
from trainer.early_stop import EarlyStop
from trainer.guard import IdleGuard, may_replace_checkpoints
from trainer.learner_group import LearnerGroup
from trainer.lr import learning_rate
from trainer.metrics import rollout_metrics, sample_rows, staleness
from trainer.metrics_writer import MetricsWriter
from trainer.progress import log_step
from trainer.rescue import Rescue
from trainer.rollouts import Rollouts
from trainer.saving import Saver, pack_row, score_of
from trainer.stop import StopRequest

Row = dict[str, float]
"""Metrics of a step by key."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of; `launch.build` builds it."""

    rollouts: Rollouts
    engines: EnginePool
    rules: CombineRules
    schedule: Schedule
    alarms: Alarms
    classes: ClassWindow
    early_stop: EarlyStop
    learner: LearnerGroup
    writer: MetricsWriter
    saver: Saver
    evaluate: Callable[[str, Sequence[Example]], dict[str, float]]
    eval_examples: Sequence[Example]
    """Evaluated during the run; may be empty."""
    test_examples: Sequence[Example]
    """Evaluated before the first and after the last step; may be empty."""
    stop: StopRequest
    """Whether the run was asked to save and leave."""


def train(config: RunConfig, parts: Parts, step: int, row: Row | None = None) -> int:
    """Run the loop from `step` to the end, or until asked to stop.

    Args:
        parts: built and started, engines and learner at the weights of `step`.
        step: updates done so far.
        row: metrics of a last step that was saved before its evaluation, which is done first.

    Returns:
        The step that was reached; its checkpoint is written, if the run writes any.

    Raises:
        Stopped: asked to stop, and an evaluation or a long step was left; what was sound is saved.
    """
    parts.stop.hold()
    guard = IdleGuard()
    rescue = Rescue(parts.saver, enabled=config.checkpoint.every_steps > 0)
    with parts.rollouts, rescue:
        rescue.ready(step, state_of(config, parts, step, row or {}, unfinished=row is not None))
        if row is not None:
            finish_step(config, parts, rescue, step, dict(row), StepClock())
        while step < config.train.num_steps and not (parts.stop() or parts.early_stop.reason):
            clock = StepClock()
            with parts.stop.interruptible(config.train.stop_grace_s):
                parts.rollouts.begin(step)
                clock.lap("data")
                batch = parts.rollouts.scored(step, clock)
            samples = to_samples(batch.groups, config.advantage, kl_coef=config.loss.kl_coef)
            check_step(batch.groups, samples, step, config)
            trusted = enough_scores(batch.groups, batch.weights, config.rewards)
            clock.lap("reward")

            parts.engines.sleep()
            rescue.updating()
            rate = learning_rate(step, config.train.num_steps, config.optim)
            metrics = staleness(batch.groups, step)
            with parts.engines.updating(version=step + 1):
                metrics |= parts.learner.update(samples if trusted else [], rate)
            step += 1
            metrics |= rollout_metrics(batch.drawn, sum(map(has_credit, samples)), parts.rules)
            metrics |= parts.classes.observe(batch.drawn)
            metrics |= parts.schedule.metrics() | parts.engines.metrics() | batch.metrics
            lines = parts.alarms.observe(metrics)
            rescue.ready(step, state_of(config, parts, step, metrics, unfinished=True))
            clock.lap("update")

            if is_due(step, config.log.samples_every, config.train.num_steps):
                aliases = config.rewards.aliases
                parts.writer.write_samples(step, sample_rows(step, batch.groups, samples, aliases))
            with parts.stop.interruptible(config.train.stop_grace_s):
                parts.rollouts.drain()
            clock.lap("rollout")
            sync_weights(parts.learner, parts.engines, version=step)
            clock.lap("sync")
            finish_step(config, parts, rescue, step, metrics, clock, lines)
            guard.observe(step, metrics, [prompt.example.id for prompt in batch.prompts])
        if parts.stop():
            parts.saver.save(step, state_of(config, parts, step, {}))
        parts.saver.finish()
    return step


def finish_step(
    config: RunConfig,
    parts: Parts,
    rescue: Rescue,
    step: int,
    metrics: Row,
    clock: StepClock,
    alarms: Sequence[str] = (),
) -> None:
    """Evaluate what is due after a step, write its row, and save it if that is due."""
    metrics |= due_evaluations(config, parts, step)
    parts.early_stop.observe(step, metrics)
    last = step == config.train.num_steps or bool(parts.early_stop.reason)
    if last:
        metrics |= evaluated(parts, "test_after", parts.test_examples)
    clock.lap("eval")
    metrics |= clock.metrics()
    parts.writer.write(step, metrics)
    log_step(step, config.train.num_steps, metrics, alarms)
    state = state_of(config, parts, step, metrics)
    rescue.ready(step, state)
    due = is_due(step, config.checkpoint.every_steps, step if last else config.train.num_steps)
    if due and (last or may_replace_checkpoints(metrics)):
        parts.saver.begin(step, state)
    parts.alarms.stop_if_asked(step)


def due_evaluations(config: RunConfig, parts: Parts, step: int) -> Row:
    """Return the metrics of the evaluation after a step, if one is due."""
    due = is_due(step, config.eval.every_steps, config.train.num_steps)
    return evaluated(parts, "eval", parts.eval_examples) if due else {}


def evaluated(parts: Parts, prefix: str, examples: Sequence[Example]) -> Row:
    """Return the metrics of an evaluation; a request to stop interrupts it."""
    with parts.stop.interruptible():
        parts.rollouts.settle()
        return parts.evaluate(prefix, examples)


def state_of(
    config: RunConfig, parts: Parts, step: int, metrics: Row, unfinished: bool = False
) -> dict[str, Any]:
    """Return what a checkpoint holds besides the learner; of an unfinished step its row too."""
    return {
        "step": step,
        "loader": parts.rollouts.position(),
        "sampled": parts.rollouts.state_dict(),
        "refill": parts.rollouts.refill.state_dict() if parts.rollouts.refill else {},
        "schedule": parts.schedule.state_dict(),
        "alarms": parts.alarms.state_dict(),
        "classes": parts.classes.state_dict(),
        "early_stop": parts.early_stop.state_dict(),
        "score": score_of(config.checkpoint, metrics),
        "row": pack_row(metrics) if unfinished else None,
    }


def sync_weights(learner: LearnerGroup, engines: EnginePool, version: int) -> None:
    """Bring the engines to the learner's weights and drop whatever the old ones computed."""
    engines.take(version, learner.send_weights)


def is_due(step: int, every_steps: int, num_steps: int) -> bool:
    """Return whether something is due after `step`.

    On its period and at the end; with a period of 0 never, not at the end either.
    """
    return every_steps > 0 and (step % every_steps == 0 or step == num_steps)
