"""The data pipeline in one command: what it leaves, what it refuses, and what a kill costs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from configs.schema import NINE_LABELS
from data.manifest import read_manifest
from demo.corpus import build_corpus
from launch.annotate import main
from rewards.judges.rows import read_judge_rows
from tests.unit.annotate.test_corpus_ravdess import build as build_ravdess
from tests.unit.corpus_files import write_clip

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
FILES = ("corpus.jsonl", "prosody.jsonl", "manifest.jsonl", "sft.jsonl", "judge.jsonl")

Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synthetic") / "corpus"
    build_corpus(root, num_train=90, num_eval=9, num_test=18, num_cold_start=9, seed=1)
    return root


def settings(corpus: Path, output: Path) -> list[str]:
    return [
        f"manifest={corpus / 'manifest.jsonl'}",
        f"root={corpus}",
        f"output={output}",
        "splits.allow=[transcript]",
        "reasoning.review=5",
        "tasks.num_rows=200",
        "judge.num_rows=60",
    ]


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run."""
    output = tmp_path_factory.mktemp("whole") / "data"
    assert main(settings(corpus, output)) == 0
    return output


def test_every_file_is_there_and_can_be_read(corpus: Path, whole: Path):
    manifest = rows_of(whole / "manifest.jsonl")
    assert len(manifest) == 126
    train = [row for row in manifest if row["split"] == "train"]
    assert len(train) == 90 and all(row["prosody"] and row["reasoning"] for row in train)
    # The corpus brings reasoning of its own, which is kept where none is asked for.
    told = {row["id"]: row["reasoning"] for row in rows_of(corpus / "manifest.jsonl")}
    assert all(row["reasoning"] == told[row["id"]] for row in manifest if row["split"] == "test")
    assert all(row["reasoning"] != told[row["id"]] for row in train)
    sft = rows_of(whole / "sft.jsonl")
    assert len(sft) == 200 and {row["split"] for row in sft} == {"train"}
    root = Path(os.path.commonpath([corpus, whole]))
    examples = read_manifest(
        whole / "sft.jsonl", audio_root=root, choices=["any"], question_template="?"
    )
    assert [example.target for example in examples] == [row["target"] for row in sft]
    judge = rows_of(whole / "judge.jsonl")
    assert len(judge) == 60 and all(1 <= s <= 5 for row in judge for s in row["scores"].values())
    assert (whole / "review.html").read_text().count("<article") == 5


def test_a_second_run_does_nothing(corpus: Path, whole: Path, caplog: pytest.LogCaptureFixture):
    before = {name: (whole / name).stat().st_mtime_ns for name in FILES}
    assert main(settings(corpus, whole)) == 0
    use = f"for a run: data.manifest={whole / 'manifest.jsonl'} data.audio_root={corpus}"
    assert caplog.messages == [*(f"{name}: done before" for name in FILES), use]
    assert {name: (whole / name).stat().st_mtime_ns for name in FILES} == before


