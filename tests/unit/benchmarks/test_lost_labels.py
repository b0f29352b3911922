"""What is known of a label before RL, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.lost_labels import HEADS, before_rl, main
from data.files import write_rows


def row(label: str, votes: list[str | None], answer: str) -> dict[str, Any]:
    return {"label": label, "votes": votes, "correct": answer == label}


def test_a_label_before_rl():
    rows = [
        row("sad", ["sad", "sad", "calm", None], "sad"),
        row("sad", ["calm", "calm", "angry", "sad"], "calm"),
        row("sad", ["calm", "calm", "angry", "angry"], "calm"),
    ]
    # 3 of 12 answers are right, 5 are calm; it is first on one clip, and absent from another.
    assert dict(zip(HEADS, before_rl(rows), strict=True)) == pytest.approx(
        {"answered": 3 / 12, "rival": 5 / 12, "first": 1 / 3, "all wrong": 1 / 3, "greedy": 1 / 3}
    )


def test_the_command_prints_recall_after_rl_and_a_correlation_a_pair(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
):
    cold = [row("sad", ["sad"] * 4, "sad"), row("calm", ["sad"] * 4, "sad")]
    after = [row("sad", [], "sad"), row("calm", [], "sad")]
    for name, rows in (("cold", cold), ("after", after)):
        (tmp_path / name / "evaluation").mkdir(parents=True)
        write_rows(tmp_path / name / "evaluation" / "answers.jsonl", rows)
    main([f"{tmp_path / 'cold'}={tmp_path / 'after'}"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1] == ["sad", "1.00", "0.00", "1.00", "0.00", "1.00", "1.00"]
    assert lines[2] == ["calm", "0.00", "1.00", "0.00", "1.00", "0.00", "0.00"]
    assert lines[3] == ["answered", "+1.00"]
