"""Training of a judge: a supervised run on texts with known scores."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from configs.schema import RunConfig
from data.lengths import LengthCheck, supervised_lengths
from data.loader import usable_prompts
from data.manifest import ManifestError
from data.prompts import prompt_function
from data.splits import Splits, bad_rows, too_few
from evaluation.calibration.judge import local_judge, start_judge
from evaluation.calibration.run import score_probes, write_calibration
from evaluation.calibration.statistics import agreement
from launch.build import SupervisedTask, run_supervised
from launch.cluster import place
from rewards.judges.rows import JudgeRow, read_judge_rows
from trainer.judge_prompts import JudgePrompts, learner_scores
from trainer.learner_group import LearnerGroup
from trainer.run_folder import RunFolder
from trainer.stop import StopRequest
from trainer.trackers.sink import Trackers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JudgeSplits(Splits):
    """The rows of a judge run: `train`, and `test` for what is held out."""

    scores: Mapping[str, Mapping[str, float]] = field(
        default_factory=dict[str, Mapping[str, float]]
    )
    """Row id -> dimension -> score, of both."""


def read_judge_data(config: RunConfig) -> JudgeSplits:
    """Read and check a judge file, its clips and the lengths of its rows; needs no Ray.

    Args:
        config: The run; `data.manifest` is the judge file.

    Raises:
        ManifestError: A bad row, split or clip.
    """
    rows = _read(config)
    train = _split(rows, config.data.train_split)
    test = _split(rows, config.eval.test_split)
    used = list({row.example.id: row for row in (*train, *test)}.values())
    bad = bad_rows([row.example for row in used], config.data, _lengths(config, used))
    splits = JudgeSplits(
        train=[row.example for row in train if row.example.id not in bad],
        eval=[],
        test=[row.example for row in test if row.example.id not in bad],
        left_out=[(i, row.example) for i, row in enumerate(train) if row.example.id in bad],
        scores={row.example.id: row.scores for row in used},
    )
    problems = [*too_few(config, splits)]
    if not splits.test:
        problems.append(f"{config.data.manifest}: no row of {config.eval.test_split!r} can be used")
    if problems:
        raise ManifestError("\n".join(problems))
    return splits


def read_calibration_rows(config: RunConfig) -> tuple[list[JudgeRow], list[JudgeRow]]:
    """Return the rows of `data.train_split`, and those to calibrate on, of `eval.test_split`.

    Raises:
        ManifestError: A bad row, split or clip.
    """
    rows = _read(config)
    test = _split(rows, config.eval.test_split)
    bad = bad_rows([row.example for row in test], config.data)
    train = [row for row in rows if row.example.split == config.data.train_split]
    return train, [row for row in test if row.example.id not in bad]


def _lengths(config: RunConfig, rows: Sequence[JudgeRow]) -> LengthCheck:
    """Return the check of judge rows: the message, with all digits that it is answered by."""
    builder = JudgePrompts(config.model.path, config.data, config.judge.prompt_file)
    scores = {row.example.id: row.scores for row in rows}
    return supervised_lengths(
        config,
        builder,
        lambda row, _: builder.num_answer_tokens(scores[row.id]),
        key=lambda row: row.id,
    )


def _read(config: RunConfig) -> list[JudgeRow]:
    data = config.data
    return read_judge_rows(
        data.manifest,
        audio_root=data.audio_root,
        choices=data.choices,
        question_template=data.question,
        follow_links=data.follow_links,
    )


def _split(rows: Sequence[JudgeRow], split: str) -> list[JudgeRow]:
    of_split = [row for row in rows if row.example.split == split]
    if not of_split:
        splits = sorted({str(row.example.split) for row in rows})
        raise ManifestError(
            f"no row of the judge file belongs to split {split!r}; it has {', '.join(splits)}. "
            "Held-out rows are written with judge.num_test_rows of launch/annotate.py"
        )
    return of_split


def run_judge(
    config: RunConfig,
    folder: RunFolder,
    data: JudgeSplits,
    stop_requested: StopRequest,
    trackers: Trackers,
) -> int:
    """Train a judge, from where the run folder left off.

    Args:
        config: The run; Ray is connected.
        folder: Opened.
        data: From `read_judge_data`.
        stop_requested: See `trainer.sft.SftParts`.
        trackers: Opened.

    Returns:
        The step reached.
    """
    builder = JudgePrompts(config.model.path, config.data, config.judge.prompt_file)
    task = SupervisedTask(
        builder,
        lambda prompt: builder.training_sample(prompt, data.scores[prompt.example.id]),
        lambda learner: _held_out(config, data, builder, learner),
    )
    step = run_supervised(config, folder, data, task, stop_requested, trackers)
    if step == config.train.num_steps and config.checkpoint.export:
        _calibrate(config, folder, data)
    return step


def _calibrate(config: RunConfig, folder: RunFolder, data: JudgeSplits) -> None:
    """Calibrate the start checkpoint and the trained judge, as they would serve."""
    splits = (data.train, data.test)
    train, rows = ([JudgeRow(one, data.scores[one.id]) for one in split] for split in splits)
    scored: dict[str, list[dict[str, Any]]] = {}
    places = place(config, learns=False).rewards
    for name, path in (("untrained", config.model.path), ("trained", str(folder.export_dir))):
        judge = start_judge(config, *local_judge(config, path), places)
        scored[name] = score_probes(config, judge, rows)
        judge.close()
    write_calibration(folder.root / "calibration", scored, rows, train=train, seed=config.seed)


def _held_out(
    config: RunConfig, data: JudgeSplits, builder: JudgePrompts, learner: LearnerGroup
) -> Callable[[], dict[str, float]]:
    """Return the evaluation during training: the learner's own scores of held-out rows."""
    build = prompt_function(builder, config.data, ray.put)
    rows = data.test[: config.eval.max_examples or None]
    prompts = list(usable_prompts(rows, build, config.data.bad_clips))
    gold = [data.scores[prompt.example.id] for prompt in prompts]

    def evaluate() -> dict[str, float]:
        scores = learner_scores(learner, prompts, builder)
        metrics: dict[str, float] = {}
        for name, agreed in agreement(scores, gold).items():
            logger.info(f"{name}: {len(gold)} held-out texts, {agreed.describe()}")
            metrics |= {f"judge_eval/{name}_{key}": x for key, x in agreed.metrics().items()}
        return metrics

    return evaluate
