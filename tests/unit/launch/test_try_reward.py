"""Rewards tried on texts, through the command line: what is printed, and how it ends."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launch.preflight import ROOT
from launch.try_reward import main
from tests.judge_server import always, running

TINY = str(ROOT / "configs" / "tiny.yaml")
GOOD = "<think>The pitch is high, the voice is not loud.</think><answer>{}</answer>"
PROSODY = {"pitch": "high", "energy": "high"}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no demo has run, so that configs/tiny.yaml has no checkpoint and no manifest."""
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    try:
        found = main(["--config", TINY, *arguments] if "--run" not in arguments else arguments)
    except SystemExit as error:
        found = error.code
    output = capsys.readouterr()
    assert found == code, output.err
    return output.out if code == 0 else output.err


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(capsys, "--json", *arguments).splitlines()]


def two_texts() -> list[str]:
    return ["--text", GOOD.format("angry"), "--text", GOOD.format("sad"), "--label", "angry"]


def test_the_table_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    table = run(capsys, *two_texts(), "--prosody", json.dumps(PROSODY)).splitlines()
    assert table[0] == f"typed, text 1 of 2: {GOOD.format('angry')}"
    assert table[1] == "  parsed  well-formed; answer: angry (right)"
    assert table[3] == "  claims  high pitch (true), not high energy (false)"
    assert [line.split() for line in table[5:9]] == [
        ["term", "value", "weight", "reward"],
        ["format", "1", "0.3", "0.3"],
        ["accuracy", "1", "1", "1"],
        ["reasoning", "0.68", "0.5", "0.34"],
    ]
    assert table[9].split() == ["total", "1.64"]
    assert "answer: sad (wrong, gold: angry)" in table[11]
    assert table[-1] == "weights are those without the schedule of reasoning"


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = rows(capsys, *two_texts(), "--prosody", json.dumps(PROSODY))
    assert first["total"] == pytest.approx(1.64) and second["total"] == pytest.approx(0.64)
    assert first["terms"]["accuracy"]["contribution"] == 1.0
    assert second["parsed"] == {
        "well_formed": True,
        "fault": None,
        "answer": "sad",
        "right": False,
        "think": "The pitch is high, the voice is not loud.",
    }
    assert [claim["truth"] for claim in first["claims"]] == [1.0, 0.0]


def test_what_is_left_out_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    one = ["--text", GOOD.format("angry"), "--label", "angry"]
    (typed,) = rows(capsys, *one)
    assert typed["terms"]["reasoning"]["note"] == "not scored: no prosody in the manifest"
    (alone,) = rows(capsys, *one, "--prosody", json.dumps(PROSODY))
    assert alone["total"] == 1.3
    assert "rewards.trust.one_sided" in alone["terms"]["reasoning"]["note"]
    (cut,) = rows(capsys, "--text", GOOD.format("angry"), "--label", "angry", "--cut")
    assert cut["parsed"]["fault"] == "truncated" and cut["total"] == 0.0
    (less,) = rows(capsys, "--text", "x", "--label", "sad", "--without", "reasoning")
    assert less["terms"]["reasoning"]["note"] == "not asked: left out by --without"
    judge = "rewards.terms.2.options={judge: 'rewards.judges.local:LocalJudge'}"
    (local,) = rows(capsys, "--text", "x", "--label", "sad", judge)
    assert "its judge runs a model" in local["terms"]["reasoning"]["note"]


def test_a_judge_behind_a_server_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with running(always("ok 4")) as server:
        judge = (
            "rewards.terms.2.options={judge: 'rewards.judges.http:HttpJudge', "
            f"judge_options: {{url: '{server.url}', model: judge}}}}"
        )
        first, second = rows(capsys, *two_texts(), "--prosody", json.dumps(PROSODY), judge)
    assert len(server.bodies) == 1, "equal reasonings are asked about once"
    assert first["terms"]["reasoning"]["value"] == 0.8 and second["total"] == pytest.approx(0.7)


