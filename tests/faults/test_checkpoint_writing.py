"""Kills, full disks and damage while checkpoints are written, without the real stack."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.schema import CheckpointConfig
from trainer.checkpoint import Best, CheckpointStore, latest_checkpoint
from trainer.saving import best_of
from trainer.sealed import CheckpointError, verify

STAGES = ("open", "mkdir", "chmod", "fsync", "rename", "unlink", "rmdir", "scandir", "lstat")
"""Functions of `os` that writing and pruning go through; each call is a stage."""

NUM_KILLS = 50


def save(store: CheckpointStore, step: int, score: float | None = None) -> Path:
    folder = store.begin(step)
    (folder / "rank").mkdir()
    for number in range(3):
        (folder / "rank" / f"{number}.bin").write_bytes(bytes([step, number]) * 500)
    value = {"metric": "eval/ua", "value": score}
    return store.publish(step, {"cursor": step, "score": None if score is None else value})


def counting(at: int, act: Callable[[], None]) -> list[int]:
    """Patch the stages of this process: before call number `at`, act. Returns the counter."""
    count = [0]

    def patched(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] == at:
                act()
            return original(*args, **options)

        return call

    for name in STAGES:
        setattr(os, name, patched(getattr(os, name)))
    return count


def in_child(body: Callable[[], None]) -> int:
    """Run something in a fork; return its wait status."""
    child = os.fork()
    if child == 0:
        try:
            body()
            os._exit(0)
        finally:
            os._exit(9)
    return os.waitpid(child, 0)[1]


def num_stages(root: Path) -> int:
    """Calls that one save with pruning makes."""
    told, tell = os.pipe()

    def body() -> None:
        count = counting(-1, lambda: None)
        save(CheckpointStore(root, keep_last=1), 3)
        os.write(tell, str(count[0]).encode())

    assert in_child(body) == 0
    return int(os.read(told, 20))


@pytest.mark.slow
@pytest.mark.fault(
    "SIGKILL at each of 50 stages of writing a checkpoint and pruning the one before",
    happens="the newest whole checkpoint is used; leftovers are removed at the next start",
    lost="the checkpoint that was being written",
)
def test_killed_at_any_stage_a_whole_checkpoint_is_left(tmp_path: Path):
    save(CheckpointStore(tmp_path / "measure", keep_last=1), 2)
    stages = num_stages(tmp_path / "measure")
    assert stages >= NUM_KILLS
    chosen = sorted(random.Random(0).sample(range(1, stages + 1), NUM_KILLS))
    found: set[int] = set()
    for stage in chosen:
        root = tmp_path / f"at_{stage}"
        save(CheckpointStore(root, keep_last=1), 2)

        def body(root: Path = root, stage: int = stage) -> None:
            counting(stage, lambda: os.kill(os.getpid(), signal.SIGKILL))
            save(CheckpointStore(root, keep_last=1), 3)

        status = in_child(body)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, stage
        store = CheckpointStore(root, keep_last=1)
        newest = store.latest()
        assert newest is not None and newest.step in (2, 3), stage
        assert newest.state["cursor"] == newest.step
        found.add(newest.step)
        assert all(path.name.startswith("step_") for path in root.iterdir()), stage
        save(store, 4)
        assert verify(root / "step_000004").step == 4
    assert found == {2, 3}, "kills before and after the rename"


@pytest.mark.fault(
    "the three newest checkpoints are damaged, each in another way",
    happens="each is skipped with its reason, and the run goes on from the one before",
    lost="the steps after it",
)
def test_the_newest_good_one_is_found_behind_three_bad_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    store = CheckpointStore(tmp_path, keep_last=9)
    for step in (1, 2, 3, 4):
        save(store, step)
    (tmp_path / "step_000004" / "rank" / "0.bin").write_bytes(b"")
    (tmp_path / "step_000003" / "rank" / "1.bin").unlink()
    flipped = tmp_path / "step_000002" / "rank" / "2.bin"
    content = bytearray(flipped.read_bytes())
    content[7] ^= 0x10
    flipped.write_bytes(content)
    newest = latest_checkpoint(tmp_path)
    assert newest is not None and newest.step == 1
    assert [line.partition("step_")[2][:6] for line in caplog.messages] == [
        "000004",
        "000003",
        "000002",
    ]
    for reason in ("has 0 bytes instead of 1000", "missing", "content changed"):
        assert reason in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            "step_000009",
            marks=pytest.mark.fault(
                "a checkpoint folder is renamed to a later step",
                happens="refused: its manifest is of another step; the true one is used",
                lost="nothing",
            ),
        ),
        pytest.param(
            "latest",
            marks=pytest.mark.fault(
                "somebody plants a pointer file beside the checkpoints",
                happens="ignored: the folders themselves say what is newest",
                lost="nothing",
            ),
        ),
    ],
)
def test_a_name_that_points_ahead_is_not_followed(tmp_path: Path, name: str):
    store = CheckpointStore(tmp_path, keep_last=9)
    save(store, 1)
    if name == "latest":
        (tmp_path / name).write_text("step_000009")
    else:
        (tmp_path / name).mkdir()
        for path in (save(store, 2)).rglob("*"):
            target = tmp_path / name / path.relative_to(tmp_path / "step_000002")
            target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
        with pytest.raises(CheckpointError, match="not the manifest of step 9"):
            verify(tmp_path / name)
    newest = latest_checkpoint(tmp_path)
    assert newest is not None and newest.step == (1 if name == "latest" else 2)


@pytest.mark.fault(
    "a policy that gets worse and worse after step 2, with `keep_last: 1`",
    happens="the best checkpoint by `checkpoint.best_metric` stays beside the last one",
    lost="nothing",
)
def test_the_best_one_is_kept_beside_the_last(tmp_path: Path):
    best = best_of(CheckpointConfig(best_metric="eval/ua"))
    assert best == Best("eval/ua", True) and best_of(CheckpointConfig()) is None
    store = CheckpointStore(tmp_path, keep_last=1, best=best)
    for step, ua in ((1, 0.3), (2, 0.6), (3, 0.6), (4, None), (5, 0.1)):
        save(store, step, ua)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000002", "step_000005"]
    (tmp_path / "step_000002" / "state.json").write_text("{")  # a bad one is not the best
    save(store, 6, 0.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000005", "step_000006"]
    lower = CheckpointStore(tmp_path, keep_last=1, best=Best("eval/ua", False))
    save(lower, 7, 0.9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000006", "step_000007"]


@pytest.mark.fault(
    "a pickle planted in a checkpoint",
    happens="refused before anything is loaded; the checkpoint before is used",
    lost="the steps after it",
)
def test_a_planted_pickle_is_refused_before_anybody_loads_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    store = CheckpointStore(tmp_path / "c", keep_last=9)
    save(store, 1)
    path = save(store, 2)
    fired = tmp_path / "fired"
    payload = f"cos\nsystem\n(S'touch {fired}'\ntR.".encode()
    (path / "rank" / "0.bin").write_bytes(payload.ljust(1000, b" "))
    newest = store.latest()
    assert newest is not None and newest.step == 1
    assert "step_000002/rank/0.bin: content changed since it was written" in caplog.text
    (path / "rank" / "extra.pt").write_bytes(payload)
    with pytest.raises(CheckpointError, match=r"extra\.pt: not listed"):
        verify(path)
    assert not fired.exists()


@pytest.mark.fault(
    "everyone may write the folder of a checkpoint",
    happens="refused with what to do; the checkpoint before is used",
    lost="the steps after it",
)
def test_a_world_writable_folder_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = CheckpointStore(tmp_path, keep_last=9)
    save(store, 1)
    save(store, 2).chmod(0o777)
    newest = store.latest()
    assert newest is not None and newest.step == 1
    assert "step_000002: everyone may write it; run chmod o-w" in caplog.text
    manifest = json.loads((tmp_path / "step_000002" / "MANIFEST.json").read_text())
    assert manifest["step"] == 2, "the rest of it is whole"
