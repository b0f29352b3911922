"""Checkpoints in the background of a run: full disks, kills, and what is saved."""

from __future__ import annotations

import errno
import itertools
import os
import random
import signal
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from configs.schema import CheckpointConfig, LearnerConfig, RunConfig, TrainConfig
from tests.faults.test_checkpoint_writing import in_child
from trainer.checkpoint import CheckpointStore
from trainer.learner_group import LearnerError, LearnerGroup
from trainer.saving import Saver
from trainer.sealed import CheckpointFullError, verify

NINE_STEPS = TrainConfig(num_steps=9)
WAITING = RunConfig(train=NINE_STEPS, checkpoint=CheckpointConfig(background=False))
TWO_RANKS = RunConfig(train=NINE_STEPS, learner=LearnerConfig(num_ranks=2))
ENDLESS = RunConfig(train=TrainConfig(num_steps=10**6))


class PlantedLearner:
    """Writes as ranks do, in two parts; a full disk makes one raise what libraries raise."""

    def __init__(self, copying: Exception | None = None, writing: Exception | None = None) -> None:
        self.copying = copying
        self.writing = writing
        self.state = b"w"
        self.num_saves = 0
        self.may_write = threading.Event()
        self.may_write.set()

    def save(self, folder: Path) -> None:
        self.num_saves += 1
        self.copied = self.state
        if self.copying is not None:
            raise self.copying

    def saved_files(self, folder: Path) -> dict[str, int]:
        assert self.may_write.wait(30)
        (folder / "weights.pt").write_bytes(self.copied * 5000)
        if self.writing is not None:
            raise self.writing
        return {"weights.pt": 5000}


def saver_of(
    store: CheckpointStore, learner: PlantedLearner, config: RunConfig | None = None
) -> Saver:
    config = config or RunConfig(train=NINE_STEPS)
    return Saver(config, store, cast(LearnerGroup, learner), 0)


def steps_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def full_disk(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """No file can grow any more. Returns how often that was noticed."""
    fired: list[int] = []

    def fallocate(*_: Any) -> None:
        fired.append(number)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    return fired


TORCH = "[enforce fail at inline_container.cc:672] . unexpected pos 9536 vs 9428"
SAFETENSORS = "SafetensorError: Error while serializing: IoError(Os { code: 28 })"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        pytest.param(
            number,
            text,
            marks=pytest.mark.fault(
                f"{what} while a rank writes its checkpoint ({library})",
                happens="one alarm line names the folder; the run goes on, older ones are kept",
                lost="this checkpoint",
            ),
            id=f"{what.replace(' ', '-')}-{library}",
        )
        for number, what in (
            (errno.ENOSPC, "disk full"),
            (errno.EFBIG, "file limit"),
            (errno.EDQUOT, "quota used up"),
        )
        for library, text in (("torch", TORCH), ("safetensors", SAFETENSORS))
    ],
)
def test_a_checkpoint_without_room_costs_an_alarm_not_the_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    text: str,
):
    error = LearnerError(f"save: learner rank 0: RuntimeError: {text}")
    store = CheckpointStore(tmp_path, keep_last=1)
    saver_of(store, PlantedLearner()).save(1, {"step": 1})
    fired = full_disk(monkeypatch, number)
    for saver in (
        saver_of(store, PlantedLearner(writing=error)),
        saver_of(store, PlantedLearner(writing=error), WAITING),
        saver_of(store, PlantedLearner(copying=error)),
        # In the background no rank waits for one that has failed.
        saver_of(store, PlantedLearner(writing=error), TWO_RANKS),
    ):
        saver.begin(2, {"step": 2})
        assert not saver.has(2)
        assert fired.pop() == number and not fired
        line = caplog.messages.pop()
        assert line.startswith("alarm: no checkpoint of step 2, the run goes on: ")
        assert "the disk is full" in line and str(tmp_path) in line and "are free" in line
        assert steps_in(tmp_path) == ["step_000001"]
        caplog.clear()

    # Nothing comes after the last step, and ranks that wait for one that failed cannot go on.
    for saver, step in (
        (saver_of(store, PlantedLearner(writing=error)), 9),
        (saver_of(store, PlantedLearner(copying=error), TWO_RANKS), 2),
    ):
        with pytest.raises(CheckpointFullError, match="the disk is full"):
            saver.begin(step, {"step": step})
    assert steps_in(tmp_path) == ["step_000001"]
    monkeypatch.undo()
    saver = saver_of(store, PlantedLearner())
    saver.begin(3, {"step": 3})
    assert saver.has(3)
    assert steps_in(tmp_path) == ["step_000003"]


