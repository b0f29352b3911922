"""The sink that a run writes to: every tracker gets the same, each on a thread of its own.

The run folder is the truth, and the trackers are copies: one that fails costs a warning, and gets
what it lacks when the run goes on the next time.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from importlib import import_module
from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.schema import RunConfig
from configs.secrets import without_secrets
from configs.section import tree_of
from data.audio import SAMPLE_RATE_HZ, wav_bytes
from data.clips import read_clip
from data.files import write_atomically
from trainer.checkpoint import newest_step
from trainer.run_folder import RunFolder
from trainer.trackers.base import Completions, TrackedRun, Tracker, shown_places

logger = logging.getLogger(__name__)

BACK_ENDS = {
    "tensorboard": "EventFile",
    "wandb": "WandbTracker",
    "mlflow": "MlflowTracker",
    "trackio": "TrackioTracker",
    "swanlab": "SwanlabTracker",
}
"""`log.trackers` -> the class in the module of that name."""

NUM_SHOWN = 4
"""Completions that are shown first where there are no clips."""

MAX_CLIP_S = 10.0
"""Clips are cut here: 320 kB."""

CLIP_GROWTH = 1.25
"""Clips are written again once the step has grown by this factor: 30 times in 1,000 steps."""

MAX_WAITING = 1000
"""Calls that may wait for a tracker before it counts as failed."""

START_S, CLOSE_S = 90.0, 60.0
"""Time that all trackers together have to start, and to send the last of it."""


class TrackerError(UserError):
    """A tracker does not start; the message says which, why and what to do."""


def back_end(name: str) -> Tracker:
    """Return the back end of a name of `log.trackers`."""
    module = import_module(f"trainer.trackers.{name}")
    return getattr(module, BACK_ENDS[name])()


class Trackers:
    """The trackers of a run. Only `open` and `close` wait for them."""

    def __init__(
        self, config: RunConfig, folder: RunFolder, make: Callable[[str], Tracker] = back_end
    ) -> None:
        """Make them; nothing starts before `open`.

        Args:
            config: Of the run.
            folder: An open run folder.
            make: Name of a tracker -> its back end.
        """
        self._config = config
        self._folder = folder
        self._next_clips = 0
        names = dict.fromkeys(config.log.trackers)
        self._lanes = [_Lane(name, make(name), folder) for name in names]

    def open(self, resumed: bool) -> None:
        """Start all trackers, side by side.

        Args:
            resumed: Whether the folder holds a run already; that one goes on without a tracker that
                does not start, with a warning.

        Raises:
            TrackerError: A tracker of a new run does not start.
        """
        for lane in self._lanes:
            lane.start(self._config, self._folder)
        deadline = time.monotonic() + START_S
        for lane in self._lanes:
            reason = lane.reason_not_open(deadline)
            if reason and not resumed:
                self.close()
                raise TrackerError(
                    f"log.trackers: {lane.name} does not start: {reason}; see docs/trackers.md, or "
                    "leave it out"
                )
            if reason:
                lane.give_up(reason)

    def begin(self, first_step: int) -> None:
        """Bring all trackers to the step before the first that will be written.

        Args:
            first_step: What a tracker lacks of earlier steps is sent from metrics.jsonl; steps that
                it has are not sent again.
        """
        self._next_clips = first_step
        if not self._lanes:
            return
        rows = [row for row in self._folder.rows() if row["step"] < first_step]
        for lane in self._lanes:
            lane.begin(first_step, rows)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Send the metrics of a step: key -> finite number."""
        for lane in self._lanes:
            lane.write(step, values)

    def write_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Send the completions of a step and, at growing distances, some of their clips.

        Args:
            step: Loop step.
            rows: Of its sample file; see `trainer.metrics.sample_rows`.
        """
        if not rows or not self._lanes:
            return
        num = self._config.log.clips
        shown = shown_places(rows, num or NUM_SHOWN)
        clips: dict[int, bytes] = {}
        if num and step >= self._next_clips:
            self._next_clips = max(step + 1, round(step * CLIP_GROWTH))
            clips = self._clips(rows, shown)
        completions = Completions(step, rows, shown, clips)
        for lane in self._lanes:
            lane.write_completions(completions)

    def log_report(self, path: Path) -> None:
        """Send report.html."""
        for lane in self._lanes:
            lane.put(lambda tracker: tracker.log_report(path))

    def close(self) -> None:
        """Wait until all is sent, CLOSE_S at most; calling it twice does nothing."""
        deadline = time.monotonic() + CLOSE_S
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            lane.finish()
        for lane in lanes:
            lane.join(deadline)

    def __enter__(self) -> Trackers:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _clips(self, rows: Sequence[Mapping[str, Any]], places: Sequence[int]) -> dict[int, bytes]:
        data = self._config.data
        num = round(MAX_CLIP_S * SAMPLE_RATE_HZ)
        clips: dict[int, bytes] = {}
        for place in places:
            audio = rows[place]["audio"]
            clip = read_clip(Path(data.audio_root), audio, follow_links=data.follow_links)
            if clip is not None:
                clips[place] = wav_bytes(clip[:num])
        return clips


class _Lane:
    """A tracker and its thread; the first failure costs a warning and ends it."""

    def __init__(self, name: str, tracker: Tracker, folder: RunFolder) -> None:
        self.name = name
        self._tracker = tracker
        self._home = folder.root / "trackers" / name
        self._state_path = self._home.with_suffix(".json")
        self._id = uuid.uuid4().hex[:16]
        self._last = -1
        self._failed = False
        self._opened: Future[None] = Future()
        self._calls: queue.SimpleQueue[Callable[[Tracker], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"tracker-{name}", daemon=True)

    def start(self, config: RunConfig, folder: RunFolder) -> None:
        """Begin to open the tracker; see `reason_not_open`."""
        is_new = True
        # A run that starts over, for want of a checkpoint, is another one for the tracker.
        if newest_step(folder.checkpoints_dir) is not None and self._state_path.is_file():
            state = json.loads(self._state_path.read_text(encoding="utf-8"))
            self._id, self._last, is_new = state["id"], state["step"], False
        if self._tracker.has_memory:
            self._home.mkdir(parents=True, exist_ok=True)
        run = TrackedRun(
            self._id,
            is_new,
            config.name,
            config.log.project,
            tree_of(config),
            folder.config_path,
            self._home if self._tracker.has_memory else folder.tb_dir,
        )
        self._calls.put(lambda tracker: tracker.open(run))
        self._thread.start()

    def reason_not_open(self, deadline: float) -> str:
        """Wait until the tracker is open; return why it is not, else nothing."""
        try:
            self._opened.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return f"no answer in {START_S:.0f} s"
        except Exception as error:
            return _described(error)
        return ""

    def begin(self, first_step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """See `Trackers.begin`."""
        self.put(lambda tracker: tracker.begin(first_step))
        if not self._tracker.has_memory:
            return
        lacking = [row for row in rows if row["step"] > self._last]
        if lacking:
            self._last = lacking[-1]["step"]
            self.put(lambda tracker: self._catch_up(tracker, lacking))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """See `Trackers.write`."""
        if self._is_news(step):
            self._last = step
            self.put(lambda tracker: self._log(tracker, step, values))

    def write_completions(self, completions: Completions) -> None:
        """See `Trackers.write_samples`."""
        if self._is_news(completions.step):
            self.put(lambda tracker: tracker.log_completions(completions))

    def put(self, call: Callable[[Tracker], None]) -> None:
        """Leave a call to the thread."""
        if self._failed:
            return
        if self._calls.qsize() >= MAX_WAITING:
            self.give_up(f"{MAX_WAITING} calls wait for it")
        self._calls.put(call)

    def finish(self) -> None:
        """Leave the end to the thread."""
        self._calls.put(None)

    def join(self, deadline: float) -> None:
        """Wait for the end of the thread."""
        if not self._thread.ident:
            return
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive() and not self._failed:
            self.give_up(f"it has not taken everything within {CLOSE_S:.0f} s")

    def give_up(self, reason: str) -> None:
        """Say once that the tracker gets nothing more."""
        if not self._failed:
            self._failed = True
            logger.warning(f"nothing more goes to {self.name}, the run goes on: {reason}")

    def _is_news(self, step: int) -> bool:
        return step > self._last or not self._tracker.has_memory

    def _catch_up(self, tracker: Tracker, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            values = {key: v for key, v in row.items() if isinstance(v, float)}
            self._log(tracker, row["step"], values)

    def _log(self, tracker: Tracker, step: int, values: Mapping[str, float]) -> None:
        tracker.log(step, values)
        if tracker.has_memory:
            write_atomically(self._state_path, json.dumps({"id": self._id, "step": step}) + "\n")

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            if not self._failed:
                self._try(call)
        if self._opened.done() and not self._opened.exception():
            self._try(lambda tracker: tracker.close())

    def _try(self, call: Callable[[Tracker], None]) -> None:
        """Make a call; the first of all is the one that opens the tracker."""
        try:
            call(self._tracker)
        except Exception as error:
            if self._opened.done():
                self.give_up(_described(error))
            else:
                self._opened.set_exception(error)
            return
        if not self._opened.done():
            self._opened.set_result(None)


def _described(error: Exception) -> str:
    return without_secrets(" ".join(f"{type(error).__name__}: {error}".split()))
