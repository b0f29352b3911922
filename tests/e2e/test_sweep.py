"""A sweep on the real stack: stopped in the middle, gone on with, and as jobs of a cluster."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Shell, wait_until
from tests.e2e.conftest import WriteConfig
from tests.e2e.test_job import jobs_url

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

__all__ = ["jobs_url"]

SHORT = {
    "train.num_steps": 1,
    "train.prompts_per_step": 3,
    "eval.every_steps": 0,
    "eval.test_split": "",
    "eval.judged": False,
    "parity.num_clips": 0,
    "rollout.cpu_threads": 1,
    "learner.cpu_threads": 1,
}
SUPERVISED = {
    "loss.kind": "sft",
    "data.train_split": "cold_start",
    "train.num_steps": 60,
    "checkpoint.every_steps": 60,
    "learner.cpu_threads": 1,
}
"""The cheapest run that there is: the sweep that is stopped starts three."""


def write_sweep(
    folder: Path, metrics: Sequence[str], trials: Sequence[Mapping[str, Any]], **keys: Any
) -> Path:
    """Write a sweep of two trials, `plain` and `other`, with the last and the first of metrics."""
    last, first = metrics
    sweep = {
        "name": "pair",
        "output_dir": str(folder / "runs"),
        "seeds": [0],
        "baseline": "plain",
        "metrics": [{"key": last, "label": "last"}, {"key": first, "label": "1", "at": "first"}],
        "trials": [
            {"name": "plain", **trials[0]},
            {"name": "other", "label": 'another, "only" # 1', **trials[1]},
        ],
    }
    path = folder / "sweep.yaml"
    path.write_text(json.dumps(sweep | keys))  # JSON is YAML
    return path


def sweep_command(path: Path) -> list[str]:
    return ["python", "launch/sweep.py", "--config", str(path)]


def statuses(folder: Path) -> dict[str, str]:
    """Return trial/seed -> state in its run_status.json."""
    return {
        f"{path.parent.parent.name}/{path.parent.name}": json.loads(path.read_text())["state"]
        for path in folder.glob("*/seed_*/run_status.json")
    }


def attempts(folder: Path) -> list[tuple[str, int]]:
    lines = (folder / "attempts.jsonl").read_text().splitlines()
    return [(record["run"], record["exit_code"]) for record in map(json.loads, lines)]


@pytest.fixture(autouse=True)
def no_processes_left(shell: Shell) -> Iterator[None]:
    yield
    shell.end_processes()


def stop_in_the_second_trial(shell: Shell, path: Path, folder: Path) -> None:
    """Start a sweep, ask it to stop once its second trial has a step to save, and see it end."""
    output = path.parent / "sweep.txt"
    process = shell.start(*sweep_command(path), output=output)
    second = folder / "other" / "seed_0" / "metrics.jsonl"
    wait_until(
        lambda: process.poll() is not None or (second.is_file() and "\n" in second.read_text()),
        "the first step of the second trial",
    )
    assert process.poll() is None, output.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=480) == 75, output.read_text()


def check_results(folder: Path) -> None:
    """Check table, figure and page of a sweep whose two trials are done."""
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert [(row["trial"], row["state"]) for row in rows] == [
        ("plain", "done"),
        ("other", "done"),
    ]
    for row in rows:
        assert 0 < float(row["sft/nll"]) < float(row["sft/nll@first"])
    assert rows[0]["sft/nll@first"] != rows[1]["sft/nll@first"]
    assert (folder / "results.png").read_bytes().startswith(b"\x89PNG")
    page = (folder / "results.md").read_text()
    assert "Unfinished" not in page
    assert "One seed shows no difference" in page


def test_a_sweep_with_a_failed_trial_is_stopped_and_goes_on_where_it_was(
    tmp_path: Path, shell: Shell, write_config: WriteConfig, tiny_checkpoint: Path
) -> None:
    late = tmp_path / "late"  # the checkpoint of the first trial is not there yet
    trial = {"command": "sft", "config": str(write_config(tmp_path))}
    settings = [
        SUPERVISED | {"train.prompts_per_step": 3, "model.path": str(late)},
        SUPERVISED | {"train.prompts_per_step": 4},
    ]
    trials = [trial | {"set": each} for each in settings]
    path = write_sweep(tmp_path, ["sft/nll", "sft/nll"], trials)
    folder = tmp_path / "runs" / "pair"

    stop_in_the_second_trial(shell, path, folder)
    assert statuses(folder) == {"other/seed_0": "preempted"}
    assert "Unfinished: 0 of 2 runs" in (folder / "results.md").read_text()
    plan = shell.run(*sweep_command(path), "--dry-run")
    assert "2 runs: 0 done, 1 half-done, 1 new" in plan.stdout

    # What was stopped ends, and what failed is named.
    failed = shell.run(*sweep_command(path))
    failed_log = folder / "logs" / "plain" / "seed_0.log"
    assert failed.returncode == 4, failed.stdout + failed.stderr
    assert f"failed: plain/seed_0 (exit code 3): {failed_log}" in failed.stdout
    assert str(late) in failed_log.read_text()
    assert statuses(folder) == {"other/seed_0": "finished"}
    assert "resuming after step" in (folder / "logs" / "other" / "seed_0.log").read_text()
    assert "Unfinished: 1 of 2 runs" in (folder / "results.md").read_text()
    plan = shell.run(*sweep_command(path), "--dry-run")
    assert "2 runs: 1 done, 0 half-done, 1 new" in plan.stdout

    late.symlink_to(tiny_checkpoint)
    done = shell.run(*sweep_command(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 runs, 1 done before" in done.stdout
    assert attempts(folder) == [
        ("plain/seed_0", 3),
        ("other/seed_0", 75),
        ("plain/seed_0", 3),
        ("other/seed_0", 0),
        ("plain/seed_0", 0),
    ]
    assert statuses(folder) == {"plain/seed_0": "finished", "other/seed_0": "finished"}
    check_results(folder)


def test_trials_as_jobs_of_a_cluster(
    tmp_path: Path, shell: Shell, write_config: WriteConfig, jobs_url: str
) -> None:
    keys = {"backend": "jobs", "address": jobs_url, "concurrency": 2}
    letters = {
        "name": "letters",
        "target": "tests.e2e.toy_reward:Letters",
        "options": {"trace": str(tmp_path / "trace")},
    }
    accuracy = {"name": "accuracy", "target": "rewards.accuracy:AccuracyReward"}
    config = str(write_config(tmp_path))
    trials = [
        {"config": config, "set": SHORT | {"rewards.terms": [accuracy, letters | {"weight": w}]}}
        for w in (1.0, 0.25)
    ]
    path = write_sweep(tmp_path, ["reward/mean", "optim/lr"], trials, **keys)
    done = shell.run(*sweep_command(path), RAY_AUTH_MODE="token")
    folder = tmp_path / "runs" / "pair"
    logs = "\n".join(log.read_text() for log in folder.glob("logs/*/*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert statuses(folder) == {"plain/seed_0": "finished", "other/seed_0": "finished"}
    assert logs.count("finished 1 steps") == 2
    assert done.stdout.count(" is job ") == 2

    again = shell.run(*sweep_command(path), RAY_AUTH_MODE="token")
    assert again.returncode == 0, again.stderr
    assert "2 runs, 2 done before" in again.stdout

    refused = shell.run(*sweep_command(path), RAY_AUTH_MODE="disabled")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    assert "no cluster takes jobs at" in refused.stderr
