"""Lines that a person should read: the judge is being gamed, or the policy rambles."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from configs.schema import LogConfig

NUM_BASE_STEPS = 5
"""First steps of a run whose mean completion length is the measure for later ones."""


class Alarms:
    """Watches the metrics of the steps; a condition is reported when it has held long enough.

    After a report it starts to count anew: a lasting condition is reported every `alarm_steps`.
    """

    def __init__(self, config: LogConfig, judged: Sequence[str]) -> None:
        """Watch the judged terms with these names."""
        self._steps = config.alarm_steps
        self._growth = config.alarm_growth
        self._judged = tuple(judged)
        self._counts: dict[str, int] = {}
        self._base: list[float] = []

    def observe(self, metrics: Mapping[str, float]) -> list[str]:
        """Take note of a step's metrics, and return the lines to report now."""
        if not self._steps:
            return []
        reports: list[str] = []
        for name, holds, line in self._conditions(metrics):
            count = self._counts.get(name, 0) + 1 if holds else 0
            if count >= self._steps:
                reports.append(f"alarm: for {count} steps {line}")
                count = 0
            self._counts[name] = count
        return reports

    def _conditions(self, metrics: Mapping[str, float]) -> Iterator[tuple[str, bool, str]]:
        """Yield (name, whether it holds, what to say); a step without the figure ends a row."""
        for term in self._judged:
            gap = metrics.get(f"judge/{term}_right_wrong_gap")
            yield (
                f"{term}_prefers_wrong",
                gap is not None and gap < 0,
                f"the judge of {term!r} has scored wrong answers above right ones (now by "
                f"{-(gap or 0.0):.3f}): look at the samples; a better judge is needed",
            )
        kl = metrics.get("policy/kl")
        # At the first step the two are the same, and never again: rounding alone sees to that.
        yield (
            "no_kl",
            kl == 0.0,
            "policy/kl has been exactly 0: the weights do not move, or the reference moves along",
        )
        tokens = metrics["rollout/completion_tokens_mean"]
        if len(self._base) < NUM_BASE_STEPS:
            self._base.append(tokens)
        base = statistics.fmean(self._base)
        yield (
            "length",
            tokens > self._growth * base,
            f"completions are {tokens / base:.1f} times as long as at the start ({tokens:.0f} "
            f"tokens, {base:.0f} then): a reward may pay for length",
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, as JSON values."""
        return {"counts": dict(self._counts), "base": list(self._base)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self._counts = dict(state["counts"])
        self._base = list(state["base"])
