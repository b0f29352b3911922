"""Benchmarks in their public layouts: which rows are taken, and as what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from data.manifest import read_manifest
from data.options import is_lettered
from launch.annotate import main
from tests.unit.source_files import write_wav


def made(kind: str, root: Path, output: Path) -> list[dict[str, Any]]:
    assert (
        main([f"corpus={kind}", f"root={root}", f"output={output}", "reasoning.source=none"]) == 0
    )
    return [json.loads(line) for line in (output / "corpus.jsonl").read_text().splitlines()]


def mmau_row(name: str, kind: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "audio_id": f"./test-mini-audios/{name}.wav",
        "question": "How does she feel?",
        "choices": ["Anger", "Sadness"],
        "answer": "Sadness",
        "dataset": "MELD",
        "task": "speech",
        "split": "test-mini",
        "category": "Reasoning",
        "sub-category": kind,
        "difficulty": "hard",
        **more,
    }


def test_mmau(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    root = tmp_path / "MMAU"
    rows = [
        mmau_row("a", "Emotion Flip Detection"),
        mmau_row("b", "Emotion State summarisation", choices=["Joy", "sadness", "Fear"]),
        mmau_row("c", "Counting"),
        mmau_row("d", "Emotional Tone Interpretation", task="music"),
        mmau_row("e", "Emotion Flip Detection", answer="Joy"),
    ]
    for number, row in enumerate(rows):
        write_wav(root / row["audio_id"], number)
    (root / "mmau-test-mini.json").write_text(json.dumps(rows))
    found = made("mmau", root, tmp_path / "out")
    assert [row["id"] for row in found] == ["MMAU/a", "MMAU/b"]
    assert found[0]["scoring"] == {
        "rule": "mmau",
        "sub-category": "Emotion Flip Detection",
        "difficulty": "hard",
    }
    assert found[0]["question"] == "How does she feel?\n(A) Anger\n(B) Sadness"
    # The answer is spelled as its choice is.
    assert (found[1]["label"], found[1]["target"]) == ("sadness", "<answer>sadness</answer>")
    assert {row["split"] for row in found} == {"test"}
    assert "left out: 1: questions whose answer is none of their choices" in caplog.text
    assert "1 Emotion State summarisation" in caplog.text
    manifest = tmp_path / "out" / "manifest.jsonl"
    read = read_manifest(manifest, audio_root=root, choices=["neutral"], question_template="?")
    assert all(is_lettered(row.question, row.choices) and row.scoring for row in read)


def write_parquet(path: Path, rows: list[dict[str, Any]], audio: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        clip = path.parent / "clip.wav"
        write_wav(clip, number)
        row[audio] = {"bytes": clip.read_bytes(), "path": None}
        clip.unlink()
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.slow
def test_mmau_as_parquet_is_what_its_json_is(tmp_path: Path):
    rows = [
        mmau_row("a", "Emotion Flip Detection", choices=["(A) Anger", "(B) Sadness"]),
        mmau_row("b", "Counting"),
        mmau_row("c", "Emotion State summarisation"),
    ]
    for row in rows:
        del row["audio_id"]
    rows[0]["answer"] = "(B) Sadness"
    nested = [
        {
            "instruction": row["question"],
            "choices": row["choices"],
            "answer": row["answer"],
            "other_attributes": json.dumps(
                {name: row[name] for name in ("id", "task", "sub-category", "difficulty")}
            ),
        }
        for row in rows
    ]
    flat = [{**row, "choices": json.dumps(row["choices"])} for row in rows]
    write_parquet(tmp_path / "nested/MMAU/test_mini.parquet", nested, "context")
    write_parquet(tmp_path / "flat/MMAU/data/test_mini-00000-of-00001.parquet", flat, "audio")
    found, same = (
        made("mmau", tmp_path / kind / "MMAU", tmp_path / f"out-{kind}")
        for kind in ("nested", "flat")
    )
    assert found == same
    assert [row["id"] for row in found] == ["MMAU/a", "MMAU/c"]
    assert found[0]["question"] == "How does she feel?\n(A) Anger\n(B) Sadness"
    assert (found[0]["label"], found[0]["choices"]) == ("Sadness", ["Anger", "Sadness"])
    assert found[0]["scoring"]["difficulty"] == "hard"


def test_mmsu(tmp_path: Path):
    def row(name: str, task: str, **more: Any) -> dict[str, Any]:
        options = {
            f"choice_{key}": text
            for key, text in zip("abcd", ("joy", "fear", "a", "b"), strict=True)
        }
        told = {"id": name, "task_name": task, "question": "Which?", **options, "answer_gt": "fear"}
        groups = {"category": "Perception", "sub-category": "Paralinguistics"}
        return {**told, **groups, "sub-sub-category": "Speaking style", **more}

    rows = [row("1", "emotion_recognition"), row("2", "accent_identification")]
    rows.append(row("3", "emotion_recognition", choice_d=None))
    write_parquet(tmp_path / "MMSU/data/train-00000-of-00001.parquet", rows, "audio")
    found = made("mmsu", tmp_path / "MMSU", tmp_path / "out")
    assert [row["id"] for row in found] == ["MMSU/1", "MMSU/3"]
    assert found[0]["question"] == "Which?\nA. joy\nB. fear\nC. a\nD. b"
    assert found[1]["choices"] == ["joy", "fear", "a"]
    assert found[0]["scoring"]["task_name"] == "emotion_recognition"


def test_audiobench(tmp_path: Path):
    answers = ["sadness", "The speaker sounds angry: anger.", "joy and fear"]
    rows = [{"answer": text, "instruction": "?"} for text in answers]
    root = tmp_path / "meld_emotion_test"
    write_parquet(root / "data/test-00000-of-00001.parquet", rows, "context")
    arguments = ["corpus=audiobench_meld", f"root={root}", "reasoning.source=none"]
    assert main([*arguments, f"output={tmp_path / 'out'}"]) == 2  # one answer is no single label
    output = tmp_path / "skipped"
    assert main([*arguments, f"output={output}", "source.missing=skip"]) == 0
    found = [json.loads(line) for line in (output / "corpus.jsonl").read_text().splitlines()]
    assert [row["label"] for row in found] == ["sadness", "anger"]
    assert "(neutral, joy, disgust, sadness, surprise, anger, fear)?" in found[0]["question"]
    assert found[0]["scoring"] == {"rule": "audiobench_meld"}


def test_files_that_are_none_of_a_benchmark_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "x.json").write_text(json.dumps([{"id": "1", "task": "speech"}]))
    arguments = [f"root={tmp_path}", f"output={tmp_path.parent / 'o'}", "reasoning.source=none"]
    assert main(["corpus=mmau", *arguments]) == 2
    assert "x.json:1: has no text 'sub-category'" in capsys.readouterr().err
    (tmp_path / "x.json").write_text(json.dumps([mmau_row("1", "Counting")]))
    assert main(["corpus=mmau", *arguments]) == 2
    assert "no row is about emotions" in capsys.readouterr().err