def test_held_out_judge_rows_leave_the_others_as_they_were(
    corpus: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "data"
    shutil.copytree(whole, output)
    assert main([*settings(corpus, output), "judge.num_test_rows=15"]) == 0
    assert "judge.jsonl: 75 rows; 60 prescribed, 15 held_out" in capsys.readouterr().out
    rows = read_judge_rows(
        output / "judge.jsonl", audio_root=corpus, choices=NINE_LABELS, question_template="?"
    )
    before = rows_of(whole / "judge.jsonl")
    assert [row for row in rows_of(output / "judge.jsonl") if row["split"] == "train"] == before
    test = [row.example for row in rows if row.example.split == "test"]
    assert len(test) == 15 and all(example.id.startswith("held_out/") for example in test)
    assert not {example.speaker for example in test} & {row["speaker"] for row in before}
    wanted = [*settings(corpus, output), "judge.num_test_rows=9", "judge.test_split=none"]
    assert main(wanted) == 2
    assert "judge.test_split 'none': no row" in capsys.readouterr().err


def test_a_changed_setting_redoes_what_depends_on_it(
    corpus: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    output = tmp_path / "data"
    shutil.copytree(whole, output)
    assert main([*settings(corpus, output), "judge.num_rows=40"]) == 0
    said = capsys.readouterr().out
    assert "sft.jsonl: done before" in said and "judge.jsonl: 40 rows" in said
    assert main([*settings(corpus, output), "reasoning.min_words=20"]) == 0
    said = capsys.readouterr().out
    assert "prosody.jsonl: done before" in said and "rows have reasoning" in said


def lines_in(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(
    ("watched", "least"),
    [("prosody.jsonl.cache.jsonl", 20), ("reasoning.attempts.jsonl", 30), ("altered", 6)],
)
def test_a_killed_run_goes_on(corpus: Path, whole: Path, tmp_path: Path, watched: str, least: int):
    """SIGKILL in the middle of a stage; the next run ends with the bytes of an unbroken one."""
    output = whole.parent / f"killed-{watched}"
    command = [sys.executable, "launch/annotate.py", *settings(corpus, output)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    place = output / watched

    def progress() -> int:
        return len(list(place.rglob("*.wav"))) if watched == "altered" else lines_in(place)

    while progress() < least:
        assert run.poll() is None, "ended before it could be killed"
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (output / "judge.jsonl").exists()
    kept = progress()
    made = {path: path.stat().st_mtime_ns for path in (output / "altered").rglob("*.wav")}
    assert main(settings(corpus, output)) == 0
    for name in FILES:
        old, new = (whole / name).read_text(), (output / name).read_text()
        assert new.replace(output.name, whole.name) == old, name
    # What was there was not made again.
    if watched == "prosody.jsonl.cache.jsonl":
        hashes = [json.loads(line)["sha256"] for line in complete_lines(place)]
        assert len(hashes) == len(set(hashes)) == 126
    elif watched == "reasoning.attempts.jsonl":
        assert len(complete_lines(place)) == len(complete_lines(whole / watched))
    assert kept >= least
    for path, mtime in made.items():
        assert path.stat().st_mtime_ns == mtime


def complete_lines(path: Path) -> list[str]:
    """Lines that are whole: a kill may have cut one."""
    found = []
    for line in path.read_text().splitlines():
        try:
            json.loads(line)
        except json.JSONDecodeError:
            continue
        found.append(line)
    return found


def test_a_corpus_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, output = tmp_path / "RAVDESS", tmp_path / "data"
    build_ravdess(root)
    for index, name in enumerate(
        ("Actor_04/03-01-03-01-01-01-04", "Actor_03/03-01-04-01-01-01-03")
    ):
        write_clip(root / f"{name}.wav", hz=150 + index, rate_hz=48000)
    arguments = ["corpus=ravdess", f"root={root}", f"output={output}", "splits.test_frac=0.3"]
    assert main([*arguments, "reasoning.source=none"]) == 0
    said = capsys.readouterr().out
    assert "merged: neutral + calm -> neutral" in said
    assert "allowed: transcript in several splits: two sentences, said by everyone" in said
    rows = rows_of(output / "manifest.jsonl")
    by_speaker = {
        row["speaker"]: {r["split"] for r in rows if r["speaker"] == row["speaker"]} for row in rows
    }
    assert all(len(splits) == 1 for splits in by_speaker.values())
    assert main([*arguments, "root=" + str(tmp_path / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_leak_stops_it(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = rows_of(corpus / "manifest.jsonl")
    rows[0]["split"] = "test"
    manifest = tmp_path / "mine.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [*settings(corpus, tmp_path / "data"), f"manifest={manifest}"]
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "LEAK" in said.out and rows[0]["speaker"] in said.out
    assert "say splits.allow=[" in said.err
    assert main([*arguments, "splits.allow=[transcript, speaker]", "reasoning.source=none"]) == 0


def test_the_sft_file_is_trained_on(
    corpus: Path, whole: Path, tiny_checkpoint: Path, tmp_path: Path
):
    """Clips, altered clips and text-only rows, through launch/sft.py."""
    config = tmp_path / "sft.yaml"
    config.write_text(
        f"defaults: {ROOT}/configs/tiny_sft.yaml\n"
        f"name: run\noutput_dir: {tmp_path}/runs\n"
        f"model: {{path: {tiny_checkpoint}}}\n"
        f"data: {{manifest: {whole}/sft.jsonl, audio_root: {os.path.commonpath([corpus, whole])},"
        " train_split: train}\n"
        "train: {num_steps: 6, prompts_per_step: 16}\noptim: {warmup_steps: 1}\n"
    )
    assert sum(not row["audio"] for row in rows_of(whole / "sft.jsonl")) > 5
    done = subprocess.run(
        [sys.executable, "launch/sft.py", "--config", str(config)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = [
        row["sft/nll"] for row in rows_of(tmp_path / "runs/run/metrics.jsonl") if "sft/nll" in row
    ]
    assert len(losses) == 6 and losses[-1] < losses[0] - 1