def test_settings_over_the_file_count(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = rows(
        capsys, "--text", GOOD.format("sad"), "--label", "sad", "rewards.terms.1.weight=7"
    )
    assert row["total"] == 7.3


def test_the_length_penalty_needs_a_length(capsys: pytest.CaptureFixture[str]) -> None:
    length = [
        "--without",
        "reasoning",
        "--text",
        "x",
        "--label",
        "sad",
        "rewards.terms.0={name: length, target: 'rewards.length:OverlongPenalty', "
        "options: {cache_tokens: 16}}",
    ]
    (unknown,) = rows(capsys, *length)
    assert unknown["terms"]["length"]["value"] is None
    (known,) = rows(capsys, *length, "--tokens", "40")
    assert known["terms"]["length"]["value"] == -0.5


def test_a_file_of_plain_texts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_text(f"{GOOD.format('sad')}\n---\nnothing\nof it\n", encoding="utf-8")
    first, second = rows(capsys, "--texts", str(path), "--label", "sad")
    assert first["parsed"]["right"] and second["text"] == "nothing\nof it"


def corpus(folder: Path) -> list[str]:
    """A manifest of two rows, and the settings that name it."""
    (folder / "a.wav").write_bytes(b"RIFF")
    (folder / "manifest.jsonl").write_text(
        "".join(
            json.dumps({"id": name, "audio": "a.wav", "label": label, "prosody": PROSODY}) + "\n"
            for name, label in (("c1", "happy"), ("c2", "sad"))
        )
    )
    return [f"data.manifest={folder / 'manifest.jsonl'}", f"data.audio_root={folder}"]


def test_rows_of_the_manifest(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = corpus(tmp_path)
    (row,) = rows(capsys, "--text", GOOD.format("happy"), "--row", "c1", *settings)
    assert row["parsed"]["right"] and row["claims"][0]["truth"] == 1.0
    (row,) = rows(
        capsys, "--text", GOOD.format("happy"), "--row", "c1", "--label", "sad", *settings
    )
    assert row["parsed"]["right"] is False
    path = tmp_path / "answers.jsonl"
    lines = [
        {"text": GOOD.format("happy"), "id": "c1"},
        {"text": GOOD.format("sad"), "label": "sad", "num_tokens": 3},
        {"text": GOOD.format("sad"), "id": "c1", "finish_reason": "length"},
        {"text": GOOD.format("fear"), "id": "new", "label": "fear"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    found = rows(capsys, "--texts", str(path), *settings)
    assert [(row["id"], row["parsed"]["fault"]) for row in found] == [
        ("c1", None),
        ("c1", "truncated"),
        ("typed", None),
        ("new", None),
    ]
    assert found[2]["tokens"] == 3


def test_samples_of_a_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    settings = corpus(tmp_path)
    run_folder = tmp_path / "run"
    (run_folder / "samples").mkdir(parents=True)
    (run_folder / "config.yaml").write_text(f"defaults: {TINY}\nname: run\n")
    for step, answers in ((1, ["sad"]), (2, ["happy", "sad"])):
        samples = [
            {"id": name, "group": group, "text": GOOD.format(answer), "finish_reason": "stop"}
            for group, name in enumerate(("c1", "c2"))
            for answer in answers
        ]
        # Of a clip that was moved, which the row says nothing of.
        samples.append({**samples[0], "group": 2, "correct": None})
        text = "".join(json.dumps(sample) + "\n" for sample in samples)
        (run_folder / "samples" / f"step_{step:06d}.jsonl").write_text(text)
    found = rows(capsys, "--run", str(run_folder), *settings)
    assert [(row["id"], row["parsed"]["right"]) for row in found] == [
        ("c1", True),
        ("c1", False),
        ("c2", False),
        ("c2", True),
    ]
    assert len(rows(capsys, "--run", str(run_folder), "--row", "c2", "--step", "1", *settings)) == 1
    error = run(capsys, "--run", str(run_folder), "--step", "7", *settings, code=2)
    assert "has no samples of step 7; there are steps 1, 2 (log.samples_every)" in error
    error = run(capsys, "--run", str(tmp_path), code=2)
    assert error == f"error: {tmp_path}: is no run folder; it has no config.yaml\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--text", "x"], "nothing says what the right answer is; give --label LABEL"),
        (["--text", "x", "--label", "anger"], "label 'anger' is none of the choices: neutral"),
        (["--text", " ", "--label", "sad"], "a text is empty"),
        (["--text", "x", "--label", "sad", "--without", "judge"], "--without judge: no such term"),
        (["--text", "x", "--label", "sad", "--tokens", "0"], "a text has at least 1 token"),
        (["--text", "x", "--prosody", "[]"], "needs a JSON object"),
        (["--texts", "gone.txt", "--label", "sad"], "gone.txt: cannot be read"),
        (["--text", "x", "--label", "sad", "rewards.terms.0.weigh=1"], "weigh"),
        (
            ["--text", "x", "--label", "sad", "rewards.terms.0.target=rewards.gone:Gone"],
            "rewards.terms: 'format' cannot be built: RewardError: reward target",
        ),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    error = run(capsys, *arguments, code=2)
    assert message in error and "Traceback" not in error


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "needs an object with 'text', a text"),
        ('{"text": "x", "labl": "sad"}', "unknown 'labl'; allowed are text, id"),
        ('{"text": "x", "choices": "sad"}', "'choices' is 'sad', expected list"),
        ('{"text": "x", "num_tokens": 0}', "num_tokens is 0; a text has at least 1"),
        ('{"text": "x", "finish_reason": "cut"}', "finish_reason is 'cut': stop or length"),
    ],
)
def test_bad_lines_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(f'{{"text": "x", "label": "sad"}}\n\n{line}\n', encoding="utf-8")
    error = run(capsys, "--texts", str(path), code=2)
    assert error.startswith(f"error: {path}:3: ") and message in error


def test_a_reward_that_fails_ends_with_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("raise\n"))
    spoken = [
        "rewards.packages=[rewards, tests]",
        "rewards.terms.0.target=tests.unit.toy_rewards:Spoken",
    ]
    assert main(["--config", TINY, "--label", "sad", *spoken]) == 4
    output = capsys.readouterr()
    assert "not scored: " in output.out
    assert output.err.startswith("error: reward 'format': ")


@pytest.mark.slow
def test_it_runs_as_a_command_and_needs_no_model_library(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code = (
        "import json, sys; from launch.try_reward import main; "
        f"main(['--config', {TINY!r}, '--label', 'sad', '--json']); "
        "print(sorted({'torch', 'ray', 'vllm', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=GOOD.format("sad"),
        capture_output=True,
        text=True,
        check=True,
    )
    result, loaded = done.stdout.splitlines()
    assert json.loads(result)["total"] == 1.3 and loaded == "[]"
