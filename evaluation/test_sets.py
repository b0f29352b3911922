"""What an evaluation asks about: the test split and the benchmarks, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from configs.schema import BenchmarkConfig, DataConfig, RunConfig
from data.manifest import ManifestError
from data.parsing import normalize_label
from data.records import Example
from data.splits import RowCheck, benchmark_data, benchmark_rows, refuse_text_tasks
from evaluation.answer_reader import choices_of
from evaluation.benchmark_rules import check_rules


@dataclass(frozen=True)
class QuestionSet:
    """A set of clips with their questions and labels."""

    name: str
    """Of the benchmark, or of the test split."""
    is_benchmark: bool
    """False for the test split."""
    data: DataConfig
    """`config.data` as it is for this set."""
    examples: Sequence[Example]
    """At least one."""
    num_left_out: int = 0
    """Rows that the check of the corpus has left out."""

    @property
    def is_probe(self) -> bool:
        """Whether it asks about something else than the emotion."""
        return any(example.target is not None for example in self.examples)

    @property
    def choices(self) -> tuple[str, ...]:
        """The labels: those of the set, or, if rows bring others, all of these in their order."""
        choices = choices_of(self.examples)
        labels = {normalize_label(choice) for choice in self.data.choices}
        inside = all(normalize_label(choice) in labels for choice in choices)
        return tuple(self.data.choices) if inside else choices


def read_test_sets(config: RunConfig, check: RowCheck | None = None) -> list[QuestionSet]:
    """Read and check what an evaluation asks about; needs no Ray.

    Args:
        config: The run; `eval.test_split` is one set, if it is named, each benchmark another one.
        check: As for `data.splits.read_data`.

    Raises:
        ManifestError: As `data.splits.benchmark_rows`, or rows without a clip.
    """
    benchmarks = [
        _read(entry, config, check, is_benchmark=True) for entry in config.eval.benchmarks
    ]
    split = config.eval.test_split
    if not split:
        return benchmarks
    entry = BenchmarkConfig(name=split, manifest=config.data.manifest, split=split)
    return [_read(entry, config, check, is_benchmark=False), *benchmarks]


def _read(
    entry: BenchmarkConfig, config: RunConfig, check: RowCheck | None, *, is_benchmark: bool
) -> QuestionSet:
    rows, num_left_out = benchmark_rows(entry, config, check)
    refuse_text_tasks(entry.manifest, rows, "an evaluation asks about clips")
    if config.eval.controls and not any(row.audio for row in rows):
        raise ManifestError(
            f"{entry.manifest}: eval.controls alters clips, and no row of {entry.name!r} has one; "
            "set eval.controls=[]"
        )
    check_rules(entry.manifest, rows)
    data = benchmark_data(config, entry)
    return QuestionSet(entry.name, is_benchmark, data, rows, num_left_out)
