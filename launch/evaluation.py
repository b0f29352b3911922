"""An evaluation as a run: engines and judges, no learner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from configs.schema import RunConfig
from data.prompts import PromptBuilder
from data.splits import most_clips
from evaluation.files import write_evaluation
from evaluation.nulls import with_nulls
from evaluation.run import SetEvaluator, common_root
from evaluation.test_sets import QuestionSet
from launch.cluster import place
from rewards.base import with_run_options
from rewards.pool import RewardPool
from rollout.engine import EngineSpec
from rollout.pool import EnginePool
from trainer.metrics_writer import MetricsWriter
from trainer.run_folder import RunFolder
from trainer.trackers.sink import Trackers


def run_evaluation(
    config: RunConfig,
    folder: RunFolder,
    data: Sequence[QuestionSet],
    stop_requested: Callable[[], bool],
    trackers: Trackers,
) -> int:
    """Evaluate a policy on all test sets; write metrics, answers and a report.

    `evaluation.files` says what is written. There is nothing to save early: a request to stop
    interrupts, see `trainer.stop`. Returns `train.num_steps`, as a finished run.
    """
    del stop_requested
    config = without_learner(config)
    builder = PromptBuilder(config.model.path, config.data)
    places = place(config, learns=False)
    num_clips = most_clips([row for questions in data for row in questions.examples])
    engines = EnginePool(EngineSpec.of(config, builder, num_clips), places.engines)
    rooted = replace(config, data=replace(config.data, audio_root=str(common_root(data))))
    is_judged = config.eval.judged and config.eval.mode == "reasoned"
    terms = [term for term in with_run_options(rooted) if term.judged and is_judged]
    judges = RewardPool(terms, config.rewards.packages, places=places.rewards)
    engines.start()
    judges.ping()
    folder.truncate_after(-1)
    evaluator = SetEvaluator(config, builder, engines, judges, common_root(data))
    evaluator.warm_up(data[0])
    sets = with_nulls([evaluator.answer(questions) for questions in data], data, config)
    metrics = write_evaluation(
        folder.root, config, sets, model=config.model.path, latency=evaluator.latency(data)
    )
    MetricsWriter(folder, trackers, first_step=0).write(0, metrics)
    for part in (judges, engines):
        part.close()
    return config.train.num_steps


def without_learner(config: RunConfig) -> RunConfig:
    """Return a configuration without its learner: the engines have their GPUs for themselves."""
    return replace(config, rollout=replace(config.rollout, colocate=False))
