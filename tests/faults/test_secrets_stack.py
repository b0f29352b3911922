"""A key through a run of the real stack: every file that it leaves, and all that it prints."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from configs.secrets import HIDDEN
from tests.e2e.command import Shell, command
from tests.e2e.conftest import WriteConfig
from tests.faults.test_secrets import HEADER, SECRET, leaks
from tests.judge_server import JudgeServer, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

ITEMS = ("ok 4", "ok 2", "echo 500", "ok 3", "ok 5", "echo 200", "ok 2", f"text {HEADER}", "drop")
"""What the judge's server does, in turn; the echoes are of the request's headers."""

SETTINGS = {
    "train.num_steps": 2,
    "train.prompts_per_step": 4,
    "eval.max_examples": 4,
    "eval.every_steps": 2,
    "eval.test_split": "''",
    "eval.judged": True,
    "checkpoint.every_steps": 1,
    "parity.num_clips": 2,
    "log.report": True,
    "log.samples_every": 1,
    "log.trackers": "[tensorboard]",
}


def terms(server: JudgeServer) -> str:
    judged = {
        "name": "reasoning",
        "target": "tests.faults.leaky_rewards:AlwaysJudged",
        "weight": 0.5,
        "judged": True,
        "options": {
            "judge": "rewards.judges.http:HttpJudge",
            "judge_options": {
                "url": server.url,
                "model": "m",
                "api_key_env": "JUDGE_DOOR",
                "max_attempts": 1,
                "max_concurrent_calls": 2,
            },
        },
    }
    leaky = {
        "name": "leaky",
        "target": "tests.faults.leaky_rewards:Leaky",
        "weight": 0.1,
        "options": {"key_env": "JUDGE_DOOR"},
    }
    accuracy = {"name": "accuracy", "target": "rewards.accuracy:AccuracyReward", "weight": 1.0}
    return json.dumps([accuracy, judged, leaky])


def contents(*folders: Path) -> dict[str, str]:
    """Return the bytes of all files as text."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes().decode("latin-1") for path in files}


@pytest.mark.fault(
    "a whole run with a judge's key; the judge and a plug-in repeat it in errors, texts and logs",
    happens="it stands in no file of the run folder, of Ray and of caches, and in no output",
    lost="nothing",
)
def test_the_key_of_a_run_stands_nowhere(tmp_path: Path, write_config: WriteConfig, shell: Shell):
    def script(number: int, body: dict[str, Any]) -> str:
        return ITEMS[number % len(ITEMS)]

    with running(script) as server:
        settings = {**SETTINGS, "rewards.terms": terms(server)}
        argv = command("rl", write_config(tmp_path), settings)
        done = shell.run(*argv, JUDGE_DOOR=SECRET, PYTHONUNBUFFERED="1")
        asked = Counter(headers.get("Authorization") for headers in server.headers)
    assert done.returncode == 0, done.stderr
    # The faults have fired.
    assert asked.keys() == {HEADER} and asked[HEADER] > 2 * len(ITEMS)
    run = tmp_path / "runs" / "run"
    samples = "".join(path.read_text() for path in (run / "samples").glob("*"))
    for reason in ("http 500", "not json", "connection", "RuntimeError: 500 for"):
        assert reason in samples
    assert HIDDEN in samples
    files = contents(run, shell.ray_dir, shell.home)
    kinds = ("config.yaml", "run_status.json", "metrics.jsonl", "starts.jsonl", "report.html")
    names = {Path(path).name for path in files}
    assert {*kinds, "model.safetensors", "MANIFEST.json", "README.md"} <= names
    assert any("tfevents" in name for name in names) and any("worker-" in name for name in names)
    logs = [text for path, text in files.items() if path.startswith(str(shell.ray_dir))]
    assert any("in a thread: Bearer [key]" in text for text in logs)
    assert [path for path, text in files.items() if leaks(text)] == []
    assert leaks(done.stdout + done.stderr) == []
