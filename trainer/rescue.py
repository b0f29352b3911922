"""Saves what is sound before a run leaves because of a failure or a request to stop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any

from trainer.checkpoint import CheckpointError, CheckpointStore
from trainer.guard import AlarmError, NoSignalError
from trainer.learner_group import LearnerError, LearnerGroup
from trainer.saving import save_checkpoint
from trainer.stop import Stopped

logger = logging.getLogger(__name__)

UNSOUND = (LearnerError, CheckpointError, NoSignalError, AlarmError)
"""Failures after which nothing is saved: the learner does not answer, a checkpoint has just not
gone through, or the weights are not worth it and would push better ones out."""

State = Mapping[str, Any]


class Rescue:
    """Knows at every moment which step could be saved; as a context, saves it on the way out.

    Args:
        enabled: whether failures are answered with a checkpoint; a request to stop always is.
    """

    def __init__(self, store: CheckpointStore, learner: LearnerGroup, enabled: bool) -> None:
        self._save = partial(save_checkpoint, store, learner)
        self._enabled = enabled
        self._point: tuple[int, State] | None = None
        self._saved = False

    def ready(self, step: int, state: State) -> None:
        """Note that the learner has made `step` updates and what the other parts were then."""
        self._point = (step, state)
        self._saved = False

    def saved(self) -> None:
        """Note that a checkpoint of this step exists already."""
        self._saved = True

    def updating(self) -> None:
        """Note that the learner changes: until `ready` nothing is sound."""
        self._point = None

    def __enter__(self) -> Rescue:
        """Begin to watch."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Save, if there is something to save; the error goes on in any case."""
        if not isinstance(error, Exception) or isinstance(error, UNSOUND) or self._point is None:
            return
        step, state = self._point
        if isinstance(error, Stopped):
            error.step = step
            if not self._saved:
                self._save(step, state)
        elif self._enabled and not self._saved:
            logger.warning(f"saving step {step} before the run ends: {_first_line(error)}")
            try:
                self._save(step, state)
            except (LearnerError, CheckpointError, OSError) as second:
                logger.warning(f"step {step} could not be saved: {_first_line(second)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
