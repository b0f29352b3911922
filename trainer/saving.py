"""How a loop writes a checkpoint, and what it does when the disk has no room for one."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from configs.schema import CheckpointConfig, RunConfig
from trainer.checkpoint import Best, CheckpointStore
from trainer.learner_group import LearnerGroup
from trainer.sealed import CheckpointFullError

logger = logging.getLogger(__name__)


def best_of(config: CheckpointConfig) -> Best | None:
    """Return by what the best checkpoint is kept; None if it is not."""
    return Best(config.best_metric, config.best_is == "higher") if config.best_metric else None


def score_of(config: CheckpointConfig, metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """Return what a checkpoint holds of `checkpoint.best_metric`; None without a finite value."""
    value = metrics.get(config.best_metric)
    if value is None or not math.isfinite(value):
        return None
    return {"metric": config.best_metric, "value": float(value)}


def pack_row(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return metrics as JSON data; a value that is not finite as a text."""
    return {key: v if math.isfinite(v) else str(v) for key, v in metrics.items()}


def unpack_row(row: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Return what `pack_row` was given; None for none."""
    return None if row is None else {key: float(value) for key, value in row.items()}


class Saver:
    """Writes the checkpoints of a run, those in its middle while the loop goes on.

    One is on its way at a time: the next begins when it is there.

    Args:
        step: updates that the run starts from; they need no checkpoint.
    """

    def __init__(
        self, config: RunConfig, store: CheckpointStore, learner: LearnerGroup, step: int
    ) -> None:
        self._config = config
        self._store = store
        self._learner = learner
        self._saved_step = step
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._on_its_way: tuple[int, Future[None]] | None = None

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Publish a checkpoint from which the run goes on as if it had never stopped.

        Args:
            state: JSON data of the loop; see `CheckpointStore.publish`.

        Raises:
            CheckpointError: it cannot be written; older ones are kept.
            LearnerError: a rank failed to write its part.
        """
        if self.has(step):
            return
        with self._store.writing(step) as folder:
            self._learner.save(folder)
            self._publish(step, state, folder)
        self._saved_step = step

    def begin(self, step: int, state: Mapping[str, Any]) -> None:
        """Save a step in the middle of a run; a full disk costs the checkpoint, not the run.

        What is saved is this moment's state. An error in the background is raised by the next call.
        A later checkpoint may find room; the last one of a run has no later one, and ranks that
        wait for one that has failed cannot go on: then a full disk is an error as others are.

        Raises:
            CheckpointError: as `save`.
            LearnerError: as `save`.
        """
        try:
            if step == self._config.train.num_steps or not self._config.checkpoint.background:
                self.save(step, state)
            elif not self.has(step):
                self._begin(step, state)
        except CheckpointFullError as error:
            stuck = error.begun and self._config.learner.num_ranks > 1
            if step == self._config.train.num_steps or stuck:
                raise
            _warn(step, error)

    def _begin(self, step: int, state: Mapping[str, Any]) -> None:
        state = copy.deepcopy(state)
        with ExitStack() as stack:
            folder = stack.enter_context(self._store.writing(step))
            self._learner.save(folder)
            rest = stack.pop_all()

        def publish() -> None:
            with rest:
                self._publish(step, state, folder)

        self._on_its_way = step, self._pool.submit(publish)

    def _publish(self, step: int, state: Mapping[str, Any], folder: Path) -> None:
        self._store.publish(step, state, self._learner.saved_files(folder))

    def has(self, step: int) -> bool:
        """Return whether nothing is left to save of a step; waits for what is on its way."""
        self.finish()
        return step == self._saved_step

    def finish(self) -> None:
        """Wait for the checkpoint that is on its way.

        Raises:
            CheckpointError: it cannot be written; a full disk is only said.
            LearnerError: a rank failed to write its part.
        """
        if self._on_its_way is None:
            return
        (step, publishing), self._on_its_way = self._on_its_way, None
        try:
            publishing.result()
            self._saved_step = step
        except CheckpointFullError as error:
            _warn(step, error)


def _warn(step: int, error: CheckpointFullError) -> None:
    logger.warning(f"alarm: no checkpoint of step {step}, the run goes on: {error}")
