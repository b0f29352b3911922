"""What a reader without the clip scores: the text's style, and nothing of the voice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.files import read_rows
from data.records import Example
from evaluation.calibration.probes import probes_of
from evaluation.calibration.run import write_calibration
from evaluation.calibration.statistics import spearman
from evaluation.calibration.text_alone import TEXT_ALONE, text_alone
from rewards.judges.base import DIMENSIONS
from rewards.judges.rows import JudgeRow

RNG = np.random.default_rng(0)
VOICE, STYLE = "factual_alignment", "fluency_and_structural_clarity"


def judge_row(name: str) -> JudgeRow:
    """A text that claims low or high pitch; one in two is well marked, which the text shows."""
    level, marked = RNG.choice(["low", "high"]), RNG.random() < 0.5
    text = f"The pitch is {level}{', and the voice is calm.' if marked else ' and voice calm'}"
    scores: dict[str, float] = dict.fromkeys(DIMENSIONS, 3.0)
    scores |= {VOICE: float(RNG.choice([1, 5])), STYLE: 5.0 if marked else 1.0}
    example = Example(name, f"{name}.wav", "sad", "?", ("sad",), reasoning=text)
    return JudgeRow(example, scores)


def lines_of(rows: list[JudgeRow], names: tuple[str, ...] = DIMENSIONS) -> list[dict[str, Any]]:
    """Lines of a judge that says 3 throughout, but for one text that it could not score."""
    scores = {row.example.id: row.scores for row in rows}
    lines = [
        {
            "id": probe.id,
            "row": probe.row,
            "kind": probe.kind,
            "payload": probe.payload,
            "clip": probe.row,
            "text_sha256": probe.id,
            "scores": dict.fromkeys(names, 3.0),
            "missing": "",
            "gold": scores[probe.row],
            "num_words": 4,
        }
        for some in probes_of(rows).values()
        for probe in some
    ]
    lines[0] |= {"scores": None, "missing": "timeout"}
    return lines


@pytest.fixture(scope="module")
def train() -> list[JudgeRow]:
    return [judge_row(f"t{n}") for n in range(200)]


@pytest.fixture(scope="module")
def rows() -> list[JudgeRow]:
    return [judge_row(f"h{n}") for n in range(60)]


def test_it_knows_what_the_text_shows_and_not_what_the_voice_does(
    train: list[JudgeRow], rows: list[JudgeRow]
):
    lines = text_alone(lines_of(rows), rows, train, seed=0)
    assert [line["id"] for line in lines] == [line["id"] for line in lines_of(rows)]
    assert all(set(line["scores"]) == set(DIMENSIONS) and not line["missing"] for line in lines)
    held = [line for line in lines if line["kind"] == "held_out"]
    for line in held:
        assert line["scores"][STYLE] == pytest.approx(line["gold"][STYLE], abs=0.5)
    judged, gold = ([line[key][VOICE] for line in held] for key in ("scores", "gold"))
    # Truths are drawn: 0 with a standard deviation of 1 / sqrt(59).
    rank = spearman(np.array(judged), np.array(gold))
    assert rank is None or abs(rank) < 3 / np.sqrt(59)


def test_claims_are_seen_in_other_words(train: list[JudgeRow]):
    """Low pitch is said to be true here; "deep" is a word that it has never read."""
    told = [
        JudgeRow(row.example, {**row.scores, VOICE: 5.0 if "low" in text else 1.0})
        for row in train
        if (text := row.example.reasoning or "")
    ]
    deep, shrill = (
        JudgeRow(Example(name, "a.wav", "sad", "?", ("sad",), reasoning=text), told[0].scores)
        for name, text in (("d", "A deep voice."), ("s", "A shrill voice."))
    )
    lines = text_alone(lines_of([deep, shrill])[1:], [deep, shrill], told, seed=0)
    by_id = {line["id"]: line["scores"][VOICE] for line in lines}
    assert by_id["d/lower"] > by_id["s/lower"] + 0.5


def test_what_is_held_out_is_not_learnt(train: list[JudgeRow], rows: list[JudgeRow]):
    same = text_alone(lines_of(rows), rows, [*train, *rows], seed=0)
    assert same == text_alone(lines_of(rows), rows, train, seed=0)
    assert text_alone(lines_of(rows), rows, rows, seed=0) == []


def test_a_judge_of_one_dimension_stands_beside_that_one(
    tmp_path: Path, train: list[JudgeRow], rows: list[JudgeRow]
):
    scored = {"mine": lines_of(rows, (VOICE,))}
    summary = write_calibration(tmp_path, scored, rows, train=train, seed=0)
    assert list(summary) == [TEXT_ALONE, "mine"]
    assert list(summary[TEXT_ALONE]["dimensions"]) == [VOICE]
    assert summary[TEXT_ALONE]["num"] == 60 and summary["mine"]["num"] == 59
    # What the judge itself said is what is kept.
    assert read_rows(tmp_path / "scores.jsonl") == scored["mine"]
    page = (tmp_path / "report.md").read_text()
    assert f"`{TEXT_ALONE}`: a random forest" in page and f"| `{TEXT_ALONE}` | " in page
    alone = write_calibration(tmp_path, scored, rows, train=[], seed=0)
    assert list(alone) == ["mine"]
    assert TEXT_ALONE not in (tmp_path / "report.md").read_text()
