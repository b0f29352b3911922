"""What is in a corpus, in numbers: clips, hours, labels, speakers and prosody."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from annotate.splits import SPLITS
from data.audio import AudioError, probe
from data.files import Row
from data.prosody.levels import LEVELS_OF
from data.records import BoolArray, IntArray
from data.workers import thread_map

NO_SPLIT = "(none)"
"""Stands for the split of rows without one."""

PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
"""Of durations."""

MEASURES: Mapping[str, str] = {
    "f0_median_hz": "pitch (Hz)",
    "f0_range_st": "pitch range (st)",
    "energy_dbfs": "energy (dBFS)",
    "letters_per_s": "letters per s",
    "nuclei_per_s": "nuclei per s",
    "pause_frac": "pauses (share)",
    "snr_db": "SNR (dB)",
}
"""Key of `prosody` -> its name in tables and figures."""

Cell = str | int | float | None

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers to print."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """Floats are measurements or shares; None = there is no such number."""


class _Names:
    """The names in one field of all rows, each a number."""

    def __init__(self) -> None:
        self.codes: dict[str | None, int] = {}
        self._of_rows = array("i")

    def add(self, name: str | None) -> None:
        self._of_rows.append(self.codes.setdefault(name, len(self.codes)))

    def are(self, name: str | None) -> BoolArray:
        """Return which rows have a name."""
        return np.frombuffer(self._of_rows, np.int32) == self.codes.get(name, -1)

    def counted(self, other: _Names) -> Counter[tuple[str | None, str | None]]:
        """Return the pairs of names -> rows."""
        pairs = np.frombuffer(self._of_rows, np.int32) * len(other.codes)
        pairs = pairs.astype(np.int64) + np.frombuffer(other._of_rows, np.int32)
        counts: IntArray = np.bincount(pairs, minlength=len(self.codes) * len(other.codes))
        both = ((one, another) for one in self.codes for another in other.codes)
        return Counter({pair: n for pair, n in zip(both, counts.tolist(), strict=True) if n})


class Summary:
    """What tables and figures need of the rows of a corpus: 100 bytes of each."""

    def __init__(self, rows: Iterable[Row], durations_s: Iterable[float | None]) -> None:
        """Read them.

        Args:
            rows: Rows of a manifest that was checked.
            durations_s: Length of each row's clip; None if it cannot be read.
        """
        self.splits, self.labels, self.speakers = _Names(), _Names(), _Names()
        self.has_prosody = False
        self.levels: Counter[tuple[str, str, str]] = Counter()
        """Label, attribute and level -> rows."""
        durations = array("d")
        measured = {key: array("d") for key in MEASURES}
        for row, duration_s in zip(rows, durations_s, strict=True):
            prosody = row.get("prosody") or {}
            self.splits.add(row.get("split") or NO_SPLIT)
            self.labels.add(row["label"])
            self.speakers.add(row.get("speaker") or None)
            self.has_prosody = self.has_prosody or bool(prosody)
            self.levels.update((row["label"], key, str(prosody.get(key))) for key in LEVELS_OF)
            durations.append(np.nan if duration_s is None else duration_s)
            for key, values in measured.items():
                value = prosody.get(key)
                values.append(float(value) if isinstance(value, int | float) else np.nan)
        self.durations_s = np.frombuffer(durations)
        """Seconds; not a number where a clip cannot be read."""
        self.measured = {key: np.frombuffer(values) for key, values in measured.items()}
        """Measure -> its values; not a number where it was not measured."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.durations_s)

    @property
    def splits_in(self) -> list[str]:
        """The splits that there are: train, eval and test first, then the others by name."""
        splits = {str(split) for split in self.splits.codes}
        return [split for split in SPLITS if split in splits] + sorted(splits - set(SPLITS))

    @property
    def hours(self) -> float:
        """Length of all clips that can be read."""
        return sum(_known(self.durations_s).tolist()) / 3600

    @property
    def rate_key(self) -> str:
        """The measure of rate that more rows have; letters if both are as many."""
        return max(
            ("letters_per_s", "nuclei_per_s"),
            key=lambda key: int(np.isfinite(self.measured[key]).sum()),
        )

    def of_label(self, key: str, label: str) -> Values:
        """Return one measurement of the rows of a label, without rows that do not have it."""
        return _known(self.measured[key][self.labels.are(label)])

    def clips_per_speaker(self) -> Counter[tuple[str, str]]:
        """Return (split, speaker) -> clips, without rows whose speaker is unknown."""
        counts = self.splits.counted(self.speakers)
        return Counter({(str(s), who): n for (s, who), n in counts.items() if who is not None})


