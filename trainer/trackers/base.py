"""What every tracker is given, and what it answers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMPLETIONS, CLIPS = "samples/completions", "samples/clips"
"""Names of the table of completions, and of clips where they cannot stand in the table."""


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as a tracker files it."""

    id: str
    """16 hexadecimal digits; the same whenever the run goes on."""
    is_new: bool
    """Whether the tracker does not have it yet."""
    name: str
    project: str
    settings: Mapping[str, Any]
    """The configuration, as nested mappings and lists."""
    config_path: Path
    """The same as YAML."""
    home: Path
    """Folder for what the tracker keeps on this machine."""


@dataclass(frozen=True, slots=True)
class Completions:
    """The completions of a step with their scores, and some of the clips."""

    step: int
    rows: Sequence[Mapping[str, Any]]
    """Of its sample file; see `trainer.metrics.sample_rows`."""
    shown: Sequence[int]
    """Positions in `rows` of those that a person should see first, each of another group."""
    clips: Mapping[int, bytes]
    """Position in `rows` -> its clip as a WAV file."""

    def columns(self) -> list[str]:
        """Return the names of the columns; the one for clips is not among them."""
        terms = [f"term/{name}" for name in self.rows[0]["terms"]]
        return [*_FIELDS, *terms]

    def cells(self) -> list[list[Any]]:
        """Return the table, one list per completion; None = unreadable, or not scored."""
        return [[*(row[name] for name in _FIELDS), *row["terms"].values()] for row in self.rows]

    @contextmanager
    def clip_files(self) -> Iterator[dict[int, Path]]:
        """Lend the clips as files: position in `rows` -> path, until the block ends."""
        with tempfile.TemporaryDirectory(prefix="cadence-clips-") as folder:
            paths = {n: Path(folder) / f"step_{self.step:06d}_row_{n:04d}.wav" for n in self.clips}
            for n, path in paths.items():
                path.write_bytes(self.clips[n])
            yield paths


_FIELDS = ("id", "label", "answer", "correct", "text", "reward", "advantage", "trust")


def shown_places(rows: Sequence[Mapping[str, Any]], num: int) -> list[int]:
    """Return the positions of the first completions of some groups, spread evenly over the step.

    Args:
        rows: Of a sample file, at least one; the completions of a group stand together.
        num: How many at most, >= 1.
    """
    first = list({row["group"]: n for n, row in reversed(list(enumerate(rows)))}.values())[::-1]
    num = min(num, len(first))
    return [first[place * len(first) // num] for place in range(num)]


class Tracker:
    """A back end. Its calls come one after another, on a thread of its own, and may raise anything.

    What it cannot hold it leaves out: by default everything.
    """

    has_memory = True
    """Whether it keeps what an earlier life of the run has sent; if not, it is told again."""

    def open(self, run: TrackedRun) -> None:
        """Start the run, or go on with it, and hand over its configuration."""

    def begin(self, first_step: int) -> None:
        """Say which step is the first that this life of the run writes."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the metrics of a step: key -> finite number. Steps only ever rise."""

    def log_completions(self, completions: Completions) -> None:
        """Write completions of a step, before its metrics."""

    def log_report(self, path: Path) -> None:
        """Keep report.html with the run."""

    def close(self) -> None:
        """Finish; everything is sent when this returns."""
