"""Ends a run that no longer learns: many steps without an update, or an alarm that stops it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

logger = logging.getLogger(__name__)

MAX_IDLE_STEPS = 20
"""Steps in a row without an optimizer update after which a run gives up."""

MAX_NONFINITE_STEPS = 10
"""Steps in a row with a gradient that is not finite after which a run gives up: the weights do not
change meanwhile, so that only other samples can help."""

NUM_NAMED = 16
"""Most examples that a line names."""


class NoSignalError(RuntimeError):
    """The run cannot learn: no step had a usable gradient for a long time."""


class AlarmError(RuntimeError):
    """An alarm of `log.alarm_stop` was raised."""


def may_replace_checkpoints(metrics: Mapping[str, float]) -> bool:
    """Return whether a step may be saved where that ends an older checkpoint.

    Args:
        metrics: of the step. Where its gradient was not finite, its weights are those of the step
            before and may have diverged there: many such checkpoints would leave no good one.
    """
    return not metrics.get("optim/nonfinite", 0.0) > 0


class IdleGuard:
    """Counts steps without an update."""

    def __init__(self) -> None:
        self._num_idle = 0
        self._num_nonfinite = 0

    def observe(self, step: int, metrics: Mapping[str, float], example_ids: Sequence[str]) -> None:
        """Take note of a step that is written down.

        Args:
            metrics: of the step; `optim/skipped` and `optim/nonfinite` count.
            example_ids: what the step was about, for the log.

        Raises:
            NoSignalError: too many in a row made no update; the message says why.
        """
        idle = metrics.get("optim/skipped", 0.0) > 0
        nonfinite = metrics.get("optim/nonfinite", 0.0) > 0
        self._num_idle = self._num_idle + 1 if idle else 0
        self._num_nonfinite = self._num_nonfinite + 1 if nonfinite else 0
        if nonfinite:
            named = ", ".join(example_ids[:NUM_NAMED])
            more = f" and {len(example_ids) - NUM_NAMED} more" if example_ids[NUM_NAMED:] else ""
            logger.warning(
                f"step {step}: the gradient is not finite; the weights stay as they are; its "
                f"examples: {named}{more}"
            )
        if self._num_nonfinite >= MAX_NONFINITE_STEPS:
            raise NoSignalError(
                f"{self._num_nonfinite} steps in a row had a gradient that is not finite, up to "
                f"step {step}: the weights have diverged, or the samples of these steps are bad; "
                "lower optim.lr (resume.allow=[optim.lr]); none of these steps was saved, and if "
                "the first ones fail again, delete the newest checkpoint too; their examples are "
                "in the log"
            )
        if self._num_idle >= MAX_IDLE_STEPS:
            raise NoSignalError(
                f"{self._num_idle} steps without an update, up to step {step}: every group was "
                "flat (all its rewards equal), too many scores were missing, or the gradient was "
                "not finite; see advantage/flat_frac, reward/NAME_coverage and the samples"
            )
