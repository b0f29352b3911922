"""Which reward terms count at this step, and how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data.records import ScoredGroup


class Schedule:
    """Weights of the reward terms over a run; the one stateful piece of reward logic.

    The weights are constant: what has been observed does not change them.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Keep the weights.

        Args:
            weights: Term name -> weight in the reward; 0 means that the term is not computed.
        """
        self._weights = dict(weights)

    def weights(self) -> dict[str, float]:
        """Return the weight of every term for the next step; 0 = not introduced, not computed."""
        return dict(self._weights)

    def observe(self, scored: Sequence[ScoredGroup]) -> None:
        """Take note of a finished step; constant weights need none of it."""
        del scored

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, as JSON values: nothing for constant weights."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ValueError: The checkpoint holds state that constant weights do not have.
        """
        if state:
            raise ValueError(
                f"checkpoint: reward schedule state {sorted(state)} does not fit constant weights; "
                "resume with the schedule that the run was started with"
            )
