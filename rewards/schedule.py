"""Which reward terms count at this step, and how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from configs.schema import RewardTermConfig, TermScheduleConfig
from data.records import ScoredGroup
from rewards.trust import mean


class AccuracyGate:
    """Opens once the rollouts' accuracy has settled high enough, and never closes again.

    Open when three conditions hold after the same step: the moving average `e_t = d e_(t-1) +
    (1 - d) a_t` (with `e_1 = a_1`) is at least `threshold`; over the last `window` steps it moved
    by at most `flatness`; and at least `min_steps` steps are done.

    Source: EmotionThinker's progressive schedule adds the reasoning reward once accuracy is steady
    at about 50 %, without stating how that is decided. A threshold alone would be passed before the
    first step by its base model (52.6 %), so flatness and a shortest time are asked for as well.
    """

    def __init__(self, config: TermScheduleConfig) -> None:
        """Start closed.

        Args:
            config: Of kind `gate`.
        """
        self._config = config
        self._averages: list[float] = []
        self._opened_at: int | None = None

    def observe(self, accuracy: float | None, step: int) -> None:
        """Take note of a finished step.

        Args:
            accuracy: Share of right completions; None if no completion had an outcome.
            step: Steps done, this one included.
        """
        config = self._config
        if accuracy is not None:
            average = accuracy
            if self._averages:
                last = self._averages[-1]
                average = config.ema_decay * last + (1 - config.ema_decay) * accuracy
            self._averages = [*self._averages, average][-config.window - 1 :]
        settled = (
            len(self._averages) > config.window
            and self._averages[-1] >= config.threshold
            and self.spread <= config.flatness
        )
        if self._opened_at is None and settled and step >= config.min_steps:
            self._opened_at = step

    @property
    def spread(self) -> float:
        """Largest difference of two moving averages within the window; 0 before the first step."""
        return max(self._averages) - min(self._averages) if self._averages else 0.0

    def factor(self, step: int) -> float:
        """Return the factor in [0, 1] for the step that follows `step` finished ones."""
        if self._opened_at is None:
            return 0.0
        ramp = self._config.ramp_steps
        return min(1.0, (step - self._opened_at + 1) / ramp) if ramp else 1.0

    def metrics(self, prefix: str) -> dict[str, float]:
        """Return the gate's state as metrics `PREFIX_...`."""
        state = {f"{prefix}_open": float(self._opened_at is not None)}
        if self._averages:
            state[f"{prefix}_accuracy_ema"] = self._averages[-1]
            state[f"{prefix}_accuracy_spread"] = self.spread
        if self._opened_at is not None:
            state[f"{prefix}_opened_at"] = float(self._opened_at)
        return state

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, as JSON values."""
        return {"averages": list(self._averages), "opened_at": self._opened_at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self._averages = [float(value) for value in state["averages"]][-self._config.window - 1 :]
        self._opened_at = state["opened_at"]


class Schedule:
    """Weights of the reward terms over a run; the one stateful piece of reward logic."""

    def __init__(self, terms: Sequence[RewardTermConfig], outcome: str) -> None:
        """Start before the first step.

        Args:
            terms: The reward terms, with their weights and courses.
            outcome: Name of the term that gates take as accuracy.
        """
        self._terms = list(terms)
        self._outcome = outcome
        self._step = 0
        self._gates = {
            term.name: AccuracyGate(term.schedule) for term in terms if term.schedule.kind == "gate"
        }

    def weights(self) -> dict[str, float]:
        """Return the weight of every term for the next step; 0 = not introduced, not computed."""
        return {term.name: term.weight * self._factor(term) for term in self._terms}

    def _factor(self, term: RewardTermConfig) -> float:
        gate = self._gates.get(term.name)
        if gate is not None:
            return gate.factor(self._step)
        return _COURSES[term.schedule.kind](term.schedule, self._step)

    def observe(self, scored: Sequence[ScoredGroup]) -> None:
        """Take note of a finished step: gates follow the accuracy of its completions."""
        self._step += 1
        outcomes = [
            value
            for item in scored
            for value in item.terms.values.get(self._outcome, ())
            if value is not None
        ]
        accuracy = mean(outcomes) if outcomes else None
        for gate in self._gates.values():
            gate.observe(accuracy, self._step)

    def metrics(self) -> dict[str, float]:
        """Return the weights of the next step and the state of the gates.

        As metrics `schedule/NAME` and `gate/NAME_...`.
        """
        weights = {f"schedule/{name}": weight for name, weight in self.weights().items()}
        gates = {
            key: value
            for name, gate in self._gates.items()
            for key, value in gate.metrics(f"gate/{name}").items()
        }
        return weights | gates

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, as JSON values."""
        gates = {name: gate.state_dict() for name, gate in self._gates.items()}
        return {"step": self._step, "gates": gates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint.

        Raises:
            ValueError: The checkpoint's gates are not those of this run.
        """
        saved = sorted(state.get("gates", {}))
        if saved != sorted(self._gates) or "step" not in state:
            raise ValueError(
                f"checkpoint: it holds gates of the terms {saved}, the run has gates for "
                f"{sorted(self._gates)}; resume with the schedule that the run was started with"
            )
        self._step = int(state["step"])
        for name, gate in self._gates.items():
            gate.load_state_dict(state["gates"][name])


def _constant(config: TermScheduleConfig, step: int) -> float:
    del config, step
    return 1.0


def _linear(config: TermScheduleConfig, step: int) -> float:
    return _between(config, _progress(config, step))


def _cosine(config: TermScheduleConfig, step: int) -> float:
    return _between(config, 0.5 - 0.5 * math.cos(math.pi * _progress(config, step)))


def _exponential(config: TermScheduleConfig, step: int) -> float:
    # Source: SophiaVL-R1 (arXiv 2505.17018) decays its thinking reward by exp(-step / T).
    elapsed = max(0, step - config.begin_step)
    return _between(config, 1.0 - math.exp(-elapsed / config.num_steps))


def _progress(config: TermScheduleConfig, step: int) -> float:
    return min(1.0, max(0, step - config.begin_step) / config.num_steps)


def _between(config: TermScheduleConfig, share: float) -> float:
    return config.start_frac + share * (config.end_frac - config.start_frac)


_COURSES: Mapping[str, Callable[[TermScheduleConfig, int], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "exponential": _exponential,
}
