"""A checkpoint evaluated by one command: as in its training, and in direct mode on benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.files import read_rows, write_rows
from launch.compare import main as compare
from launch.tables import main as tables
from tests.e2e.command import RunFiles, Shell, command
from tests.e2e.conftest import WriteConfig
from tests.unit.trainer.test_metrics import documented_keys

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

DOCUMENTED = documented_keys((Path(__file__).parents[2] / "docs/metrics.md").read_text())


def summary_of(run: Path) -> dict[str, Any]:
    return json.loads((run / "evaluation" / "summary.json").read_text())


def metrics_of(run: Path) -> dict[str, float]:
    """Return the one row of metrics; every key of it is documented."""
    (metrics,) = read_rows(run / "metrics.jsonl")
    for key in metrics.keys() - {"step"}:
        names = (key, key.replace("test_after/", "eval/"))  # one row for both
        assert any(pattern.fullmatch(name) for pattern in DOCUMENTED for name in names), key
    return metrics


def test_the_export_of_a_run_answers_as_the_run_did(
    tmp_path: Path,
    write_config: WriteConfig,
    shell: Shell,
    finished_run: RunFiles,
    capsys: pytest.CaptureFixture[str],
):
    settings = {
        "model.path": finished_run.root / "export",
        "eval.controls": "[silence, shuffle, energy_up, pitch_up]",
        "eval.control_samples": 2,
        "eval.samples": 3,
        "eval.latency_clips": 2,
    }
    done = shell.run(*command("evaluate", write_config(tmp_path), settings))
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    folder = run / "evaluation"
    rows = read_rows(folder / "answers.jsonl")
    assert len(rows) == 18 and all(row["speaker"] and row["dataset"] for row in rows)

    trained = read_rows(finished_run.root / "evaluation" / "answers.jsonl")
    assert [row["text"] for row in trained] == [row["text"] for row in rows]
    last = finished_run.rows()[-1]
    metrics = metrics_of(run)
    share = sum(row["correct"] for row in rows) / 18
    assert metrics["test_after/accuracy"] == last["test_after/accuracy"] == pytest.approx(share)
    assert summary_of(run)["confusion"] == summary_of(finished_run.root)["confusion"]
    assert compare([str(finished_run.root), str(run)]) == 0
    assert "difference +0.0 points" in capsys.readouterr().out
    assert compare([str(run), str(tmp_path)]) == 2
    assert "evaluate with launch/evaluate.py first" in capsys.readouterr().err

    controls = {path.stem for path in (folder / "controls").glob("*.jsonl")}
    assert controls == {"silence", "shuffle", "resynthesis", "energy_up", "pitch_up"}
    for name in controls:
        altered = read_rows(folder / "controls" / f"{name}.jsonl")
        assert [row["id"] for row in altered] == [row["id"] for row in rows]
        assert [row["label"] for row in altered] == [row["label"] for row in rows]
    for row in read_rows(folder / "controls" / "pitch_up.jsonl"):
        assert isinstance(row["clean"], bool) and len(row["levels"]["pitch"]) == 2
    summary = summary_of(run)["sets"]["test"]
    assert set(summary["shifts"]) == {"energy_up", "pitch_up"}
    assert summary["shifts"]["energy_up"]["num_clips"] == 18
    assert summary["shifts"]["energy_up"]["num_unclean"] < 18
    assert len(rows[0]["vote_claims"]) == 3 and summary["faithfulness"]["num_groups"] >= 0
    # Same clips, same question: what the policy says of silence is not what it says of speech.
    texts = [row["text"] for row in rows]
    assert texts != [row["text"] for row in read_rows(folder / "controls" / "silence.jsonl")]
    assert 0 < metrics["perf/latency_p50_s"] <= metrics["perf/latency_p95_s"]
    page = (folder / "report.md").read_text()
    assert "with their reasoning" in page and "| silence |" in page and "2 clips one after" in page
    assert "### Hearing" in page


def benchmarks(corpus: Path, folder: Path) -> str:
    """Write a benchmark of four labels and a probe of six clips each; return their setting."""
    rows = read_rows(corpus / "manifest.jsonl")
    labels = ["sad", "angry", "happy", "fear"]
    few = [row for row in rows if row["split"] == "test" and row["label"] in labels][:6]
    write_rows(folder / "few.jsonl", few)
    probe = {
        "label": "high",
        "choices": ["low", "high"],
        "task": "pitch",
        "question": "Is the pitch low or high?",
        "target": "<answer>high</answer>",
    }
    write_rows(folder / "pitch.jsonl", [{**row, **probe} for row in few])
    return (
        f"[{{name: few, manifest: {folder}/few.jsonl, choices: [{', '.join(labels)}]}}, "
        f"{{name: pitch, manifest: {folder}/pitch.jsonl}}]"
    )


def test_direct_answers_and_samples_on_benchmarks(
    tmp_path: Path,
    write_config: WriteConfig,
    shell: Shell,
    corpus: Path,
    capsys: pytest.CaptureFixture[str],
):
    settings = {
        "eval.test_split": "''",
        "eval.benchmarks": benchmarks(corpus, tmp_path),
        "eval.mode": "direct",
        "eval.samples": 3,
        "eval.latency_clips": 0,
        "eval.controls": "[energy_down]",
        "data.manifest": tmp_path / "none.jsonl",
    }
    done = shell.run(*command("evaluate", write_config(tmp_path), settings))
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "run"
    rows = read_rows(run / "evaluation" / "answers.jsonl")
    assert [row["benchmark"] for row in rows] == ["few"] * 6 + ["pitch"] * 6
    assert all(row["text"].startswith("<answer>") and len(row["votes"]) == 3 for row in rows)
    summary = summary_of(run)
    assert summary["mode"] == "direct"
    assert summary["sets"]["few"]["choices"] == ["sad", "angry", "happy", "fear"]
    assert summary["sets"]["pitch"]["choices"] == ["low", "high"]
    assert summary["means"]["sets"] == ["few"]
    metrics = metrics_of(run)
    right = sum(row["correct"] for row in rows[:6])
    assert metrics["bench/micro_accuracy"] == metrics["bench/few_accuracy"] == right / 6
    for key in ("pitch_accuracy", "few_vote_accuracy", "few_control_energy_down_accuracy"):
        assert 0 <= metrics[f"bench/{key}"] <= 1
    assert not any(key.startswith(("test_after/", "perf/")) for key in metrics)
    assert "direct: begun with `<answer>`" in (run / "evaluation" / "report.md").read_text()
    assert tables([f"mine={run}", "--probes", str(run), str(run)]) == 0
    printed = capsys.readouterr().out
    assert f"| mine | {100 * right / 6:.2f} |" in printed and "direct answers" in printed


def test_an_unknown_control_is_refused(tmp_path: Path, write_config: WriteConfig, shell: Shell):
    done = shell.run(*command("evaluate", write_config(tmp_path), {"eval.controls": "[silense]"}))
    assert done.returncode == 2
    assert "did you mean silence?" in done.stderr
