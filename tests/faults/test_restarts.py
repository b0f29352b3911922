"""A command whose processes die starts again by itself, and does not do so for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch.restart import Restarts
from tests.unit.launch.test_cli import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LIVES = """
import os, sys, types
from configs.load import config_differences, dump_config, load_config
import launch.cli, launch.cluster
from rollout.supervision import EngineLostError
from trainer.checkpoint import CheckpointStore
from trainer.stop import StopRequest

folder, how, limit = sys.argv[1:]
launch.cluster.connect = lambda config, learns: []

def run(config, run_folder, data, stop, trackers):
    with open(f"{folder}/lives", "a") as file:
        file.write(f"{os.getpid()}\\n")
    lives = len(open(f"{folder}/lives").readlines())
    run_folder.record_start(lives)
    if how == "once" and lives == 2:
        return config.train.num_steps
    if how in ("progress", "once"):
        store = CheckpointStore(run_folder.checkpoints_dir, 1)
        (store.begin(lives) / "weights").write_text("w")
        store.publish(lives, {"step": lives}, {"weights": 1})
    if how == "data":
        raise ValueError("clip-7 is silent")
    if how == "asked to stop":
        stop.hold()  # as the loop does: the request waits for the end of a step
        os.kill(os.getpid(), 15)
    raise EngineLostError("engine 0 died")

def open_folder(config, folder):
    return folder.open(dump_config(config), lambda old: config_differences(old, config))

# In the place of what loads all libraries of a run, once in each life.
others = {"open_folder": open_folder, "run_sft": run, "run_evaluation": run, "run_judge": run}
for name in ("build", "evaluation", "judge_training"):
    stub = types.ModuleType(f"launch.{name}")
    vars(stub).update(others, run_rl=run)
    sys.modules[stub.__name__] = stub
settings = [f"output_dir={folder}", "name=run", f"train.max_restarts={limit}", "log.report=false"]
config = load_config("configs/tiny.yaml", settings)
again, environment = "python launch/rl.py", dict(os.environ)
sys.exit(launch.cli._execute("policy", config, None, again, environment, StopRequest()))
"""


@pytest.mark.parametrize(
    ("how", "limit", "lives", "exit_code"),
    [
        pytest.param(
            "once", 1, 2, 0,
            id="once",
            marks=pytest.mark.fault(
                "more engines die than may be replaced, with train.max_restarts",
                happens="the command starts again from the newest good checkpoint, by itself",
                lost="steps since that checkpoint, which are done again",
            ),
        ),
        pytest.param(
            "progress", 3, 4, 4,
            id="each_time_after_a_checkpoint",
            marks=pytest.mark.fault(
                "a run dies again and again, each time after a new checkpoint",
                happens="starts again train.max_restarts times, then exit 4",
                lost="steps since the newest checkpoint",
            ),
        ),
        pytest.param(
            "nowhere", 3, 3, 4,
            id="each_time_before_a_checkpoint",
            marks=pytest.mark.fault(
                "a run dies again and again before a new checkpoint",
                happens="such restarts count twice, then exit 4",
                lost="steps since the newest checkpoint",
            ),
        ),
        pytest.param(
            "data", 3, 1, 4,
            id="data",
            marks=pytest.mark.fault(
                "a run fails for its data, with train.max_restarts",
                happens="exit 4 at once: it would only fail again",
                lost="steps since the newest checkpoint",
            ),
        ),
        pytest.param(
            "asked to stop", 3, 1, 4,
            id="asked_to_stop",
            marks=pytest.mark.fault(
                "a run that was asked to stop loses a process",
                happens="exit 4; it does not start again",
                lost="steps since the newest checkpoint",
            ),
        ),
        pytest.param(
            "progress", 0, 1, 4,
            id="without_restarts",
            marks=pytest.mark.fault(
                "more engines die than may be replaced",
                happens="exit 4; the message names the cause and the last good checkpoint",
                lost="steps since that checkpoint",
            ),
        ),
    ],
)  # fmt: skip
def test_lives_of_a_command(
    tmp_path: Path, how: str, limit: int, lives: int, exit_code: int
) -> None:
    words = [sys.executable, "-c", LIVES, str(tmp_path), how, str(limit)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == exit_code, done.stderr
    pids = (tmp_path / "lives").read_text().split()
    assert len(pids) == lives, done.stderr
    assert len(set(pids)) == 1, "the process that a scheduler knows stays"
    run = tmp_path / "run"
    starts = [json.loads(line) for line in (run / "starts.jsonl").open()]
    assert [start["restart"] for start in starts] == list(range(lives))
    assert all("engine 0 died" in start["restart_reason"] for start in starts[1:])
    status = json.loads((run / "run_status.json").read_text())
    assert status["state"] == ("failed" if exit_code else "finished")
    if how == "progress":
        assert f"that of step {lives}, with the same command" in done.stderr.splitlines()[-1]
    if how == "data":
        assert "the same command" not in done.stderr


def test_a_restart_that_got_nowhere_counts_twice() -> None:
    first = Restarts().next(4, -1, "one")
    assert first == Restarts(1, 1, -1, "one")
    second = first.next(4, -1, "two")
    assert second == Restarts(2, 3, -1, "two")
    assert second.next(4, -1, "three") is None
    assert second.next(4, 10, "three") == Restarts(3, 4, 10, "three")
    assert Restarts().next(0, 10, "one") is None


def test_restarts_are_read_from_the_environment() -> None:
    assert Restarts.of({}) == Restarts()
    assert Restarts.of({"RUN_RESTARTS": '[2, 3, 10, "two"]'}) == Restarts(2, 3, 10, "two")
    assert "RUN_RESTARTS" not in os.environ
