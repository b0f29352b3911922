"""Two evaluations side by side: worked numbers, and the page in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launch.compare import main
from report.pair import read_pairs
from tests.unit.browser import browser, needs_browser, overflow, played_s
from tests.unit.report.test_page import EVIL, make_run, sample

pytestmark = pytest.mark.slow

# Clip -> answers of A and B, and whether they are right.
ANSWERS = {
    "clip-0": (("sad", False), ("happy", True)),
    "clip-1": (("happy", True), ("Happy", True)),
    "clip-2": (("happy", True), (None, False)),
}


def make_evaluations(folder: Path, text: str = "<think>The pitch is high.</think>") -> list[Path]:
    """Two evaluations of three clips and one more each; B spells happy in another way too."""
    runs = []
    for place, name in enumerate(("before", "after")):
        run = make_run(
            folder,
            [],
            name=name,
            overrides=("rewards.aliases={joyful: happy}", f"seed={place}"),
        )
        rows = [
            sample(
                int(clip[-1]),
                answer=both[place][0],
                correct=both[place][1],
                text=text,
                scores={"reasoning": {"factual_alignment": 2.0 + place}},
                terms={
                    "format": 1.0,
                    "reasoning": [0.25, 0.75][place] if clip == "clip-0" else 0.5,
                },
            )
            for clip, both in ANSWERS.items()
        ]
        rows.append(sample(0, id=f"only-{name}"))
        if place:
            rows[1]["answer"] = rows[1]["label"] = "joyful"
            rows[2]["audio"] = "elsewhere/clip-2.wav"
            rows.reverse()
        (run / "evaluation").mkdir()
        answers = "".join(json.dumps(row) + "\n" for row in rows)
        (run / "evaluation" / "answers.jsonl").write_text(answers)
        runs.append(run)
    return runs


def test_what_two_runs_answered(tmp_path: Path):
    first, second = make_evaluations(tmp_path)
    pairs = read_pairs(first, second, num_clips=1)
    assert (pairs.names, pairs.alone) == (("before", "after"), (1, 1))
    assert pairs.labels == ["happy", "joyful"] and pairs.terms == ["format", "reasoning"]
    shown = [(row["id"], row["differ"], [s["answer"] for s in row["sides"]]) for row in pairs.rows]
    # "joyful" is an alias of "happy": another spelling is no other answer.
    assert shown == [
        ("clip-0", True, ["sad", "happy"]),
        ("clip-1", False, ["happy", "joyful"]),
        ("clip-2", True, ["happy", None]),
    ]
    assert [row.get("other_audio") for row in pairs.rows] == [None, None, "elsewhere/clip-2.wav"]
    assert ["high", "true"] in [list(piece) for piece in pairs.rows[0]["sides"][1]["pieces"]]
    scores = [side["scores"]["reasoning"] for side in pairs.rows[0]["sides"]]
    assert scores == [{"factual_alignment": 2.0}, {"factual_alignment": 3.0}]
    # Of three clips A has two right and B two: one gained, one lost.
    assert pairs.words.startswith("test split: 3 clips: accuracy 66.7% -> 66.7%\n")
    assert "1 clips gained, 1 lost: p = 1 " in pairs.words
    assert list(pairs.clips) == ["clip-0.wav"]  # one is drawn: the first whose answers differ


def test_answers_to_several_clips_keep_them_all(tmp_path: Path):
    runs = make_evaluations(tmp_path)
    for place, run in enumerate(runs):
        path = run / "evaluation" / "answers.jsonl"
        rows = {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}
        rows["clip-0"]["clips"] = ["clip-1.wav", "clip-0.wav"]
        rows["clip-1"]["clips"] = [f"clip-{2 * place}.wav", "clip-1.wav"]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))
    pairs = read_pairs(*runs, num_clips=1)
    keys = ("audio", "clips", "other_audio")
    assert {row["id"]: tuple(map(row.get, keys)) for row in pairs.rows} == {
        "clip-0": ("clip-0.wav", ["clip-1.wav", "clip-0.wav"], None),
        "clip-1": ("clip-1.wav", ["clip-0.wav", "clip-1.wav"], "clip-2.wav, clip-1.wav"),
        "clip-2": ("clip-2.wav", None, "elsewhere/clip-2.wav"),
    }
    assert sorted(pairs.clips) == ["clip-0.wav", "clip-1.wav"]  # of the one row that is drawn


def test_runs_of_other_clips_cannot_stand_side_by_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, second = make_evaluations(tmp_path)
    (second / "evaluation" / "answers.jsonl").write_text(json.dumps(sample(0, id="x")) + "\n")
    page = tmp_path / "page.html"
    assert main([str(first), str(second), "--html", str(page)]) == 2
    assert "have no clip in common: the first ids are 'clip-0' and 'x'" in capsys.readouterr().err
    assert not page.exists()
    assert main([str(first), str(second), "--html", str(tmp_path / "no" / "page.html")]) == 2
    assert "no such folder; --html names the file" in capsys.readouterr().err


def ids(page: Any) -> list[str]:
    return page.locator("#list article > header span:first-child").all_inner_texts()


@needs_browser
def test_the_page_of_two_runs(tmp_path: Path):
    path = tmp_path / "page.html"
    runs = [str(run) for run in make_evaluations(tmp_path, EVIL + " The pitch is high.")]
    assert main([*runs, "--html", str(path)]) == 0
    with browser() as reader:
        page = reader(path)
        assert ids(page) == ["clip-0", "clip-1", "clip-2"]
        assert "3 clips that both have answered. Left out: 1 of A alone" in page.inner_text(".lead")
        assert "seed: 1" in page.inner_text("table")
        for outcome, wanted in {
            "differ": ["clip-0", "clip-2"],
            "first": ["clip-2"],
            "second": ["clip-0"],
            "both": ["clip-1"],
            "neither": [],
        }.items():
            page.select_option("#outcome", outcome)
            assert ids(page) == wanted, outcome
        page.click("#reset")
        page.select_option("#label", "joyful")
        assert ids(page) == ["clip-1"]
        assert "gold happy in A, joyful in B" in page.inner_text("#list article")
        page.click("#reset")
        page.select_option("#sort", "reasoning")
        page.check("#up")
        assert ids(page) == ["clip-1", "clip-2", "clip-0"]  # 0, 0 and +0.5
        page.wait_for_url("**#samples&sort=reasoning&up=1")
        assert ids(reader(page.url)) == ids(page)
        columns = page.locator("#list article >> nth=2").locator("section").all_inner_texts()
        assert columns[0].startswith("A answered sad \u00b7 wrong")
        assert columns[1].startswith("B answered happy \u00b7 right")
        assert EVIL in columns[1] and "reasoning 0.75" in columns[1]
        assert page.locator("audio").count() == 3  # one a clip, not one an answer
        assert played_s(page, "audio") == pytest.approx(0.5)
        phone = reader(path, viewport={"width": 390, "height": 844}, is_mobile=True)
        assert phone.evaluate("innerWidth") == 390 and overflow(phone) == 0
