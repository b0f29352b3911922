"""The rows of a run: manifests read and checked, before anything heavy starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

from configs.schema import BenchmarkConfig, DataConfig, RunConfig
from data.audio import AudioInfo
from data.headers import read_headers
from data.labels import alike_labels
from data.manifest import ManifestError, first_of, read_manifest, select_split
from data.progress import reported
from data.records import Example

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


RowCheck = Callable[[Example, Sequence[AudioInfo]], str]
"""Row and the headers of its clips -> what is wrong with it, empty if nothing is."""

DECODED_S = 3600.0
"""Clips of up to this length in all are decoded when rows are read, which takes seconds and finds
silence and damage too; of a larger corpus only the headers are read, and `launch/dataset.py check`
decodes it."""


@dataclass(frozen=True)
class Splits:
    """The rows of a run."""

    train: Sequence[Example]
    eval: Sequence[Example]
    test: Sequence[Example]
    benchmarks: Mapping[str, Sequence[Example]] = field(default_factory=dict[str, list[Example]])
    """Name of a benchmark -> its rows."""
    left_out: Sequence[tuple[int, Example]] = ()
    """Training rows that cannot be used, each with its place among all training rows."""

    @property
    def all_train(self) -> list[Example]:
        """All training rows in their order, those that cannot be used too."""
        usable, left_out = iter(self.train), dict(self.left_out)
        num_rows = len(self.train) + len(left_out)
        return [left_out[n] if n in left_out else next(usable) for n in range(num_rows)]

    @property
    def num_clips(self) -> int:
        """The most clips of a row that is trained on or answered."""
        return most_clips((*self.train, *self.eval, *self.test, *chain(*self.benchmarks.values())))


def read_data(config: RunConfig, check: RowCheck | None = None) -> Splits:
    """Read and check manifests and clips; splits that the run does not use are empty.

    Args:
        config: The run.
        check: What else may be wrong with a row; see `data.lengths`.

    Raises:
        ManifestError: Bad rows, splits or clips, or too few of them; all are listed at once.
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
    if rl:
        refuse_text_tasks(data.manifest, used, "text-only tasks are for launch/sft.py")
    if rl and config.rollout.counterfactual.moves:
        why = "rollout.counterfactual.moves moves the clip of every row that is trained on"
        _refuse(data.manifest, [row for row in train if not row.audio], why)
    problems: list[str] = []
    benchmarks: dict[str, list[Example]] = {}
    bad = _noted(problems, lambda: bad_rows(used, data, check)) or {}
    for entry in config.eval.benchmarks:
        rows = _noted(problems, lambda entry=entry: read_benchmark(entry, config, check))
        benchmarks[entry.name] = rows or []
    splits = Splits(
        *([row for row in rows if row.id not in bad] for rows in (train, evaluated, tested)),
        benchmarks=benchmarks,
        left_out=[(place, row) for place, row in enumerate(train) if row.id in bad],
    )
    problems += too_few(config, splits)
    problems += [
        f"{data.manifest}: no row of split {name!r} can be used"
        for name, rows, left in ((split, evaluated, splits.eval), (test, tested, splits.test))
        if rows and not left
    ]
    if problems:
        raise ManifestError("\n".join(problems))
    return splits


def refuse_text_tasks(manifest: str, rows: Sequence[Example], why: str) -> None:
    """Raise ManifestError if rows have a `target` and no clip, which only a supervised run reads.

    Rows with a label and an empty list of clips are asked about as the others are.
    """
    _refuse(manifest, [row for row in rows if row.target is not None and not row.clips], why)


def _refuse(manifest: str, without_clip: Sequence[Example], why: str) -> None:
    if without_clip:
        raise ManifestError(
            f"{manifest}: {len(without_clip)} rows have no clip, such as {without_clip[0].id!r}; "
            f"{why}"
        )


def most_clips(rows: Iterable[Example]) -> int:
    """Return the most clips of a row, at least 1: what engines have to allow."""
    return max((len(row.clips) for row in rows), default=1) or 1


def training_rows(config: RunConfig) -> Sequence[Example]:
    """Return the training rows, for an evaluation that needs none; none if they cannot be read.

    Clips are not looked at.
    """
    data = config.data
    if not Path(data.manifest).is_file():
        return []
    try:
        return [row for row in _manifest_rows(data) if row.split == data.train_split]
    except ManifestError as error:
        logger.warning(f"no null baselines: {error}")
        return []


