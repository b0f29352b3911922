"""A run that was killed, asked to stop and tried out ends like one left alone; what it writes."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from configs.load import load_config
from launch.preflight import ROOT
from tests.e2e.command import RunFiles, Shell, command, wait_until
from tests.e2e.conftest import WriteConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

NUM_STEPS = 4
GROUPS_PER_STEP = 6
CHECKPOINT_STEP = 2


def export_digests(run: RunFiles) -> dict[str, str]:
    """Hashes of the exported files but the model card, which tells when and in how many lives."""
    files = [path for path in (run.root / "export").iterdir() if path.name != "README.md"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Broken(NamedTuple):
    """A run that was killed in its third step, asked to stop in the same one, and then finished."""

    run: RunFiles
    config: Path
    killed: int
    """Its exit code."""
    status: dict[str, Any]
    """What it left."""
    steps: list[int]
    """Of its rows."""
    stopped: int
    stopped_status: dict[str, Any]
    finished: subprocess.CompletedProcess[str]

    @property
    def output(self) -> str:
        """What the killed and the stopped one printed."""
        return (self.run.folder / "output.txt").read_text()


def life(shell: Shell, words: Sequence[str], run: RunFiles, number: signal.Signals) -> int:
    """Run until the next step after the checkpoint is being scored, send a signal, wait."""
    before = run.groups_scored()
    if before == 0:
        before = CHECKPOINT_STEP * GROUPS_PER_STEP
    output = run.folder / "output.txt"
    process = shell.start(*words, output=output)
    wait_until(lambda: run.groups_scored() > before or process.poll() is not None, "step 3 begins")
    assert process.poll() is None, output.read_text()
    process.send_signal(number)
    return process.wait(timeout=480)


@pytest.fixture(scope="module")
def broken(
    tmp_path_factory: pytest.TempPathFactory, shell: Shell, write_config: WriteConfig
) -> Broken:
    """Return a run of three lives; the first of them tries the largest step before its own."""
    run = RunFiles(tmp_path_factory.mktemp("broken"))
    config = write_config(run.folder)
    killed = life(shell, command("rl", config, {"train.trial_step": "true"}), run, signal.SIGKILL)
    status, steps = run.status(), [row["step"] for row in run.rows()]
    wait_until(lambda: not shell.processes(), "Ray ends with a driver that was killed")
    stopped = life(shell, command("rl", config), run, signal.SIGTERM)
    stopped_status = run.status()
    finished = shell.run(*command("rl", config))
    return Broken(run, config, killed, status, steps, stopped, stopped_status, finished)


def test_a_killed_and_a_stopped_run_end_like_an_unbroken_one(
    broken: Broken, finished_run: RunFiles
) -> None:
    assert broken.killed == -signal.SIGKILL
    assert broken.status["state"] == "running"
    assert broken.steps == [0, 1, 2]

    assert broken.stopped == 75
    status = broken.stopped_status
    assert (status["state"], status["step"]) == ("preempted", 3)
    assert str(broken.config) in status["resume_cmd"]

    assert broken.finished.returncode == 0, broken.finished.stderr
    assert "resuming after step 3" in broken.finished.stdout
    run = broken.run
    assert run.status()["state"] == "finished"

    assert export_digests(run) == export_digests(finished_run)
    assert [row["step"] for row in run.rows()] == list(range(NUM_STEPS + 1))
    for ours, theirs in zip(run.rows(), finished_run.rows(), strict=True):
        assert without_times(ours) == without_times(theirs)
    for step in range(1, NUM_STEPS + 1):
        name = f"samples/step_{step:06d}.jsonl"
        assert (run.root / name).read_text() == (finished_run.root / name).read_text()


def test_a_trial_changes_no_number(broken: Broken, finished_run: RunFiles) -> None:
    # The longest clip that leaves room for 24 tokens in 512; 14 groups of 488 + 4 x 24 tokens fill
    # the budget of 8192 but for 16.
    sizes = "trial step at the largest size: prompts of 488 tokens, a row of 8176"
    assert broken.output.count(sizes) == broken.output.count("trial step done in") == 1
    assert numbers(broken.run) == numbers(finished_run)


def numbers(run: RunFiles) -> list[dict[str, float]]:
    """All metrics of a run but those of the clock."""
    timed = ("time/", "perf/completion")
    return [{k: v for k, v in row.items() if not k.startswith(timed)} for row in run.rows()]


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {key: v for key, v in row.items() if not key.startswith(("time/", "perf/"))}


def test_courses_and_gates_are_those_of_the_configuration(finished_run: RunFiles) -> None:
    rows = finished_run.rows()[1:]
    assert [row["reward/letters_weight"] for row in rows] == [0.5, 0.4375, 0.375, 0.3125]
    assert [row["reward/gated_weight"] for row in rows] == pytest.approx([0, 0, 0.05, 0.1])
    assert [row["gate/gated_open"] for row in rows] == [0, 1, 1, 1]
    assert all("gate/gated_accuracy_ema" in row for row in rows)


def test_the_run_has_learned_something_else_each_step(finished_run: RunFiles) -> None:
    rows = finished_run.rows()
    assert all(row["optim/skipped"] == 0 and row["optim/grad_norm"] > 0 for row in rows[1:])
    assert rows[1]["policy/kl"] == pytest.approx(0, abs=1e-6)
    assert rows[-1]["policy/kl"] > 1e-3


def test_the_export_differs_from_the_start_in_its_weights_alone(finished_run: RunFiles) -> None:
    start = Path(load_config(finished_run.root / "config.yaml").model.path)
    export = finished_run.root / "export"
    names = {path.name for path in start.iterdir()}
    assert {path.name for path in export.iterdir()} == names | {"README.md"}
    for name in names:
        same = (export / name).read_bytes() == (start / name).read_bytes()
        assert same == (not name.endswith(".safetensors")), name


def test_every_metric_is_documented(finished_run: RunFiles) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    patterns = [
        re.compile(re.sub("NAME|LABEL|DIMENSION", r"\\w+", re.escape(key)))
        for key in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)
    ]
    keys = {key for row in finished_run.rows() for key in row} - {"step"}
    assert {"eval/accuracy", "test_before/ua", "test_after/ua", "parity/max_gap"} <= keys
    unknown = [
        key
        for key in keys
        if not any(p.fullmatch(re.sub("^test_(before|after)/", "eval/", key)) for p in patterns)
    ]
    assert unknown == []


def test_rewards_and_advantages_follow_from_the_rows_of_a_group(finished_run: RunFiles) -> None:
    num_nonzero = 0
    for step in range(1, NUM_STEPS + 1):
        path = finished_run.root / "samples" / f"step_{step:06d}.jsonl"
        groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for line in path.open():
            row = json.loads(line)
            assert (row["step"], row["policy_version"]) == (step, step - 1)
            groups[row["group"]].append(row)
        assert [len(rows) for rows in groups.values()] == [4] * GROUPS_PER_STEP
        for rows in groups.values():
            for row in rows:
                terms = {name: value for name, value in row["terms"].items() if value is not None}
                reward = sum(row["weights"][name] * value for name, value in terms.items())
                assert row["reward"] == pytest.approx(reward, abs=1e-9)
            rewards = [row["reward"] for row in rows]
            mean, deviation = statistics.fmean(rewards), statistics.stdev(rewards)
            for row in rows:
                advantage = (row["reward"] - mean) / (deviation + 1e-4)
                assert row["advantage"] == pytest.approx(advantage, abs=1e-5)
                num_nonzero += row["advantage"] != 0
    assert num_nonzero > NUM_STEPS * GROUPS_PER_STEP
