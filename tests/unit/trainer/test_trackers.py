"""The sink of the trackers: what each is told, and what a failure costs. Without any package."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from configs.load import dump_config, load_config
from tests.fixtures import write_tone
from tests.unit.trainer.test_tensorboard import row
from trainer.metrics_writer import MetricsWriter
from trainer.run_folder import RunFolder
from trainer.trackers.base import Completions, TrackedRun, Tracker
from trainer.trackers.sink import TrackerError, Trackers

ROOT = Path(__file__).parents[3]


class Memory(Tracker):
    """A tracker that keeps all in lists, over the lives of a run."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at
        self.runs: list[TrackedRun] = []
        self.steps: list[tuple[int, float]] = []
        self.completions: list[Completions] = []
        self.reports: list[str] = []
        self.closed = 0

    def open(self, run: TrackedRun) -> None:
        self.runs.append(run)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise ConnectionError("the server is gone")
        self.steps.append((step, values["x"]))

    def log_completions(self, completions: Completions) -> None:
        self.completions.append(completions)

    def log_report(self, path: Path) -> None:
        self.reports.append(path.read_text())

    def close(self) -> None:
        self.closed += 1


class Refusing(Tracker):
    """A tracker that refuses a key that it repeats."""

    def open(self, run: TrackedRun) -> None:
        raise PermissionError("WANDB key topsecretkey is wrong")


def opened(root: Path, *overrides: str) -> tuple[Any, RunFolder]:
    settings = [f"data.audio_root={root}", "log.trackers=[wandb]", *overrides]
    config = load_config(ROOT / "configs" / "tiny.yaml", settings)
    folder = RunFolder(root / "run")
    folder.open(dump_config(config), lambda old: [])
    return config, folder


def live(root: Path, tracker: Tracker, first: int, last: int, shift: float = 0.0) -> RunFolder:
    """One life of a run: steps `first` to `last`, where x of a step is the step and `shift`."""
    config, folder = opened(root)
    folder.truncate_after(first - 1)
    with Trackers(config, folder, lambda name: tracker) as trackers:
        trackers.open(resumed=False)
        writer = MetricsWriter(folder, trackers, first)
        for step in range(first, last + 1):
            writer.write(step, {"x": step + shift, "y": float("nan")})
    folder.close()
    return folder


def test_a_run_that_goes_on_is_the_same_one_and_repeats_no_step(tmp_path: Path) -> None:
    tracker = Memory()
    folder = live(tmp_path, tracker, 1, 6)
    (folder.checkpoints_dir / "step_000004").mkdir()
    live(tmp_path, tracker, 5, 8, shift=0.5)
    assert tracker.steps == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7.5), (8, 8.5)]
    first, second = tracker.runs
    assert first.id == second.id and (first.is_new, second.is_new) == (True, False)
    assert tracker.closed == 2


def test_a_run_without_a_checkpoint_starts_over_as_another_one(tmp_path: Path) -> None:
    tracker = Memory()
    live(tmp_path, tracker, 0, 2)
    live(tmp_path, tracker, 0, 2)
    assert [step for step, _ in tracker.steps] == [0, 1, 2, 0, 1, 2]
    assert tracker.runs[0].id != tracker.runs[1].id


def test_what_a_tracker_lacks_comes_when_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = Memory(fails_at=3)
    folder = live(tmp_path, tracker, 1, 6)
    assert tracker.steps == [(1, 1), (2, 2)]
    assert len(folder.rows()) == 6, "the run went on"
    told = [line for line in caplog.messages if "wandb" in line]
    reason = "ConnectionError: the server is gone"
    assert told == [f"nothing more goes to wandb, the run goes on: {reason}"]
    (folder.checkpoints_dir / "step_000006").mkdir()
    tracker.fails_at = -1
    live(tmp_path, tracker, 7, 8)
    assert [step for step, _ in tracker.steps] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_new_run_does_not_start_without_its_tracker(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "topsecretkey")
    config, folder = opened(tmp_path)
    trackers = Trackers(config, folder, lambda name: Refusing())
    expected = r"wandb does not start: PermissionError: WANDB key \[key\] is wrong; see docs/track"
    with pytest.raises(TrackerError, match=expected):
        trackers.open(resumed=False)
    with Trackers(config, folder, lambda name: Refusing()) as trackers:
        trackers.open(resumed=True)
        MetricsWriter(folder, trackers, 1).write(1, {"x": 1.0})
    assert caplog.text.count("nothing more goes to wandb, the run goes on") == 1
    assert "topsecretkey" not in caplog.text


def test_a_run_does_not_wait_for_a_tracker(tmp_path: Path) -> None:
    free = threading.Event()

    class Slow(Memory):
        def log(self, step: int, values: Mapping[str, float]) -> None:
            assert free.wait(60)
            super().log(step, values)

    tracker = Slow()
    config, folder = opened(tmp_path)
    with Trackers(config, folder, lambda name: tracker) as trackers:
        trackers.open(resumed=False)
        writer = MetricsWriter(folder, trackers, 1)
        for step in range(1, 101):
            writer.write(step, {"x": 0.0})
        assert len(folder.rows()) == 100 and tracker.steps == []
        free.set()
    assert len(tracker.steps) == 100


def test_a_table_has_clips_of_different_groups(tmp_path: Path) -> None:
    for number in range(4):
        write_tone(tmp_path / f"clip-{number}.wav", duration_s=0.5)
    (tmp_path / "clip-2.wav").unlink()
    tracker = Memory()
    config, folder = opened(tmp_path, "log.clips=2")
    rows = [row(group) for group in range(4) for _ in range(2)]
    with Trackers(config, folder, lambda name: tracker) as trackers:
        trackers.open(resumed=False)
        writer = MetricsWriter(folder, trackers, 10)
        for step in (10, 11, 13):
            writer.write_samples(step, rows)
        folder.report_path.write_text("report")
        trackers.log_report(folder.report_path)
    first, second, third = tracker.completions
    assert list(first.shown) == [0, 4] and list(first.clips) == [0], "clip-2 is gone"
    assert not second.clips and list(third.clips) == [0], "again when the step is a quarter larger"
    assert first.columns()[:3] == ["id", "label", "answer"]
    assert first.columns()[-2:] == ["term/format", "term/reasoning"]
    assert first.cells()[5][0] == "clip-2" and first.cells()[5][-2:] == [1.0, None]
    with first.clip_files() as files:
        assert len(files[0].read_bytes()) == 44 + 16_000
    assert not files[0].exists()
    assert tracker.reports == ["report"]
