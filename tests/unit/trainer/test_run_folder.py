"""The run folder: whose it is, who has it, and what a resumed run does again."""

from __future__ import annotations

import datetime
import json
import os
import signal
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from data.files import write_atomically
from trainer.resume import ChangedRunError, Difference
from trainer.run_folder import RunFolder, RunFolderError, code_version

HOLDER = """
import sys, time
from pathlib import Path
from trainer.run_folder import RunFolder
RunFolder(Path(sys.argv[1])).open("seed: 1", lambda old: [])
print("open", flush=True)
time.sleep(60)
"""


def same(old: str) -> list[Difference]:
    return []


def opened(root: Path, config: str = "seed: 1\n") -> RunFolder:
    folder = RunFolder(root)
    folder.open(config, same)
    return folder


def test_a_new_folder_then_the_same_run_again(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "a"
    folder = RunFolder(root)
    assert folder.open("seed: 1\n", same) is False
    assert (root / "config.yaml").read_text() == "seed: 1\n"
    assert folder.read_status() == {
        "state": "running",
        "step": 0,
        "reason": "",
        "resume_cmd": "",
    }
    assert (root / "samples").is_dir() and (root / "checkpoints").is_dir()
    folder.write_status("preempted", 7, "SIGTERM", "python launch/rl.py --config x.yaml")
    folder.close()

    again = RunFolder(root)
    assert again.open("seed: 1\n", same) is True
    assert json.loads((root / "run_status.json").read_text()) == {
        "state": "preempted",
        "step": 7,
        "reason": "SIGTERM",
        "resume_cmd": "python launch/rl.py --config x.yaml",
    }
    again.close()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("theirs: true\n")
    with pytest.raises(RunFolderError, match=r"another run or program \(holds 'config.yaml'"):
        opened(tmp_path)
    (tmp_path / "run_status.json").write_text('{"state": "COMPLETED"}')
    with pytest.raises(RunFolderError, match=r"run_status\.json: not the status of a run"):
        opened(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "theirs: true\n"
    assert sorted(os.listdir(tmp_path)) == ["config.yaml", "run_status.json"]
    with pytest.raises(RunFolderError, match="is a file"):
        opened(tmp_path / "config.yaml")


def test_a_start_that_died_between_its_first_files_is_a_new_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_status("running", 0, "", "")
    assert folder.open("seed: 1\n", same) is False


def test_config_differences_outside_the_safe_list_are_a_table(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    folder.close()
    asked: list[str] = []

    def differences(old: str) -> list[Difference]:
        asked.append(old)
        return [
            ("train.num_steps", 10, 20),
            ("optim.lr", 1e-06, 1e-05),
            ("log.samples_every", 1, 2),
            ("rollout.timeout_s", 600.0, 60.0),
            ("loss.kind", "policy", "sft"),
        ]

    with pytest.raises(ChangedRunError) as caught:
        RunFolder(tmp_path).open("seed: 2\n", differences)
    assert asked == ["seed: 1\n"]
    assert str(caught.value).splitlines()[1:4] == [
        "  key        in the folder  now",
        "  optim.lr   1e-06          1e-05",
        "  loss.kind  policy         sft",
    ]
    assert "num_steps  " not in str(caught.value)
    assert (tmp_path / "config.yaml").read_text() == "seed: 1\n"

    allowed = [
        (key, 1, 2)
        for key in ("train.num_steps", "eval.split", "checkpoint.keep_last", "log.report")
    ]
    again = RunFolder(tmp_path)
    assert again.open("seed: 3\n", lambda old: [*allowed, ("sync.timeout_s", 1, 2)]) is True
    assert (tmp_path / "config.yaml").read_text() == "seed: 3\n"


def test_a_run_without_any_progress_may_start_over_with_any_config(tmp_path: Path) -> None:
    opened(tmp_path).close()
    folder = RunFolder(tmp_path)
    assert folder.open("seed: 2\n", lambda old: [("seed", 1, 2)]) is True
    folder.close()
    (tmp_path / "checkpoints" / "step_000001").mkdir()
    with pytest.raises(ChangedRunError, match="seed"):
        RunFolder(tmp_path).open("seed: 3\n", lambda old: [("seed", 2, 3)])


def test_a_second_live_run_is_refused_and_a_killed_one_frees_the_folder(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "r")], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"open\n"
    with pytest.raises(
        RunFolderError, match=f"in use by process {holder.pid} on {socket.gethostname()}"
    ):
        opened(tmp_path / "r")
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    folder = opened(tmp_path / "r")
    assert (tmp_path / "r" / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    folder.close()
    folder.close()
    opened(tmp_path / "r").close()


def test_a_refused_open_lets_go_of_the_folder(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ChangedRunError):
        RunFolder(tmp_path).open("seed: 2\n", lambda old: [("seed", 1, 2)])
    opened(tmp_path).close()


def test_rows_and_samples_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    rows = [json.dumps({"step": step, "reward/mean": 0.5}) + "\n" for step in range(6)]
    (tmp_path / "metrics.jsonl").write_text("".join(rows) + '{"step": 6, "rew')
    for step in (2, 4, 5):
        (tmp_path / "samples" / f"step_{step:06d}.jsonl").write_text("{}\n")
    (tmp_path / "samples" / "notes.txt").write_text("mine")
    folder.truncate_after(4)
    assert (tmp_path / "metrics.jsonl").read_text() == "".join(rows[:5])
    assert sorted(os.listdir(tmp_path / "samples")) == [
        "notes.txt",
        "step_000002.jsonl",
        "step_000004.jsonl",
    ]
    folder.truncate_after(-1)
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_damaged_row_in_the_middle_is_named(tmp_path: Path) -> None:
    folder = opened(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl:2: not a row"):
        folder.truncate_after(3)


def test_atomic_writes_replace_and_leave_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomically(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "two \ud800")
    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_leftovers_of_a_kill_are_removed_on_open(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / ".run_status.json.tmp-1").write_text("half")
    (tmp_path / "samples" / ".step_000001.jsonl.tmp-1").write_text("half")
    opened(tmp_path).close()
    assert os.listdir(tmp_path / "samples") == []
    assert not (tmp_path / ".run_status.json.tmp-1").exists()


def test_a_start_says_when_where_and_with_what(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.starts() == []
    folder.record_start(0)
    folder.record_start(51)
    first, second = folder.starts()
    assert (first["first_step"], second["first_step"]) == (0, 51)
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(first["time"])
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    assert first["versions"]["torch"] == metadata.version("torch")
    assert first["versions"]["ray"] == metadata.version("ray")
    assert first["machine"]["cores"] >= 1 and first["machine"]["memory_gib"] > 0


def test_the_commit_of_the_code(tmp_path: Path) -> None:
    assert code_version(tmp_path) == ""  # no checkout
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert code_version(tmp_path) == head.stdout[:12]
    (tmp_path / "new.txt").write_text("x")
    subprocess.run(["git", "add", "new.txt"], cwd=tmp_path, check=True)
    assert code_version(tmp_path) == f"{head.stdout[:12]}-dirty"
