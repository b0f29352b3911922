"""What is in a corpus, in numbers: clips, hours, labels, speakers and prosody."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from annotate.splits import SPLITS
from data.audio import AudioError, probe
from data.files import Row
from data.prosody.levels import LEVELS_OF
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


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers to print."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    """Floats are measurements or shares; None = there is no such number."""


def clip_durations(
    rows: Sequence[Row], audio_root: Path, *, num_workers: int
) -> list[float | None]:
    """Return the length of each row's clip in seconds, from its header; None if it has none."""

    def duration_s(row: Row) -> float | None:
        try:
            return probe(audio_root / row["audio"]).duration_s
        except AudioError:
            return None

    return list(thread_map(duration_s, rows, num_workers))


def split_of(row: Row) -> str:
    """Return the split of a row, or `NO_SPLIT`."""
    return row.get("split") or NO_SPLIT


def splits_in(rows: Iterable[Row]) -> list[str]:
    """Return the splits that there are: train, eval and test first, then the others by name."""
    splits = {split_of(row) for row in rows}
    return [split for split in SPLITS if split in splits] + sorted(splits - set(SPLITS))


def measured(rows: Iterable[Row], key: str) -> list[float]:
    """Return one measurement of the rows' prosody, without rows that do not have it."""
    values = ((row.get("prosody") or {}).get(key) for row in rows)
    return [float(value) for value in values if isinstance(value, int | float)]


def rate_key(rows: Sequence[Row]) -> str:
    """Return the measure of rate that more rows have; letters if both are as many."""
    return max(("letters_per_s", "nuclei_per_s"), key=lambda key: len(measured(rows, key)))


def clips_per_speaker(rows: Iterable[Row]) -> Counter[tuple[str, str]]:
    """Return (split, speaker) -> clips, without rows whose speaker is unknown."""
    return Counter((split_of(row), row["speaker"]) for row in rows if row.get("speaker"))


def corpus_tables(
    rows: Sequence[Row], durations_s: Sequence[float | None], labels: Sequence[str]
) -> list[Table]:
    """Return the tables about a corpus; labels without a clip are shown as well."""
    tables = [*_split_tables(rows, durations_s), _label_table(rows, labels)]
    if any(row.get("prosody") for row in rows):
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            groups[row["label"]].append(row)
        by_label = {label: groups[label] for label in labels if label in groups}
        tables += _measure_tables(by_label)
        tables += [_level_table(by_label, key) for key in LEVELS_OF]
    return tables


def _split_tables(rows: Sequence[Row], durations_s: Sequence[float | None]) -> list[Table]:
    """Return who speaks how much in each split, and how long the clips are."""
    per_speaker = clips_per_speaker(rows)
    speech: list[tuple[Cell, ...]] = []
    lengths: list[tuple[Cell, ...]] = []
    for split in splits_in(rows):
        every = [d for row, d in zip(rows, durations_s, strict=True) if split_of(row) == split]
        readable = [duration_s for duration_s in every if duration_s is not None]
        clips = sorted(n for (where, _), n in per_speaker.items() if where == split)
        spread = f"{clips[0]} / {np.median(clips):g} / {clips[-1]}" if clips else None
        hours = sum(readable) / 3600
        speech.append((split, len(every), hours, len(clips), spread, len(every) - sum(clips)))
        cuts = (
            np.percentile(readable, PERCENTILES).tolist() if readable else [None] * len(PERCENTILES)
        )
        lengths.append((split, *cuts, len(every) - len(readable)))
    hours = sum(duration_s for duration_s in durations_s if duration_s is not None) / 3600
    num_speakers = len({speaker for _, speaker in per_speaker})
    unnamed = len(rows) - sum(per_speaker.values())
    speech.append(("all", len(rows), hours, num_speakers, None, unnamed))
    columns = ("split", "clips", "hours", "speakers", "clips each (min / median / max)", "unnamed")
    percentiles = ("split", "min", *(f"{p} %" for p in PERCENTILES[1:-1]), "max", "cannot be read")
    return [
        Table("Clips and speakers", columns, tuple(speech)),
        Table("Durations in seconds (percentiles)", percentiles, tuple(lengths)),
    ]


def _label_table(rows: Sequence[Row], labels: Sequence[str]) -> Table:
    splits = splits_in(rows)
    counts = Counter((row["label"], split_of(row)) for row in rows)
    lines: list[tuple[Cell, ...]] = []
    for label in labels:
        clips = [counts[label, split] for split in splits]
        lines.append((label, *clips, sum(clips), f"{sum(clips) / len(rows):.1%}"))
    return Table("Labels", ("label", *splits, "all", "share"), tuple(lines))


def _measure_tables(by_label: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Return the medians of each label's measurements, and how many there are not."""
    medians: list[tuple[Cell, ...]] = []
    missing: list[tuple[Cell, ...]] = []
    for label, rows in by_label.items():
        values = [measured(rows, key) for key in MEASURES]
        medians.append((label, *(float(np.median(v)) if v else None for v in values)))
        missing.append((label, *(f"{1 - len(v) / len(rows):.1%}" for v in values)))
    names = (name.partition(" (")[0] for name in MEASURES.values())
    return [
        Table("Prosody: medians", ("label", *MEASURES.values()), tuple(medians)),
        Table("Prosody: share of clips not measured", ("label", *names), tuple(missing)),
    ]


def _level_table(by_label: Mapping[str, Sequence[Row]], key: str) -> Table:
    levels = LEVELS_OF[key]
    lines: list[tuple[Cell, ...]] = []
    for label, rows in by_label.items():
        counts = Counter(str((row.get("prosody") or {}).get(key)) for row in rows)
        clips = [counts[level] for level in levels]
        lines.append((label, *clips, len(rows) - sum(clips)))
    return Table(f"Levels: {key}", ("label", *levels, "not measured"), tuple(lines))
