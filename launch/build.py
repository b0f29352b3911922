"""Builds the parts of a run from its configuration: data, engines, learner, rewards, files."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypedDict

import ray

from configs.load import config_differences, dump_config
from configs.schema import RewardTermConfig, RunConfig
from data.counterfactual import PairBuilder
from data.loader import PromptLoader, usable_in_threads, usable_prompts
from data.prompts import PromptBuilder, prompt_function
from data.records import Example, GroupSample, Prompt
from data.splits import Splits, benchmark_data
from evaluation.choices import choice_metrics
from evaluation.evaluator import Evaluator
from evaluation.files import write_last_test
from launch.cluster import Places, place
from launch.judge_gate import check_judges
from report.model_card import write_model_card
from rewards.base import with_run_options
from rewards.combine import CombineRules
from rewards.pool import RewardPool
from rewards.schedule import Schedule
from rollout.engine import EngineSpec, RolloutError
from rollout.pool import EnginePool
from trainer.alarms import Alarms
from trainer.checkpoint import Checkpoint, CheckpointStore
from trainer.classes import ClassWindow
from trainer.early_stop import EarlyStop
from trainer.learner_group import LearnerError, LearnerGroup
from trainer.loop import Parts, sync_weights, train
from trainer.metrics_writer import MetricsWriter
from trainer.parity import check_parity, measure_parity
from trainer.refill import Refill
from trainer.resume import input_digests, log_rate_change
from trainer.rollouts import Rollouts
from trainer.run_folder import RunFolder
from trainer.saving import Saver, best_of, unpack_row
from trainer.sealed import verify
from trainer.sft import SftParts, target_sample, train_sft
from trainer.stop import StopRequest
from trainer.trackers.sink import Trackers
from trainer.trial import largest_row, longest_prompt

logger = logging.getLogger(__name__)


def run_rl(
    config: RunConfig,
    folder: RunFolder,
    data: Splits,
    stop_requested: StopRequest,
    trackers: Trackers,
) -> int:
    """Build everything, resume if there is something to resume, and run the RL loop.

    Ray is connected, folder and trackers are opened. Returns the step reached.
    """
    builder = PromptBuilder(config.model.path, config.data)
    pairs = PairBuilder(builder, config, ray.put) if config.rollout.counterfactual.moves else None
    build_prompt, loader = _loader(config, data, builder, pairs)
    terms = with_run_options(config)
    engines, learner, rewards = _start_actors(config, builder, terms, data.num_clips)
    first = next(usable_prompts(data.train, build_prompt, config.data.bad_clips))
    check_judges(rewards, terms, config, first)
    watched = _watched(config, terms)
    store = _store(config, folder)
    _trial(config, builder, data.train, learner, engines)
    engines.sleep()
    rules = CombineRules.from_config(config.rewards)
    refill = _refill(config, data, builder)
    rollouts = Rollouts(config, loader, engines, rewards, rules, watched["schedule"], refill)
    saved = {"loader": loader, "sampled": rollouts, **watched} | (
        {"refill": refill} if refill else {}
    )
    step, row = _resume(config, folder, store, learner, saved)
    writer = MetricsWriter(folder, trackers, first_step=step + 1 if step else 0)
    evaluate = Evaluator(config, engines, rewards, build_prompt)
    parts = Parts(
        **watched,
        rollouts=rollouts,
        engines=engines,
        rules=rules,
        learner=learner,
        writer=writer,
        saver=Saver(config, store, learner, step),
        evaluate=evaluate,
        eval_examples=data.eval,
        test_examples=data.test,
        stop=stop_requested,
    )
    # Before the gate, so that the gate is about weights that came the way of the training.
    sync_weights(learner, engines, version=step)
    usable = usable_prompts(data.train, build_prompt, config.data.bad_clips)
    first_row = _parity(config, engines, learner, list(islice(usable, config.parity.num_clips)))
    if step == 0:
        before = evaluate("eval", data.eval) | evaluate("test_before", data.test)
        writer.write(0, first_row | before)
    step = train(config, parts, step, row)
    write_last_test(folder, config, evaluate.answered, data)
    ended_early = step < config.train.num_steps and not stop_requested()
    folder.end_reason = watched["early_stop"].reason if ended_early else ""
    _finish(config, folder, store, learner, step)
    for part in (loader, rewards, engines, learner, *filter(None, (refill, pairs))):
        part.close()
    return step


class Watched(TypedDict):
    """What follows a run from step to step and is saved with it."""

    schedule: Schedule
    alarms: Alarms
    classes: ClassWindow
    early_stop: EarlyStop


def _watched(config: RunConfig, terms: Sequence[RewardTermConfig]) -> Watched:
    judged = [term.name for term in terms if term.judged]
    return Watched(
        schedule=Schedule(terms, config.rewards.outcome),
        alarms=Alarms(config.log, judged, config.rewards.outcome),
        classes=ClassWindow(config.log.class_window, config.rewards.aliases),
        early_stop=EarlyStop(config.early_stop),
    )


def _refill(config: RunConfig, data: Splits, builder: PromptBuilder) -> Refill | None:
    if not config.advantage.refill_rounds:
        return None
    return Refill(config.advantage, _loader(config, data, builder, stream=1)[1])


def _start_actors(
    config: RunConfig, builder: PromptBuilder, terms: Sequence[RewardTermConfig], num_clips: int
) -> tuple[EnginePool, LearnerGroup, RewardPool]:
    """Place and start everything that runs elsewhere, side by side where it can."""
    places = place(config)
    logger.info(f"places: {places.describe()}")
    rewards = RewardPool(terms, config.rewards.packages, places=places.rewards)
    learner = _learner(config, builder, places)
    if config.rollout.colocate:
        # An engine that starts on a learner's GPU takes what the learner leaves.
        learner.start()
    engines = EnginePool(EngineSpec.of(config, builder, num_clips), places.engines)
    if not config.rollout.colocate:
        learner.start()
    engines.start()
    rewards.ping()
    learner.connect(engines.actors)
    logger.info(f"engines, learner and rewards are up: {', '.join(t.target for t in terms)}")
    return engines, learner, rewards


@dataclass(frozen=True)
class SupervisedTask:
    """What one supervised command trains that another does not."""

    builder: PromptBuilder
    to_sample: Callable[[Prompt], GroupSample]
    """Prompt -> the answers that are trained on."""
    evaluation: Callable[[LearnerGroup], Callable[[], dict[str, float]]]
    """Started learner -> metrics of its current weights on what is held out."""


def run_sft(
    config: RunConfig,
    folder: RunFolder,
    data: Splits,
    stop_requested: StopRequest,
    trackers: Trackers,
) -> int:
    """Build the parts of a supervised run, resume if possible, and run it; see `run_rl`."""
    builder = PromptBuilder(config.model.path, config.data)
    task = SupervisedTask(
        builder,
        lambda prompt: target_sample(prompt, builder),
        lambda learner: _choice_evaluation(config, data, builder, learner),
    )
    return run_supervised(config, folder, data, task, stop_requested, trackers)


def run_supervised(
    config: RunConfig,
    folder: RunFolder,
    data: Splits,
    task: SupervisedTask,
    stop_requested: StopRequest,
    trackers: Trackers,
) -> int:
    """Train on a task, from where the run folder left off; see `run_rl`."""
    _, loader = _loader(config, data, task.builder)
    places = place(config)
    learner = _learner(config, task.builder, places)
    learner.start()
    store = _store(config, folder)
    _trial(config, task.builder, data.train, learner)
    step, row = _resume(config, folder, store, learner, {"loader": loader})
    writer = MetricsWriter(folder, trackers, first_step=step + 1 if step else 0)
    parts = SftParts(
        loader,
        task.to_sample,
        learner,
        writer,
        Saver(config, store, learner, step),
        task.evaluation(learner),
        stop_requested,
    )
    step = train_sft(config, parts, step, row)
    _finish(config, folder, store, learner, step)
    for part in (loader, learner):
        part.close()
    places.release()
    return step


def _choice_evaluation(
    config: RunConfig, data: Splits, builder: PromptBuilder, learner: LearnerGroup
) -> Callable[[], dict[str, float]]:
    """Return the evaluation of a supervised run: the likeliest choices on all benchmarks."""
    prompts: dict[str, list[Prompt]] = {}
    # One way to prompts per audio root: benchmarks that ask about the same clips share them.
    builds: dict[str, Callable[[Example], Prompt]] = {}
    with ThreadPoolExecutor(config.data.num_workers) as pool:
        for benchmark in config.eval.benchmarks:
            data_config = benchmark_data(config, benchmark)
            build = builds.setdefault(
                data_config.audio_root, prompt_function(builder, data_config, ray.put)
            )
            rows = data.benchmarks[benchmark.name]
            prompts[benchmark.name] = usable_in_threads(pool, rows, build, config.data.bad_clips)

    def evaluate() -> dict[str, float]:
        metrics: dict[str, float] = {}
        for name, questions in prompts.items():
            metrics |= choice_metrics(name, learner, questions, builder)
            logger.info(
                f"{name}: {len(questions)} questions, "
                f"accuracy {metrics[f'probe/{name}_accuracy']:.3f}"
            )
        return metrics

    return evaluate


def open_folder(config: RunConfig, folder: RunFolder) -> bool:
    """Take the run folder for this configuration; True if it holds a run to resume."""
    return folder.open(
        dump_config(config),
        lambda old: config_differences(old, config),
        allowed=config.resume.allow,
        inputs=input_digests(config),
    )


def _loader(
    config: RunConfig,
    data: Splits,
    builder: PromptBuilder,
    pairs: PairBuilder | None = None,
    stream: int = 0,
) -> tuple[Callable[[Example], Prompt], PromptLoader]:
    # In shared memory: one copy of a clip's features per node, whoever reads them.
    build_prompt = prompt_function(builder, config.data, ray.put)
    loader = PromptLoader(
        data.all_train,
        pairs or (lambda example, _: build_prompt(example)),
        prompts_per_step=config.train.prompts_per_step,
        seed=config.seed,
        num_workers=config.data.num_workers,
        bad_clips=config.data.bad_clips,
        left_out={row.id for _, row in data.left_out},
        stream=stream,
        balance=config.data.balance,
    )
    return build_prompt, loader


def _learner(config: RunConfig, builder: PromptBuilder, places: Places) -> LearnerGroup:
    return LearnerGroup(
        config,
        forbidden_token_ids=builder.forbidden_token_ids,
        actor_options=places.learners,
    )


class TrialError(RuntimeError):
    """The largest step of the run does not go through, most often for want of memory."""


def _trial(
    config: RunConfig,
    builder: PromptBuilder,
    examples: Sequence[Example],
    learner: LearnerGroup,
    engines: EnginePool | None = None,
) -> None:
    """Run a step of the largest size that leaves no trace; see `train.trial_step`.

    Raises:
        TrialError: it failed; the message has the reason and what makes a step smaller.
    """
    if not config.train.trial_step:
        return
    prompt = longest_prompt(builder, config, examples, ray.put)
    row = largest_row(prompt, config, builder.end_token_id)
    sizes = f"prompts of {len(prompt.token_ids)} tokens, a row of {len(row.input_ids)}"
    logger.info(f"trial step at the largest size: {sizes}")
    start = time.monotonic()
    try:
        if engines is not None:
            longest = config.rollout.max_completion_tokens
            prompts = [prompt] * config.train.prompts_per_step
            deque(engines.generate(prompts, min_tokens=longest), maxlen=0)
            engines.sleep()
        peak = learner.trial(row)
    except (ray.exceptions.RayError, RolloutError, LearnerError) as error:
        raise TrialError(
            f"the trial step ({sizes}) failed: {str(error).strip().splitlines()[-1]}\n"
            "What makes it smaller: learner.tokens_per_microbatch, num_ranks and zero_stage, "
            "model.gradient_checkpointing, rollout.max_completion_tokens, data.max_duration_s; "
            "--dry-run prints an estimate. train.trial_step=false leaves the trial out."
        ) from error
    memory = f", {peak / 1e9:.1f} GB taken on a learner's GPU" if peak else ""
    logger.info(f"trial step done in {time.monotonic() - start:.1f} s{memory}")


def _store(config: RunConfig, folder: RunFolder) -> CheckpointStore:
    keep = config.checkpoint
    return CheckpointStore(folder.checkpoints_dir, keep.keep_last, best_of(keep))


def _resume(
    config: RunConfig,
    folder: RunFolder,
    store: CheckpointStore,
    learner: LearnerGroup,
    others: Mapping[str, Any],
) -> tuple[int, dict[str, float] | None]:
    """Load the newest good checkpoint, if any, and drop what was written after it.

    Returns:
        Its step, and the row of that step if it was saved before its evaluation.
    """
    checkpoint: Checkpoint | None = store.latest()
    if checkpoint is None:
        folder.truncate_after(-1)
        return 0, None
    learner.load(checkpoint.path)
    for name, part in others.items():
        # Checkpoints of runs before `async.max_staleness` have nothing sampled ahead.
        part.load_state_dict(checkpoint.state.get(name, {}))
    row = unpack_row(checkpoint.state.get("row"))
    folder.truncate_after(checkpoint.step, has_row=row is None)
    logger.info(
        f"resuming after step {checkpoint.step}: {checkpoint.path} is the newest good checkpoint"
    )
    log_rate_change(config, folder.changes, checkpoint.step)
    return checkpoint.step, row


def _parity(
    config: RunConfig, engines: EnginePool, learner: LearnerGroup, clips: Sequence[Prompt]
) -> dict[str, float]:
    """Run the gate on the first clips of the training split."""
    if not clips:
        return {}
    report = measure_parity(engines, learner, clips, seed=config.seed)
    check_parity(report, config.parity)
    logger.info(
        f"parity: log-prob gap max {report.max_gap:.1e}, 99 % below {report.p99_gap:.1e}, mean "
        f"{report.mean_gap:.1e}, correlation {report.correlation:.6f} on {len(clips)} clips"
    )
    return report.to_metrics()


def _finish(
    config: RunConfig, folder: RunFolder, store: CheckpointStore, learner: LearnerGroup, step: int
) -> None:
    """Export what the run has come to, and its best checkpoint, if it keeps one."""
    if not (config.checkpoint.export and folder.is_done(step, config.train.num_steps)):
        return
    learner.export(folder.export_dir)
    write_model_card(folder)
    logger.info(f"exported {folder.export_dir}")
    if (best := store.best_path()) is not None:
        # From here on the learner has its weights.
        learner.load(verify(best).path)
        learner.export(folder.best_dir)
        logger.info(f"exported {folder.best_dir}: {best.name} is the best by {store.best}")