def clip_durations(
    rows: Iterable[Row], audio_root: Path, *, num_workers: int
) -> Iterator[float | None]:
    """Yield the length of each row's clip in seconds, from its header; None if it has none."""

    def duration_s(row: Row) -> float | None:
        try:
            return probe(audio_root / row["audio"]).duration_s
        except AudioError:
            return None

    return thread_map(duration_s, rows, num_workers)


def corpus_tables(rows: Summary, labels: Sequence[str]) -> list[Table]:
    """Return the tables about a corpus; labels without a clip are shown as well."""
    tables = [*_split_tables(rows), _label_table(rows, labels)]
    if rows.has_prosody:
        held = [label for label in labels if label in rows.labels.codes]
        tables += _measure_tables(rows, held)
        tables += [_level_table(rows, held, key) for key in LEVELS_OF]
    return tables


def _split_tables(rows: Summary) -> list[Table]:
    """Return who speaks how much in each split, and how long the clips are."""
    per_speaker = rows.clips_per_speaker()
    speech: list[tuple[Cell, ...]] = []
    lengths: list[tuple[Cell, ...]] = []
    for split in rows.splits_in:
        every = rows.durations_s[rows.splits.are(split)]
        readable = _known(every)
        clips = sorted(n for (where, _), n in per_speaker.items() if where == split)
        spread = f"{clips[0]} / {np.median(clips):g} / {clips[-1]}" if clips else None
        hours = sum(readable.tolist()) / 3600
        speech.append((split, len(every), hours, len(clips), spread, len(every) - sum(clips)))
        cuts = (
            np.percentile(readable, PERCENTILES).tolist()
            if len(readable)
            else [None] * len(PERCENTILES)
        )
        lengths.append((split, *cuts, len(every) - len(readable)))
    num_speakers = len({speaker for _, speaker in per_speaker})
    unnamed = len(rows) - sum(per_speaker.values())
    speech.append(("all", len(rows), rows.hours, num_speakers, None, unnamed))
    columns = ("split", "clips", "hours", "speakers", "clips each (min / median / max)", "unnamed")
    percentiles = ("split", "min", *(f"{p} %" for p in PERCENTILES[1:-1]), "max", "cannot be read")
    return [
        Table("Clips and speakers", columns, tuple(speech)),
        Table("Durations in seconds (percentiles)", percentiles, tuple(lengths)),
    ]


def _label_table(rows: Summary, labels: Sequence[str]) -> Table:
    splits = rows.splits_in
    counts = rows.labels.counted(rows.splits)
    lines: list[tuple[Cell, ...]] = []
    for label in labels:
        clips = [counts[label, split] for split in splits]
        lines.append((label, *clips, sum(clips), f"{sum(clips) / len(rows):.1%}"))
    return Table("Labels", ("label", *splits, "all", "share"), tuple(lines))


def _measure_tables(rows: Summary, labels: Sequence[str]) -> list[Table]:
    """Return the medians of each label's measurements, and how many there are not."""
    medians: list[tuple[Cell, ...]] = []
    missing: list[tuple[Cell, ...]] = []
    for label in labels:
        number = int(rows.labels.are(label).sum())
        values = [rows.of_label(key, label) for key in MEASURES]
        medians.append((label, *(float(np.median(v)) if len(v) else None for v in values)))
        missing.append((label, *(f"{1 - len(v) / number:.1%}" for v in values)))
    names = (name.partition(" (")[0] for name in MEASURES.values())
    return [
        Table("Prosody: medians", ("label", *MEASURES.values()), tuple(medians)),
        Table("Prosody: share of clips not measured", ("label", *names), tuple(missing)),
    ]


def _level_table(rows: Summary, labels: Sequence[str], key: str) -> Table:
    levels = LEVELS_OF[key]
    lines: list[tuple[Cell, ...]] = []
    for label in labels:
        clips = [rows.levels[label, key, level] for level in levels]
        number = int(rows.labels.are(label).sum())
        lines.append((label, *clips, number - sum(clips)))
    return Table(f"Levels: {key}", ("label", *levels, "not measured"), tuple(lines))


def _known(values: Values) -> Values:
    return values[np.isfinite(values)]
