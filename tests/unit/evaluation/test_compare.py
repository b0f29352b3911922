"""Two evaluations compared: each test set, and all that ask about the emotion."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.files import write_rows
from evaluation.compare import describe


def answers(folder: Path, right: dict[str | None, str]) -> Path:
    """Write answers: benchmark (None = the split) -> a `1` or `0` for each clip."""
    rows = [
        {"id": str(i), "benchmark": name, "probe": name == "pitch", "correct": one == "1"}
        for name, told in right.items()
        for i, one in enumerate(told)
    ]
    (folder / "evaluation").mkdir(parents=True)
    write_rows(folder / "evaluation" / "answers.jsonl", rows)
    return folder


def heads(text: str) -> list[str]:
    return [part.splitlines()[0] for part in text.split("\n\n")]


def test_a_single_split(tmp_path: Path):
    first = answers(tmp_path / "first", {None: "0011"})
    second = answers(tmp_path / "second", {None: "0111"})
    text = describe(first, second)
    assert heads(text) == ["test split: 4 clips: accuracy 50.0% -> 75.0%"]
    assert "difference +25.0 points" in text and "1 clips gained, 0 lost: p = 1 " in text


def test_several_sets_and_their_clips_together(tmp_path: Path):
    first = answers(tmp_path / "first", {None: "0011", "ravdess": "00", "pitch": "1111"})
    second = answers(tmp_path / "second", {None: "0111", "ravdess": "01", "pitch": "0000"})
    assert heads(describe(first, second)) == [
        "all but probes: 6 clips: accuracy 33.3% -> 66.7%",
        "test split: 4 clips: accuracy 50.0% -> 75.0%",
        "ravdess: 2 clips: accuracy 0.0% -> 50.0%",
        "pitch: 4 clips: accuracy 100.0% -> 0.0%",
    ]
    other = answers(tmp_path / "other", {None: "0111", "savee": "01"})
    with pytest.raises(ValueError, match="ravdess: the two evaluations are not of the same"):
        describe(first, other)