@pytest.mark.fault(
    "less room on the disk than the last checkpoint took",
    happens="no rank begins to write; one alarm line says how much is needed and free",
    lost="this checkpoint",
)
def test_room_is_looked_for_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    store = CheckpointStore(tmp_path, keep_last=1)
    saver_of(store, PlantedLearner()).save(1, {"step": 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4321))
    second = PlantedLearner()
    saver = saver_of(store, second, TWO_RANKS)
    saver.begin(2, {"step": 2})
    assert second.num_saves == 0 and not saver.has(2)
    needed = sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file())
    assert f"needs {needed:,} bytes, 4,321 are free" in caplog.text


@pytest.mark.fault(
    "a learner rank fails to write for another reason than the disk",
    happens="the run ends with that reason; nothing of the checkpoint is left",
    lost="the steps since the last checkpoint",
)
@pytest.mark.parametrize("part", ["copying", "writing"])
def test_another_failure_is_not_called_a_full_disk(tmp_path: Path, part: str):
    store = CheckpointStore(tmp_path, keep_last=1)
    saver = saver_of(store, PlantedLearner(**{part: LearnerError("a bug")}))
    with pytest.raises(LearnerError, match="a bug"):
        saver.begin(1, {"step": 1})
        saver.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_in_the_background_holds_what_was_when_it_began(tmp_path: Path):
    learner = PlantedLearner()
    learner.may_write.clear()
    saver = saver_of(CheckpointStore(tmp_path, keep_last=9), learner)
    state = {"loader": {"position": 1}}
    saver.begin(1, state)
    assert [name for name in steps_in(tmp_path) if name[0] != "."] == []
    # The run has gone on before the first byte is written.
    learner.state, state["loader"]["position"] = b"x", 2
    learner.may_write.set()
    saver.begin(2, state)
    assert saver.has(2) and not saver.has(1)
    assert steps_in(tmp_path) == ["step_000001", "step_000002"]
    assert (tmp_path / "step_000001" / "weights.pt").read_bytes() == b"w" * 5000
    first, second = (verify(tmp_path / name).state for name in steps_in(tmp_path))
    assert (first["loader"]["position"], second["loader"]["position"]) == (1, 2)


@pytest.mark.parametrize(
    ("config", "step", "waits"),
    [(None, 1, False), (WAITING, 1, True), (None, 9, True)],
    ids=["in the background", "checkpoint.background: false", "the last step"],
)
def test_who_waits_for_a_checkpoint(
    tmp_path: Path, config: RunConfig | None, step: int, waits: bool
):
    learner = PlantedLearner()
    learner.may_write.clear()
    saver = saver_of(CheckpointStore(tmp_path, keep_last=9), learner, config)
    timer = threading.Timer(0.2, learner.may_write.set)
    timer.start()
    saver.begin(step, {"step": step})
    assert learner.may_write.is_set() == waits
    assert (tmp_path / f"step_{step:06d}").exists() == waits
    timer.join()
    assert saver.has(step)


@pytest.mark.fault(
    "SIGKILL at any moment of a run that saves every step in the background (20 times)",
    happens="the newest whole checkpoint is used; leftovers are removed at the next start",
    lost="the checkpoint that was being written",
)
def test_killed_while_saving_in_the_background_a_whole_checkpoint_is_left(tmp_path: Path):
    rng = random.Random(0)
    found: set[int] = set()
    for number in range(20):
        root = tmp_path / str(number)

        last = 2 + number % 7

        def body(
            root: Path = root, last: int = last, delay_s: float = rng.uniform(0, 0.01)
        ) -> None:
            learner = PlantedLearner()
            saver = saver_of(CheckpointStore(root, keep_last=2), learner, ENDLESS)
            saver.save(1, {"step": 1})
            # Its own thread, as a kill from outside comes at any moment of the others.
            kill = threading.Timer(delay_s, partial(os.kill, os.getpid(), signal.SIGKILL))
            for step in itertools.count(2):
                learner.state = bytes([step % 256])
                saver.begin(step, {"step": step})
                if step == last:
                    kill.start()

        status = in_child(body)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        newest = CheckpointStore(root, keep_last=2).latest()
        assert newest is not None and newest.state["step"] == newest.step
        expected = b"w" if newest.step == 1 else bytes([newest.step % 256])
        assert (newest.path / "weights.pt").read_bytes() == expected * 5000
        assert all(name.startswith("step_") for name in steps_in(root))
        assert newest.step >= last - 1
        found.add(newest.step)
    assert len(found) > 3, "kills at different moments"
