"""Saves what is sound before a run leaves because of a failure or a request to stop."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from trainer.checkpoint import CheckpointError
from trainer.guard import AlarmError, NoSignalError
from trainer.learner_group import LearnerError
from trainer.saving import Saver
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

    def __init__(self, saver: Saver, enabled: bool) -> None:
        self._saver = saver
        self._enabled = enabled
        self._point: tuple[int, State] | None = None

    def ready(self, step: int, state: State) -> None:
        """Note that the learner has made `step` updates and what the other parts were then."""
        self._point = (step, state)

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
        if isinstance(error, Stopped) and self._point is not None:
            error.step = self._point[0]
            self._saver.save(*self._point)
        elif isinstance(error, Exception):
            saves = self._enabled and not isinstance(error, UNSOUND)
            self._leave(error, self._point if saves else None)

    def _leave(self, error: Exception, point: tuple[int, State] | None) -> None:
        """Wait for a checkpoint that is on its way, and save `point` if that is another one."""
        try:
            self._saver.finish()
            if point is not None and not self._saver.has(point[0]):
                logger.warning(f"saving step {point[0]} before the run ends: {_first_line(error)}")
                self._saver.save(*point)
        except (LearnerError, CheckpointError, OSError) as second:
            what = "a checkpoint" if point is None else f"step {point[0]}"
            logger.warning(f"{what} could not be saved: {_first_line(second)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
