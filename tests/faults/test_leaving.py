"""Failures, requests to stop and steps without a gradient: what a run saves before it leaves."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.schema import (
    CheckpointConfig,
    LogConfig,
    TrainConfig,
)
from launch.cli import main
from launch.preflight import ROOT
from tests.faults.loop_run import Run
from trainer.checkpoint import CheckpointStore
from trainer.guard import MAX_IDLE_STEPS, MAX_NONFINITE_STEPS, AlarmError, IdleGuard, NoSignalError
from trainer.learner_group import LearnerError
from trainer.run_folder import RunFolder
from trainer.saving import unpack_row
from trainer.stop import SAME_REQUEST_S, Stopped, StopRequest

TINY = ROOT / "configs" / "tiny.yaml"


def fail(kind: type[Exception], text: str) -> Callable[[], None]:
    def action() -> None:
        raise kind(text)

    return action


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        pytest.param(
            place,
            kept,
            id=place,
            marks=pytest.mark.fault(
                f"{what} fails in step 4, three steps after the last checkpoint",
                happens=f"step {kept} is saved before the run ends with the reason",
                lost="nothing of what was learned",
            ),
        )
        for place, what, kept in (
            ("rollout", "an engine", 3),
            ("reward", "a reward", 3),
            ("sync", "an engine, as it takes new weights,", 4),
            ("eval", "the evaluation", 4),
        )
    ],
)
def test_what_is_sound_is_saved_before_leaving(tmp_path: Path, place: str, kept: int):
    run = Run(tmp_path)
    run.at[place, 4] = fail(RuntimeError, "a part is gone")
    with pytest.raises(RuntimeError, match="a part is gone"):
        run.train()
    assert run.fired == [(place, 4)]
    step, state = run.saved()
    assert (step, state["step"], state["loader"]["position"]) == (kept, kept, kept)
    assert state["schedule"]["step"] == kept
    assert run.steps() == [1, 2, 3]

    # The same command again: the step whose row is open is evaluated and written, then step on.
    row = unpack_row(state["row"])
    assert (row is not None) == (kept == 4)
    run.folder.truncate_after(step, has_row=row is None)
    again = Run(tmp_path / "again")
    again.folder, again.store = run.folder, run.store
    again.loader.position = step
    again.schedule.load_state_dict(state["schedule"])
    assert again.train(step, row) == 8
    rows = {row["step"]: row for row in again.folder.rows()}
    assert again.steps() == list(range(1, 9))
    assert "eval/accuracy" in rows[4] and again.evaluated == [4, 8]
    assert again.loader.position == 8


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=pytest.mark.fault(
                f"{what} in step 4",
                happens="nothing is saved: it would not be sound",
                lost="3 steps",
            ),
        )
        for kind, what in ((LearnerError, "a learner rank is gone"), (None, "an update fails"))
    ],
)
def test_a_half_step_is_never_saved(tmp_path: Path, kind: type[Exception] | None):
    run = Run(tmp_path)
    run.at["update", 4] = fail(kind or RuntimeError, "in the middle")
    with pytest.raises(Exception, match="in the middle"):
        run.train()
    assert run.store.latest() is None


@pytest.mark.fault(
    "the disk is full when a failed run saves its last step",
    happens="a warning; the run ends with the reason it failed for",
    lost="the steps since the last checkpoint",
)
def test_a_rescue_that_fails_does_not_hide_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = Run(tmp_path)
    run.at["rollout", 4] = fail(RuntimeError, "an engine is gone")
    run.at["save", 3] = fail(OSError, "no room")
    with pytest.raises(RuntimeError, match="an engine is gone"):
        run.train()
    assert run.fired == [("rollout", 4), ("save", 3)]
    assert "step 3 could not be saved: no room" in caplog.text
    assert run.store.latest() is None


def ask(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def ask_and_wait(seconds: float = 30.0) -> Callable[[], None]:
    def action() -> None:
        ask()
        time.sleep(seconds)

    return action


@pytest.mark.parametrize("place", ["rollout", "reward", "update", "sync", "save"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_end_and_saves_once(tmp_path: Path, place: str, number: int):
    run = Run(tmp_path, checkpoint=CheckpointConfig(every_steps=1))
    run.at[place, 3] = lambda: ask(number)
    assert run.train() == 3
    assert run.fired == [(place, 3)] or place == "save"
    assert run.saved()[0] == 3 and run.steps() == [1, 2, 3]


@pytest.mark.fault(
    "SIGTERM in the middle of a long evaluation",
    happens="it is left at once and done again by the same command; exit code 75",
    lost="nothing",
)
def test_a_signal_ends_an_evaluation_at_once(tmp_path: Path):
    run = Run(tmp_path)
    run.at["eval", 4] = ask_and_wait()
    began = time.monotonic()
    with pytest.raises(Stopped) as caught:
        run.train()
    assert time.monotonic() - began < 10 and run.fired == [("eval", 4)]
    step, state = run.saved()
    assert (step, caught.value.step) == (4, 4) and state["row"]["optim/skipped"] == 0.0
    assert run.steps() == [1, 2, 3]


@pytest.mark.fault(
    "SIGTERM while a judge or an engine does not answer",
    happens="after `train.stop_grace_s` the step before is saved; exit code 75",
    lost="the step on its way",
)
@pytest.mark.parametrize("place", ["rollout", "reward"])
def test_a_step_that_does_not_end_is_left_after_the_grace(tmp_path: Path, place: str):
    run = Run(tmp_path, train=TrainConfig(num_steps=8, prompts_per_step=1, stop_grace_s=0.5))
    run.at[place, 4] = ask_and_wait()
    began = time.monotonic()
    with pytest.raises(Stopped) as caught:
        run.train()
    assert 0.4 < time.monotonic() - began < 10
    step, state = run.saved()
    assert (step, caught.value.step, state["loader"]["position"]) == (3, 3, 3)
    assert state["row"] is None


@pytest.mark.fault(
    "`touch RUN/stop`",
    happens="as SIGTERM: the step ends, is saved, and the run leaves with exit code 75",
    lost="nothing",
)
def test_a_stop_file_is_a_request(tmp_path: Path):
    run = Run(tmp_path, train=TrainConfig(num_steps=10_000, prompts_per_step=1))
    run.at["rollout", 2] = run.folder.stop_path.touch
    run.at["rollout", 3] = lambda: time.sleep(1.5)
    step = run.train()
    assert 3 <= step < 10_000 and run.saved()[0] == step
    run.folder.close()
    RunFolder(tmp_path).open("seed: 1\n", lambda old: [])
    assert not run.folder.stop_path.exists(), "the next start does not stop at once"


def test_before_there_is_anything_to_save_a_request_leaves_at_once():
    stop = StopRequest()
    with pytest.raises(KeyboardInterrupt):
        ask()
        time.sleep(5)
    assert stop()


@pytest.mark.fault("a second signal", happens="the run is killed at once", lost="as by a kill")
def test_a_second_signal_kills(tmp_path: Path):
    child = os.fork()
    if child == 0:
        try:
            StopRequest().hold()
            ask()
            time.sleep(SAME_REQUEST_S + 0.1)
            ask()
            time.sleep(30)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM


@pytest.mark.fault(
    "the same signal twice in a moment, as GNU `timeout` sends it",
    happens="one request: the step ends, is saved, and the run leaves with exit code 75",
    lost="nothing",
)
def test_signals_in_one_moment_are_one_request():
    stop = StopRequest()
    stop.hold()
    ask()
    ask()
    ask(signal.SIGINT)
    assert stop()


@pytest.mark.fault(
    "SIGTERM while Ray starts, which takes the signal for its own",
    happens="the run leaves with exit code 75",
    lost="nothing",
)
def test_a_signal_that_a_library_turns_into_an_exit_is_a_request():
    stop = StopRequest()
    with pytest.raises(KeyboardInterrupt), stop.lent():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        ask()
    assert stop()
    assert signal.getsignal(signal.SIGTERM) == stop._on_signal


@pytest.mark.fault(
    "SIGTERM while Ray starts a process, where Python can raise nothing",
    happens="the run leaves with exit code 75 as soon as Ray is up",
    lost="nothing",
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_whose_exception_is_lost_is_a_request():
    class Hook:
        def __del__(self) -> None:
            ask()

    stop, goes_on = StopRequest(), []
    with pytest.raises(KeyboardInterrupt), stop.lent():
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))
        hook = Hook()
        del hook
        goes_on.append(True)
    assert goes_on and stop()
    assert signal.getsignal(signal.SIGTERM) == stop._on_signal
    assert signal.set_wakeup_fd(-1) == -1
    with StopRequest().lent():
        pass


@pytest.mark.fault(
    "SIGTERM while the rows of a run are read",
    happens="the command leaves with exit code 75, as a scheduler expects of it",
    lost="nothing: the run has not begun",
)
def test_a_signal_before_the_run_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("launch.cli.preflight", lambda *_, **__: [])
    monkeypatch.setattr("launch.cli._read_data", lambda *_: ask())
    with caplog.at_level("INFO"):
        assert main("policy", "", ["--config", str(TINY), f"output_dir={tmp_path}"]) == 75
    assert "asked to stop before the run began; run the same command again" in caplog.text
    assert not list(tmp_path.iterdir())


NONFINITE = {"optim/skipped": 1.0, "optim/nonfinite": 1.0, "optim/grad_norm": float("inf")}


@pytest.mark.fault(
    "the gradient of two steps is not finite",
    happens="no update, counted in optim/skipped, the examples are in the log; the run goes on",
    lost="the samples of the two steps",
)
def test_a_gradient_that_is_not_finite_costs_its_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    run = Run(tmp_path)
    run.update_metrics = lambda step: NONFINITE if step in (2, 3) else {"optim/skipped": 0.0}
    assert run.train() == 8
    rows = {row["step"]: row for row in run.folder.rows()}
    assert [step for step, row in rows.items() if row["optim/skipped"]] == [2, 3]
    assert rows[2]["not_finite"] == {"optim/grad_norm": "inf"}
    assert "step 3: the gradient is not finite" in caplog.text and "clip-3" in caplog.text


@pytest.mark.fault(
    "the gradient stays not finite, as with a rate that is far too high",
    happens="the run ends after 10 such steps and says what to do; nothing is saved any more",
    lost="the steps since the last checkpoint",
)
def test_many_in_a_row_end_the_run(tmp_path: Path):
    run = Run(tmp_path, train=TrainConfig(num_steps=50, prompts_per_step=1))
    run.update_metrics = lambda step: NONFINITE if step > 6 else {"optim/skipped": 0.0}
    with pytest.raises(NoSignalError, match=r"10 steps in a row .* up to step 16.*optim\.lr"):
        run.train()
    assert run.steps()[-1] == 6 + MAX_NONFINITE_STEPS
    assert run.saved()[0] == 5


@pytest.mark.fault(
    "the weights diverge while only the last checkpoint is kept",
    happens="steps whose gradient is not finite are not saved: the one before them stays",
    lost="the steps since that checkpoint, if the run ends",
)
def test_diverged_weights_do_not_push_out_the_good_checkpoint(tmp_path: Path):
    keep_one = CheckpointConfig(every_steps=1, keep_last=1, background=False)
    run = Run(tmp_path, train=TrainConfig(num_steps=9, prompts_per_step=1), checkpoint=keep_one)
    run.store = CheckpointStore(run.folder.checkpoints_dir, 1)
    kept: list[int] = []
    run.at = {("rollout", step): lambda: kept.append(run.saved()[0]) for step in range(2, 10)}
    bad = (3, 4, 5, 8, 9)
    run.update_metrics = lambda step: NONFINITE if step in bad else {"optim/skipped": 0.0}
    assert run.train() == 9
    assert [step for place, step in run.fired] == [*range(2, 10)]
    # Seen at the start of steps 2 to 9.
    assert kept == [1, 2, 2, 2, 2, 6, 7, 7]
    assert run.saved()[0] == 9, "the end of a run is saved whatever it is"


def test_steps_without_any_update_end_the_run_too():
    guard = IdleGuard()
    for step in range(1, MAX_IDLE_STEPS):
        guard.observe(step, {"optim/skipped": 1.0}, [])
    with pytest.raises(NoSignalError, match="every group was flat"):
        guard.observe(MAX_IDLE_STEPS, {"optim/skipped": 1.0}, [])
    fresh = IdleGuard()
    for step in range(100):
        fresh.observe(step, {"optim/skipped": float(step % 2)}, [])


@pytest.mark.fault(
    "a policy that collapses, with `log.alarm_stop: [entropy]`",
    happens="the alarm ends the run; the checkpoints from before are kept",
    lost="the steps since the last checkpoint",
)
def test_an_alarm_can_end_the_run(tmp_path: Path):
    log = LogConfig(samples_every=0, trackers=[], alarm_steps=2, alarm_stop=["entropy"])
    run = Run(tmp_path, log=log, train=TrainConfig(num_steps=50, prompts_per_step=1))
    run.update_metrics = lambda step: {
        "optim/skipped": 0.0,
        "policy/entropy": 1.0 if step < 7 else 0.05,
    }
    with pytest.raises(AlarmError, match=r"step 8: alarm: for 2 steps the policy's entropy"):
        run.train()
    assert run.steps()[-1] == 8 and run.saved()[0] == 5


def test_a_row_that_waits_for_its_evaluation_keeps_what_is_not_finite(tmp_path: Path):
    run = Run(tmp_path)
    run.update_metrics = lambda step: dict(NONFINITE)
    run.at["eval", 4] = fail(RuntimeError, "gone")
    with pytest.raises(RuntimeError, match="gone"):
        run.train()
    state = json.loads((run.folder.checkpoints_dir / "step_000004" / "state.json").read_text())
    row = unpack_row(state["row"])
    assert row is not None and row["optim/grad_norm"] == float("inf")


def test_nobody_is_left_watching_when_asked_already(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    stop = StopRequest()
    stop.hold()
    ask()
    assert stop() and threading.main_thread().is_alive()
    with pytest.raises(Stopped), stop.interruptible():
        raise AssertionError("not entered")
