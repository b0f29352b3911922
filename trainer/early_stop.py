"""Ends a run whose watched metric no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from configs.schema import EarlyStopConfig


class EarlyStop:
    """Counts values of a metric that are no better than the best one before.

    A value is better if it beats the best by more than `min_delta`. A step that lacks the metric,
    or has a value that is not finite, says nothing: it neither counts nor starts the count anew.
    """

    def __init__(self, config: EarlyStopConfig) -> None:
        """Start without a best value."""
        self._config = config
        self._metric = config.metric
        self._best: float | None = None
        self._best_step = 0
        self._num_worse = 0

    def observe(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take note of the metrics of a step, those of its evaluation included."""
        value = metrics.get(self._metric)
        if value is None or not math.isfinite(value):
            return
        sign = 1.0 if self._config.better == "higher" else -1.0
        if self._best is None or sign * (value - self._best) > self._config.min_delta:
            self._best, self._best_step, self._num_worse = float(value), step, 0
        else:
            self._num_worse += 1

    @property
    def reason(self) -> str:
        """Why the run ends, for people; empty while it goes on."""
        if not self._metric or self._num_worse < self._config.patience:
            return ""
        return (
            f"early stop: {self._metric} has not been better than {self._best:.4g} of step "
            f"{self._best_step} for {self._num_worse} values (early_stop.patience, min_delta)"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, as JSON values."""
        return {
            "metric": self._metric,
            "best": self._best,
            "best_step": self._best_step,
            "num_worse": self._num_worse,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint, unless it watched another metric or none."""
        if self._metric and state.get("metric") == self._metric:
            self._best, self._best_step = state["best"], state["best_step"]
            self._num_worse = state["num_worse"]
