"""A checkpoint evaluated by one command, with altered clips, and compared with itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.jsonl import read_rows
from launch.compare import main as compare
from tests.e2e.command import Shell, command
from tests.e2e.conftest import WriteConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_checkpoint_on_a_manifest(
    tmp_path: Path, write_config: WriteConfig, shell: Shell, capsys: pytest.CaptureFixture[str]
):
    config = write_config(tmp_path)
    settings = {"eval.controls": "[silence, shuffle, energy_up, pitch_up]", "eval.judged": True}
    for name in ("first", "second"):
        done = shell.run(*command("evaluate", config, {**settings, "name": name}))
        assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "first" / "evaluation"
    rows = read_rows(folder / "answers.jsonl")
    assert len(rows) == 18 and all(row["speaker"] and row["dataset"] for row in rows)
    controls = {path.stem for path in (folder / "controls").glob("*.jsonl")}
    assert controls == {"silence", "shuffle", "resynthesis", "energy_up", "pitch_up"}
    ids = [row["id"] for row in rows]
    for name in controls:
        altered = read_rows(folder / "controls" / f"{name}.jsonl")
        assert [row["id"] for row in altered] == ids
        assert [row["label"] for row in altered] == [row["label"] for row in rows]
    # Same clips, same question: what the policy says of silence is not what it says of speech.
    texts = [row["text"] for row in rows]
    assert texts != [row["text"] for row in read_rows(folder / "controls" / "silence.jsonl")]
    (metrics,) = read_rows(tmp_path / "runs" / "first" / "metrics.jsonl")
    share = sum(row["correct"] for row in rows) / 18
    assert metrics["test_after/accuracy"] == pytest.approx(share)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["overall"]["accuracy"] == pytest.approx(share)
    page = (folder / "report.md").read_text()
    assert "18 clips, greedy answers" in page and "| silence |" in page
    runs = [str(tmp_path / "runs" / name) for name in ("first", "second")]
    assert compare(runs) == 0
    assert "difference +0.0 points" in capsys.readouterr().out
    assert compare([runs[0], str(tmp_path)]) == 2
    assert "evaluate with launch/evaluate.py first" in capsys.readouterr().err


def test_an_unknown_control_is_refused(tmp_path: Path, write_config: WriteConfig, shell: Shell):
    done = shell.run(*command("evaluate", write_config(tmp_path), {"eval.controls": "[silense]"}))
    assert done.returncode == 2
    assert "did you mean silence?" in done.stderr
