"""The main loop: one step from prompts to new weights in the engines. Read this first.

Strictly on-policy: every completion of a step is sampled with the weights that the step updates.
Generation, scoring and learning are Ray actors behind the objects in `Parts`; groups stream, so
rewards are computed while other groups still generate. What is left out on purpose: a critic, a
replay buffer, stale rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from configs.schema import RunConfig
from data.loader import PromptLoader
from data.records import Example, ScoredGroup
from rewards.combine import CombineRules, combine
from rewards.missing import enough_scores
from rewards.pool import RewardPool
from rewards.schedule import Schedule
from rollout.pool import EnginePool
from trainer.advantages import to_samples
from trainer.alarms import Alarms
from trainer.checkpoint import CheckpointStore
from trainer.clock import StepClock
from trainer.learner_group import LearnerGroup
from trainer.lr import learning_rate
from trainer.metrics import rollout_metrics, sample_rows
from trainer.metrics_writer import MetricsWriter
from trainer.progress import log_step

MAX_IDLE_STEPS = 20
"""Steps in a row without an optimizer update after which a run gives up."""


class NoSignalError(RuntimeError):
    """The run cannot learn: no step had a usable gradient for a long time."""


@dataclass(frozen=True)
class Parts:
    """What a run is made of; `launch.build` builds it."""

    loader: PromptLoader
    engines: EnginePool
    rewards: RewardPool
    rules: CombineRules
    schedule: Schedule
    alarms: Alarms
    learner: LearnerGroup
    writer: MetricsWriter
    store: CheckpointStore
    evaluate: Callable[[str, Sequence[Example]], dict[str, float]]
    eval_examples: Sequence[Example]
    """Evaluated during the run; may be empty."""
    test_examples: Sequence[Example]
    """Evaluated before the first and after the last step; may be empty."""
    stop_requested: Callable[[], bool]
    """True once the run was asked to save and leave."""


def train(config: RunConfig, parts: Parts, step: int) -> int:
    """Run the loop from `step` to the end, or until asked to stop.

    Args:
        parts: built and started, engines and learner at the weights of `step`.
        step: updates done so far.

    Returns:
        The step that was reached; its checkpoint is written, if the run writes any.
    """
    idle_steps = 0
    while step < config.train.num_steps and not parts.stop_requested():
        clock = StepClock()
        prompts = parts.loader.next_batch()
        clock.lap("data")

        weights = parts.schedule.weights()
        groups = parts.engines.generate(prompts, seed=rollout_seed(config.seed, step))
        stream = clock.until_exhausted("rollout", groups)
        scored = [
            combine(group, terms, weights, parts.rules)
            for group, terms in parts.rewards.score(stream, weights)
        ]
        scored = in_prompt_order(scored)
        parts.schedule.observe(scored)
        samples = to_samples(scored, config.advantage)
        trusted = enough_scores(scored, weights, config.rewards)
        clock.lap("reward")

        parts.engines.sleep()
        rate = learning_rate(step, config.train.num_steps, config.optim)
        update_metrics = parts.learner.update(samples if trusted else [], rate)
        clock.lap("update")

        step += 1
        sync_weights(parts.learner, parts.engines, version=step)
        clock.lap("sync")

        metrics = rollout_metrics(scored, len(samples), parts.rules) | update_metrics
        metrics |= parts.schedule.metrics() | throughput(scored, clock.seconds("rollout"))
        metrics |= parts.engines.metrics()
        metrics["data/skipped_clips"] = parts.loader.num_skipped
        if is_due(step, config.eval.every_steps, config.train.num_steps):
            metrics |= parts.evaluate("eval", parts.eval_examples)
        if step == config.train.num_steps:
            metrics |= parts.evaluate("test_after", parts.test_examples)
        clock.lap("eval")
        metrics |= clock.metrics()
        if is_due(step, config.log.samples_every, config.train.num_steps):
            aliases = config.rewards.aliases
            parts.writer.write_samples(step, sample_rows(step, scored, samples, aliases))
        parts.writer.write(step, metrics)
        log_step(step, config.train.num_steps, metrics, parts.alarms.observe(metrics))
        if is_due(step, config.checkpoint.every_steps, config.train.num_steps):
            save_checkpoint(parts, step)
        idle_steps = idle_steps + 1 if metrics["optim/skipped"] else 0
        _require_signal(idle_steps, step)
    if parts.stop_requested():
        save_checkpoint(parts, step)
    return step


def _require_signal(idle_steps: int, step: int) -> None:
    """Give up after too many steps in a row without an update."""
    if idle_steps >= MAX_IDLE_STEPS:
        raise NoSignalError(
            f"{idle_steps} steps without an update, up to step {step}: every group was flat "
            "(all its rewards equal), too many scores were missing, or the gradient was not "
            "finite; see advantage/flat_frac, reward/NAME_coverage and the samples"
        )


def sync_weights(learner: LearnerGroup, engines: EnginePool, version: int) -> None:
    """Bring the engines to the learner's weights and drop whatever the old ones computed."""
    engines.take(version, learner.send_weights)


def save_checkpoint(parts: Parts, step: int) -> None:
    """Publish a checkpoint from which the run goes on as if it had never stopped."""
    folder = parts.store.begin(step)
    try:
        files = parts.learner.save(folder)
        state = {
            "step": step,
            "loader": parts.loader.state_dict(),
            "schedule": parts.schedule.state_dict(),
            "alarms": parts.alarms.state_dict(),
        }
        parts.store.publish(step, state, files)
    finally:
        parts.store.discard(step)


def in_prompt_order(scored: Sequence[ScoredGroup]) -> list[ScoredGroup]:
    """Undo the order of completion, which no run repeats."""
    return sorted(scored, key=lambda item: item.group.index)


def throughput(scored: Sequence[ScoredGroup], rollout_s: float) -> dict[str, float]:
    """Return completions and completion tokens per second of generation."""
    completions = [completion for item in scored for completion in item.group.completions]
    num_tokens = sum(len(completion.token_ids) for completion in completions)
    return {
        "perf/completions_per_s": len(completions) / rollout_s,
        "perf/completion_tokens_per_s": num_tokens / rollout_s,
    }


def is_due(step: int, every_steps: int, num_steps: int) -> bool:
    """Return whether something is due after `step`.

    On its period and at the end; with a period of 0 never, not at the end either.
    """
    return every_steps > 0 and (step % every_steps == 0 or step == num_steps)


def rollout_seed(seed: int, step: int) -> int:
    """Return the sampling seed of a step; steps of runs with different seeds never share one."""
    return seed * 10_000_019 + step
