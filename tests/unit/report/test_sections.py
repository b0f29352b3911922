"""Rows of the report's tables on hearing and faithfulness."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from evaluation.faithfulness import Faithfulness
from evaluation.shift import ControlShift, LevelShift
from evaluation.statistics import Interval
from report.sections import faithful, hearing, without_listening


def test_rows_of_hearing_and_faithfulness():
    moved = LevelShift(7, 0.5, Interval(0.25, 0.75), 6, 0.1)
    silent = LevelShift(0, None, None, None, 1.0)
    attributes = {"pitch": moved, "energy": silent, "rate": LevelShift(7, 0.0, None, None, 0.0)}
    tie = Faithfulness(1200, 0.7, 0.4, 0.3, Interval(0.2, 0.4), 0.0)
    summary: dict[str, Any] = {
        "sets": {
            "test": {
                "shifts": {"pitch_up": asdict(ControlShift(9, 2, attributes, {}))},
                "faithfulness": asdict(tie),
            },
        }
    }
    assert hearing(summary) == [
        ["pitch_up", "+0.50 [0.250, 0.750]", "", "+0.00", "7", "2"],
    ]
    nothing = Faithfulness(0, None, None, None, None, 0.0)
    assert faithful([("0 to 9", tie), ("10 to 19", nothing)], summary) == [
        ["sampled in training, steps 0 to 9", "70.0 %", "40.0 %", "+0.30 [0.200, 0.400]", "1,200"],
        ["evaluation, test", "70.0 %", "40.0 %", "+0.30 [0.200, 0.400]", "1,200"],
    ]
    # Of an older version, and without an evaluation.
    assert hearing({"sets": {"test": {}}}) == hearing(None) == []
    assert faithful([], {"sets": {"test": {}}}) == faithful([], None) == []


def test_what_needs_no_listening_stands_beside_the_policy():
    nulls = {"majority": 1 / 9, "loudness_length": 0.315, "without_f0": None, "measured": 0.928}
    test = {"overall": {"accuracy": 0.693}, "nulls": nulls | {"facts": {"gold": 4.19}}}
    probe = {"overall": {"accuracy": 0.5}, "nulls": nulls}
    block = without_listening({"sets": {"test": test, "pitch": probe, "old": {}}})
    heads = ["most frequent label", "loudness and length", "all but F0", "all measurements"]
    assert block["heads"] == ["test set", "this policy", *heads, "facts by heart"]
    assert block["rows"] == [
        ["test", "69.3 %", "11.1 %", "31.5 %", "", "92.8 %", "4.19"],
        ["pitch", "50.0 %", "11.1 %", "31.5 %", "", "92.8 %", ""],
    ]
    assert without_listening(None)["rows"] == []
