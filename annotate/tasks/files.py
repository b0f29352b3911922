"""The file for supervised fine-tuning: every task that has a share, mixed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from annotate.tasks.attributes import attribute_rows
from annotate.tasks.base import made_rows, reasoned_answer, row_rng, task_row
from annotate.tasks.comparison import comparison_rows
from annotate.tasks.language import asr_rows, described_rows, read_text_rows
from annotate.tasks.mix import describe_mix, mix, quotas
from annotate.tasks.stress import stress_rows
from configs.annotate_schema import AnnotateConfig
from configs.errors import UserError
from data.files import Row
from data.prosody.levels import LEVELS
from data.stored import StoredRows

logger = logging.getLogger(__name__)

TASKS = ("emotion", "pitch", "energy", "rate", "intonation", "comparison", "stress", "asr", "text")
"""What `tasks.shares` may name."""


@dataclass(frozen=True, slots=True)
class TaskFile:
    """What goes into the file."""

    rows: Iterator[dict[str, Any]]
    """The mix, in a random order, made as it is taken; `audio` is relative to `audio_root`."""
    failed: list[dict[str, str]]
    """`id` and `reason` of clips that could not be altered."""
    audio_root: Path
    """Folder that holds both the corpus and the altered clips."""


def emotion_rows(rows: Sequence[Row], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return the cold start: the emotion is asked, and answered with the row's reasoning."""
    return [
        task_row(
            row,
            "emotion",
            audio=row["audio"],
            question=None,
            choices=labels,
            label=row["label"],
            target=reasoned_answer(row["reasoning"], row["label"]),
        )
        for row in rows
        if row.get("reasoning")
    ]


def task_file(config: AnnotateConfig, rows: StoredRows, output: Path) -> TaskFile:
    """Make the rows of all tasks with a share, and mix them; altered clips go beside the output.

    Raises:
        UserError: An unknown task, no rows, or a task with a share and without rows.
    """
    settings = config.tasks
    unknown = sorted(settings.shares.keys() - set(TASKS))
    if unknown:
        raise UserError(f"tasks.shares: unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
    if not rows:
        raise UserError(f"tasks.split {settings.split!r}: no row of the manifest is in it")
    audio_root, rows = with_common_root(config, rows, output.parent)
    wanted = [task for task in TASKS if settings.shares.get(task, 0) > 0]
    labels = sorted({row["label"] for row in rows})
    text_file = Path(config.tasks.text_file) if config.tasks.text_file else None
    others = ("comparison", "text") if text_file else ("comparison",)
    of_clips = [task for task in wanted if task not in others]
    makes = {task: partial(_rows_of, task, config, labels) for task in of_clips}
    made: dict[str, Sequence[dict[str, Any]]] = dict(made_rows(rows, makes))
    if text_file and "text" in wanted:
        made["text"] = read_text_rows(text_file, split=settings.split)
    failed: list[dict[str, str]] = []
    if "comparison" in wanted:
        # Altering takes long. A clip gives up to three questions; half as many clips as questions
        # leave some to choose from.
        num_clips = -(-quotas(settings.shares, settings.num_rows)["comparison"] // 2)
        order = row_rng(config.seed, "comparison").permutation(len(rows))
        compared = comparison_rows(
            rows.chosen(order[:num_clips]),
            tuple(LEVELS),
            audio_root=audio_root,
            folder=(output.parent / "altered").resolve(),
            max_duration_s=config.max_duration_s,
            seed=config.seed,
            num_workers=config.workers,
            store=partial(StoredRows.spooled, folder=output.parent),
        )
        made["comparison"], failed = compared.rows, compared.failed
    for line in describe_mix(made, settings.shares, settings.num_rows):
        logger.info(line)
    return TaskFile(mix(made, settings.shares, settings.num_rows, config.seed), failed, audio_root)


def with_common_root(
    config: AnnotateConfig, rows: StoredRows, output: Path
) -> tuple[Path, StoredRows]:
    """Return the folder that holds both corpus and output, and rows with paths relative to it."""
    corpus, folder = Path(config.root).resolve(), output.resolve()
    audio_root = Path(os.path.commonpath([corpus, folder / "altered"]))
    prefix = corpus.relative_to(audio_root)
    return audio_root, rows.changed(
        lambda row: {**row, "audio": (prefix / row["audio"]).as_posix()}
    )


def _rows_of(
    task: str, config: AnnotateConfig, labels: Sequence[str], rows: Sequence[Row]
) -> list[dict[str, Any]]:
    """Return all rows of a task that is made of clips as they are."""
    if task == "emotion":
        return emotion_rows(rows, labels)
    if task == "stress":
        return stress_rows(rows, seed=config.seed)
    if task == "asr":
        return asr_rows(rows, seed=config.seed)
    if task == "text":
        return described_rows(rows, labels, seed=config.seed)
    return attribute_rows(rows, task, seed=config.seed, margin=config.tasks.margin)
