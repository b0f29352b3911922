"""The card of an annotated corpus on the hub: what its rows hold, and whether clips are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from report.model_card import TAG
from report.render import render

Row = Mapping[str, Any]

SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M"}
"""Rows that are fewer than a number -> what the hub calls the size."""


def dataset_card(name: str, splits: Mapping[str, Sequence[Row]], *, has_audio: bool) -> str:
    """Return the card: a YAML header by which the hub finds the splits, then Markdown.

    Args:
        name: Of the corpus.
        splits: Split -> its rows of a manifest, in `data/SPLIT.jsonl`.
        has_audio: Whether the clips are pushed too.
    """
    rows = [row for part in splits.values() for row in part]
    seconds = {split: _seconds(part) for split, part in splits.items()}
    return render(
        "dataset_card.md.j2",
        header=_header(splits, len(rows)),
        name=name,
        splits=splits,
        hours={split: s / 3600 for split, s in seconds.items() if s is not None},
        speakers={split: _count(part, "speaker") for split, part in splits.items()},
        labels=_count(rows, "label"),
        by_split={split: _count(part, "label") for split, part in splits.items()},
        corpora=_count(rows, "dataset"),
        fields=Counter(key for row in rows for key, value in row.items() if value is not None),
        num_rows=len(rows),
        several=sum(isinstance(row.get("audio"), list) or bool(row.get("turns")) for row in rows),
        has_audio=has_audio,
    )


def _header(splits: Iterable[str], num_rows: int) -> str:
    files = [{"split": split, "path": f"data/{split}.jsonl"} for split in splits]
    size = next((words for below, words in SIZES.items() if num_rows < below), "n>1M")
    header = {
        "tags": [TAG, "audio", "speech-emotion-recognition", "prosody"],
        "task_categories": ["audio-classification"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return yaml.safe_dump(header, sort_keys=False).rstrip()


def _count(rows: Iterable[Row], key: str) -> Counter[str]:
    return Counter(str(row[key]) for row in rows if row.get(key) is not None)


def _seconds(rows: Sequence[Row]) -> float | None:
    """Return the length of all clips of rows; None if the rows do not tell every one."""
    lengths = [row.get("duration_s", (row.get("prosody") or {}).get("duration_s")) for row in rows]
    return None if None in lengths else float(sum(lengths))
