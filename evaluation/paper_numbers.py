"""Figures of the paper that our tables are set beside, of `paper_numbers.yaml`, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

BENCHMARKS = ("IEMOCAP", "MELD", "RAVDESS", "SAVEE")

Figures = Mapping[str, float]

COLUMNS = {
    "table_2": {*BENCHMARKS, "Avg", "quality"},
    "table_4": {"name", "accuracy", "quality"},
    "table_5": {"before", "after"},
}
"""Table -> what each of its rows has."""


def _checked(paper: Mapping[str, Any]) -> Mapping[str, Any]:
    assert set(paper) == {*COLUMNS, "source", "names"}, sorted(paper)
    for table, columns in COLUMNS.items():
        for name, row in paper[table].items():
            assert set(row) == columns, f"{table}, {name}: has {sorted(row)}"
            for column in columns - {"name"}:
                low, high = (1, 5) if column == "quality" else (0, 100)
                assert low <= row[column] <= high, f"{table}, {name}: {column} is {row[column]}"
    assert set(paper["names"].values()) <= set(paper["table_4"]), paper["names"]
    return paper


_PAPER = _checked(
    yaml.safe_load(Path(__file__).with_name("paper_numbers.yaml").read_text(encoding="utf-8"))
)

SOURCE: str = _PAPER["source"]
TABLE_2: Mapping[str, Figures] = _PAPER["table_2"]
TABLE_4: Mapping[str, Mapping[str, Any]] = _PAPER["table_4"]
TABLE_5: Mapping[str, Figures] = _PAPER["table_5"]


def paper_variant(label: str) -> Mapping[str, Any] | None:
    """Return the variant of Table 4 that a label names; None if it names none.

    It begins with the number (`V6 PTR, full`, `v6_full`, `Baseline 2`; not `V60`), or is one of
    the file's `names` as a whole.
    """
    name = label.strip().casefold()
    number = re.match(r"(v[1-6]|baseline[ _]?[12])(?![a-z0-9])", name)
    key = re.sub("[ _]", "", number[1]) if number else _PAPER["names"].get(name, "")
    return TABLE_4.get(key)
