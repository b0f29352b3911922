"""The checks as a command: what it prints, its JSON, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.doctor import main
from launch.preflight import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster, no job, no token of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith("RAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))


def tiny(tmp_path: Path, checkpoint: Path) -> list[str]:
    """Arguments of a run whose files all exist."""
    (tmp_path / "manifest.jsonl").write_text("{}\n", encoding="utf-8")
    return [
        "--config",
        "configs/tiny.yaml",
        f"model.path={checkpoint}",
        f"data.manifest={tmp_path / 'manifest.jsonl'}",
        f"data.audio_root={tmp_path}",
        f"output_dir={tmp_path / 'runs'}",
    ]


def test_a_run_that_may_start(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(tiny(tmp_path, tiny_checkpoint)) == 0
    printed = capsys.readouterr().out
    assert "learner rank x 1" in printed and "engine x 1" in printed
    assert "0 errors" in printed
    assert not (tmp_path / "runs").exists()


def test_json(tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*tiny(tmp_path, tiny_checkpoint), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] is True
    assert {problem["level"] for problem in report["problems"]} <= {"warning"}
    learner, engine, _ = report["memory"]["roles"]
    weights = {figure["name"]: figure for figure in learner["figures"]}["weights"]
    assert weights["basis"] == "exact"
    (cache,) = [f["bytes"] for f in engine["figures"] if f["name"] == "key-value cache"]
    assert cache == 2**28
    assert learner["peak_backward"] > learner["peak_step"] > weights["bytes"]


def test_a_run_that_would_be_stopped(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*tiny(tmp_path, tiny_checkpoint), f"data.audio_root={tmp_path / 'nowhere'}"]
    assert main(arguments) == 3
    assert "error: data.audio_root: no folder" in capsys.readouterr().out
    assert main([*arguments, f"model.path={tmp_path}", "--json"]) == 3
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] is False and report["memory"] is None
    assert len([p for p in report["problems"] if p["level"] == "error"]) == 2


def test_a_wrong_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "configs/tiny.yaml", "rollout.num_engins=2"]) == 2
    assert "num_engins" in capsys.readouterr().err
    assert main(["--config", str(tmp_path / "no.yaml"), "--json"]) == 2
    assert "no.yaml" in json.loads(capsys.readouterr().out)["error"]
    with pytest.raises(SystemExit) as error:
        main(["rollout.num_engines=2"])
    assert error.value.code == 2


def test_the_machine_alone_as_a_command(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret", encoding="utf-8")
    token.chmod(0o644)
    command = [sys.executable, str(ROOT / "launch" / "doctor.py"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert "memory" not in report and isinstance(report["gpus"], list)
    assert any("mode 644" in problem["what"] for problem in report["problems"])
