"""What is in a corpus, in numbers: clips, hours, labels, speakers and prosody."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotate.splits import SPLITS
from data.audio import AudioError, probe
from data.prosody.levels import INTONATIONS, LEVELS

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

ATTRIBUTES: Mapping[str, Sequence[str]] = {**LEVELS, "intonation": INTONATIONS}
"""Key of `prosody` -> its levels, in order."""

Row = Mapping[str, Any]
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
    """Return the length of each row's clip in seconds, from its header; None if it has none.

    Args:
        rows: Rows with `audio`.
        audio_root: Folder that the clips' paths are relative to.
        num_workers: Threads.
    """

    def duration_s(row: Row) -> float | None:
        try:
            return probe(audio_root / row["audio"]).duration_s
        except AudioError:
            return None

    with ThreadPoolExecutor(num_workers) as pool:
        return list(pool.map(duration_s, rows))


def split_of(row: Row) -> str:
    """Return the split of a row, or `NO_SPLIT`."""
    return row.get("split") or NO_SPLIT


def splits_in(rows: Iterable[Row]) -> list[str]:
    """Return the splits that there are: train, eval and test first, then the others by name."""
    found = {split_of(row) for row in rows}
    return [split for split in SPLITS if split in found] + sorted(found - set(SPLITS))


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
    """Return the tables about a corpus.

    Args:
        rows: Rows of a manifest that was checked.
        durations_s: As `clip_durations` returns them.
        labels: In the order to show; labels without a clip are shown as well.
    """
    tables = [
        _split_table(rows, durations_s),
        _duration_table(rows, durations_s),
        _label_table(rows, labels),
    ]
    if any(row.get("prosody") for row in rows):
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            groups[row["label"]].append(row)
        by_label = {label: groups[label] for label in labels if label in groups}
        tables += [_median_table(by_label), _missing_table(by_label)]
        tables += [_level_table(by_label, key) for key in ATTRIBUTES]
    return tables


def _split_table(rows: Sequence[Row], durations_s: Sequence[float | None]) -> Table:
    per_speaker = clips_per_speaker(rows)
    lines: list[tuple[Cell, ...]] = []
    for split in splits_in(rows):
        lengths = [d for row, d in zip(rows, durations_s, strict=True) if split_of(row) == split]
        known = [length for length in lengths if length is not None]
        clips = sorted(n for (where, _), n in per_speaker.items() if where == split)
        spread = f"{clips[0]} / {np.median(clips):g} / {clips[-1]}" if clips else None
        unknown = len(lengths) - sum(clips)
        hours = sum(known) / 3600
        lines.append((split, len(lengths), hours, len(clips), spread, unknown))
    known = [length for length in durations_s if length is not None]
    speakers = {speaker for _, speaker in per_speaker}
    unknown = len(rows) - sum(per_speaker.values())
    lines.append(("all", len(rows), sum(known) / 3600, len(speakers), None, unknown))
    columns = ("split", "clips", "hours", "speakers", "clips each (min / median / max)", "unnamed")
    return Table("Clips and speakers", columns, tuple(lines))


def _duration_table(rows: Sequence[Row], durations_s: Sequence[float | None]) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for split in splits_in(rows):
        lengths = [d for row, d in zip(rows, durations_s, strict=True) if split_of(row) == split]
        known = [length for length in lengths if length is not None]
        cuts = np.percentile(known, PERCENTILES).tolist() if known else [None] * len(PERCENTILES)
        lines.append((split, *cuts, len(lengths) - len(known)))
    columns = ("split", "min", *(f"{p} %" for p in PERCENTILES[1:-1]), "max", "cannot be read")
    return Table("Durations in seconds (percentiles)", columns, tuple(lines))


def _label_table(rows: Sequence[Row], labels: Sequence[str]) -> Table:
    splits = splits_in(rows)
    counts = Counter((row["label"], split_of(row)) for row in rows)
    lines: list[tuple[Cell, ...]] = []
    for label in labels:
        own = [counts[label, split] for split in splits]
        lines.append((label, *own, sum(own), f"{sum(own) / len(rows):.1%}"))
    return Table("Labels", ("label", *splits, "all", "share"), tuple(lines))


def _median_table(by_label: Mapping[str, Sequence[Row]]) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for label, rows in by_label.items():
        values = (measured(rows, key) for key in MEASURES)
        lines.append((label, *(float(np.median(found)) if found else None for found in values)))
    return Table("Prosody: medians", ("label", *MEASURES.values()), tuple(lines))


def _missing_table(by_label: Mapping[str, Sequence[Row]]) -> Table:
    lines: list[tuple[Cell, ...]] = []
    for label, rows in by_label.items():
        shares = (1 - len(measured(rows, key)) / len(rows) for key in MEASURES)
        lines.append((label, *(f"{share:.1%}" for share in shares)))
    names = (name.partition(" (")[0] for name in MEASURES.values())
    return Table("Prosody: share of clips not measured", ("label", *names), tuple(lines))


def _level_table(by_label: Mapping[str, Sequence[Row]], key: str) -> Table:
    levels = ATTRIBUTES[key]
    lines: list[tuple[Cell, ...]] = []
    for label, rows in by_label.items():
        counts = Counter(str((row.get("prosody") or {}).get(key)) for row in rows)
        own = [counts[level] for level in levels]
        lines.append((label, *own, len(rows) - sum(own)))
    return Table(f"Levels: {key}", ("label", *levels, "not measured"), tuple(lines))
