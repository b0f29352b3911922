"""The rows of a run: manifests read and checked, before anything heavy starts."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from configs.schema import BenchmarkConfig, DataConfig, RunConfig
from data.audio import check_clips
from data.manifest import ManifestError, first_of, read_manifest, select_split
from data.records import Example

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Splits:
    """The rows of a run."""

    train: Sequence[Example]
    eval: Sequence[Example]
    test: Sequence[Example]
    benchmarks: Mapping[str, Sequence[Example]] = field(default_factory=dict[str, list[Example]])
    """Name of a benchmark -> its rows."""


def read_data(config: RunConfig) -> Splits:
    """Read and check manifests and clips; splits that the run does not use are empty.

    Raises:
        ManifestError: A bad row, split or clip; all of them are listed at once.
    """
    data = config.data
    examples = _manifest_rows(data)
    rl = config.loss.kind == "policy"
    split = config.eval.split if rl and config.eval.every_steps else ""
    test = config.eval.test_split if rl else ""
    train = _of_tasks(select_split(examples, data.train_split), data)
    limit = config.eval.max_examples or None
    evaluated = select_split(examples, split)[:limit] if split else []
    tested = select_split(examples, test) if test else []
    used = list({row.id: row for row in (*train, *evaluated, *tested)}.values())
    text_only = [row.id for row in used if rl and not row.audio]
    if text_only:
        raise ManifestError(
            f"{data.manifest}: {len(text_only)} rows have no clip, such as {text_only[0]!r}; "
            "text-only tasks are for launch/sft.py"
        )
    bad = bad_clips(used, data)
    return Splits(
        *([row for row in rows if row.id not in bad] for rows in (train, evaluated, tested)),
        benchmarks={entry.name: read_benchmark(entry, config) for entry in config.eval.benchmarks},
    )


def _manifest_rows(data: DataConfig) -> list[Example]:
    return read_manifest(
        data.manifest,
        audio_root=data.audio_root,
        choices=data.choices,
        question_template=data.question,
    )


def _of_tasks(rows: Sequence[Example], data: DataConfig) -> Sequence[Example]:
    """Return the rows of the tasks that are trained on."""
    if not data.tasks:
        return rows
    tasks = sorted({row.task for row in rows if row.task})
    unknown = sorted(set(data.tasks) - set(tasks))
    if unknown:
        raise ManifestError(
            f"data.tasks: no row of split {data.train_split!r} has the task {unknown[0]!r}; there "
            f"are {', '.join(tasks) or 'rows without a task only'}"
        )
    return [row for row in rows if row.task in data.tasks]


def benchmark_data(config: RunConfig, benchmark: BenchmarkConfig) -> DataConfig:
    """Return `config.data` as it is for the clips and labels of a benchmark."""
    data = config.data
    return replace(
        data,
        manifest=benchmark.manifest,
        audio_root=benchmark.audio_root or data.audio_root,
        choices=benchmark.choices or data.choices,
    )


def read_benchmark(benchmark: BenchmarkConfig, config: RunConfig) -> list[Example]:
    """Read and check the rows of a benchmark.

    Raises:
        ManifestError: A bad row, split or clip, or a row without a label among its choices.
    """
    data = benchmark_data(config, benchmark)
    rows = _manifest_rows(data)
    rows = select_split(rows, benchmark.split) if benchmark.split else rows
    unasked = [row.id for row in rows if row.label not in row.choices or len(row.choices) < 2]
    if unasked:
        raise ManifestError(
            f"{data.manifest}: {len(unasked)} rows cannot be evaluated, such as {unasked[0]!r}: "
            "the label must be one of at least two choices"
        )
    bad = bad_clips([row for row in rows if row.audio], data)
    return [row for row in rows if row.id not in bad]


def bad_clips(rows: Sequence[Example], data: DataConfig) -> set[str]:
    """Return the ids of rows whose clip is to be left out.

    Raises:
        ManifestError: There are some, and `data.bad_clips` does not leave them out.
    """
    problems = check_clips(
        rows,
        data.audio_root,
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
        num_workers=data.num_workers,
    )
    if problems and data.bad_clips == "error":
        listed = first_of([f"{problem.example_id}: {problem.message}" for problem in problems])
        raise ManifestError(
            f"{data.manifest}: {len(problems)} clips cannot be used (data.bad_clips=skip leaves "
            f"them out)\n{listed}"
        )
    bad = {problem.example_id for problem in problems}
    if bad:
        logger.info(
            f"leaving out {len(bad)} clips that cannot be used, first {problems[0].message}"
        )
    return bad