def too_few(config: RunConfig, splits: Splits) -> Iterator[str]:
    """Yield why the training rows of a run teach nothing, or do not fill a step."""
    data, needed = config.data, config.train.prompts_per_step
    if len(splits.train) < needed:
        yield (
            f"{data.manifest}: split {data.train_split!r} has {len(splits.train)} usable rows and "
            f"a step takes {needed}; lower train.prompts_per_step or add rows"
        )
    labels = {row.label for row in splits.train}
    if len(splits.train) > 1 and len(labels) == 1 and all(r.target is None for r in splits.train):
        yield (
            f"{data.manifest}: every row of split {data.train_split!r} has the label "
            f"{labels.pop()!r}, so a policy learns to say that without listening; add clips of "
            "other labels"
        )


def _noted(problems: list[str], read: Callable[[], Result]) -> Result | None:
    """Return what is read; None with a note of what is wrong with it."""
    try:
        return read()
    except ManifestError as error:
        problems.append(str(error))
        return None


def _manifest_rows(data: DataConfig) -> list[Example]:
    rows = read_manifest(
        data.manifest,
        audio_root=data.audio_root,
        choices=data.choices,
        question_template=data.question,
        follow_links=data.follow_links,
        num_workers=data.num_workers,
    )
    for warning in alike_labels({row.label for row in rows if row.target is None}):
        logger.warning(f"{data.manifest}: {warning}")
    return rows


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


def read_benchmark(
    benchmark: BenchmarkConfig, config: RunConfig, check: RowCheck | None = None
) -> list[Example]:
    """Read and check the rows of a benchmark; `check` as for `read_data`.

    Raises:
        ManifestError: As `benchmark_rows`.
    """
    return benchmark_rows(benchmark, config, check)[0]


def benchmark_rows(
    benchmark: BenchmarkConfig, config: RunConfig, check: RowCheck | None = None
) -> tuple[list[Example], int]:
    """Return the rows of a benchmark that can be used, and how many are left out.

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
    bad = bad_rows(rows, data, check)
    left = [row for row in rows if row.id not in bad]
    if not left:
        raise ManifestError(f"{data.manifest}: no row of benchmark {benchmark.name!r} can be used")
    return left, len(bad)


def bad_rows(
    rows: Sequence[Example], data: DataConfig, check: RowCheck | None = None
) -> dict[str, str]:
    """Return id -> what is wrong of the rows that are to be left out.

    Args:
        rows: Of one manifest, in its order.
        data: Where their clips are, and the policy, `bad_clips`.
        check: As for `read_data`.

    Raises:
        ManifestError: There are some, and `data.bad_clips` does not leave them out.
    """
    headers = _headers(rows, data)
    unread = {audio for audio, header in headers.items() if isinstance(header, str)}
    bad: dict[str, str] = {}
    for row in reported(rows, len(rows), "measured {} of {} rows"):
        read = [headers[clip] for clip in row.clips]
        infos = [header for header in read if isinstance(header, AudioInfo)]
        problem = next((header for header in read if isinstance(header, str)), "")
        if check and not problem:
            problem = check(row, infos)
        if problem:
            bad[row.id] = problem
    if bad and data.bad_clips == "error":
        listed = first_of([f"{name}: {problem}" for name, problem in bad.items()])
        of_clips = all(unread.intersection(row.clips) for row in rows if row.id in bad)
        what = "clips" if of_clips else "rows"
        raise ManifestError(
            f"{data.manifest}: {len(bad)} {what} cannot be used (data.bad_clips=skip leaves them "
            f"out)\n{listed}"
        )
    if bad:
        first = next(iter(bad))
        logger.info(
            f"{data.manifest}: leaving out {len(bad)} of {len(rows)} rows that cannot be used, "
            f"first {first}: {bad[first]}"
        )
    return bad


def _headers(rows: Sequence[Example], data: DataConfig) -> dict[str, AudioInfo | str]:
    """Return clip -> header or problem; a small corpus is decoded too (`DECODED_S`)."""
    read = partial(
        read_headers,
        rows,
        data.audio_root,
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
        num_workers=data.num_workers,
    )
    headers = read()
    total_s = sum(info.duration_s for info in headers.values() if isinstance(info, AudioInfo))
    return read(deep=True) if total_s <= DECODED_S else headers
