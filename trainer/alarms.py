"""Lines that a person should read: the judge is gamed, or the policy collapses or rambles."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from configs.schema import AlarmName, LogConfig
from trainer.classes import GIVEN_UP
from trainer.guard import AlarmError

NUM_BASE_STEPS = 5
"""First steps of a run whose mean is the measure for later ones, and the steps of a mean of which
the best is."""

ACCURACY_SHARE = 0.5
"""Accuracy below this share of its best mean has collapsed."""

ENTROPY_SHARE = 0.1
"""Entropy below this share of its start has collapsed."""

CLASS_SHARE = 0.2
"""Best accuracy that a class must have had for 0 to be a loss."""

TRUNCATED_FRAC = 0.5
"""Completions cut at the limit, as a share, that are too many."""

FLAT_FRAC = 0.95
"""Flat groups, as a share, that leave next to nothing to learn from."""

DRIFT = 0.25
"""Change of a judge's mean that is drift, if accuracy has moved less than `STEADY`."""

HACKING = 0.1
"""Rise of a judge's mean that is gamed, if accuracy has fallen as much."""

STEADY = 0.05


class Condition(NamedTuple):
    """Something that may hold in a step."""

    name: AlarmName
    key: str
    """Tells apart conditions of one name."""
    holds: bool | None
    """None = the step says nothing, and does not end a row."""
    line: str


class Alarms:
    """Watches the metrics of the steps; a condition is reported when it has held long enough.

    After a report it starts to count anew: a lasting condition is reported every `alarm_steps`.
    """

    def __init__(self, config: LogConfig, judged: Sequence[str], outcome: str = "accuracy") -> None:
        """Watch the judged terms with these names, and the term that tells right from wrong."""
        self._steps = config.alarm_steps
        self._growth = config.alarm_growth
        self._stop = frozenset(config.alarm_stop)
        self._judged = tuple(judged)
        self._classes = f"reward/{outcome}_mean_"
        self._counts: dict[str, int] = {}
        self._firsts: dict[str, list[float]] = {}
        self._lasts: dict[str, list[float]] = {}
        self._bests: dict[str, float] = {}
        self._raised: dict[AlarmName, str] = {}

    def observe(self, metrics: Mapping[str, float]) -> list[str]:
        """Take note of a step's metrics, and return the lines to report now."""
        self._raised = {}
        if not self._steps:
            return []
        metrics = {key: value for key, value in metrics.items() if math.isfinite(value)}
        reports: list[str] = []
        for condition in self._conditions(metrics):
            if condition.holds is None:
                continue
            count = self._counts.get(condition.key, 0) + 1 if condition.holds else 0
            if count >= self._steps:
                line = f"alarm: for {count} steps {condition.line}"
                reports.append(line)
                self._raised.setdefault(condition.name, line)
                count = 0
            self._counts[condition.key] = count
        return reports

    def stop_if_asked(self, step: int) -> None:
        """End the run if `log.alarm_stop` names an alarm that was raised in the last step.

        Raises:
            AlarmError: it does; the message has the alarm.
        """
        for name in sorted(self._raised.keys() & self._stop):
            raise AlarmError(
                f"step {step}: {self._raised[name]} (log.alarm_stop names {name!r}); the "
                "checkpoints are those before, and the best one if checkpoint.best_metric is set"
            )

    def _conditions(self, metrics: Mapping[str, float]) -> Iterator[Condition]:
        """Yield what may hold; a step without the figure ends a row, but for classes."""
        yield from self._judges(metrics)
        accuracy = metrics.get("rollout/accuracy")
        if accuracy is not None:
            best = self._best("accuracy", accuracy)
            yield Condition(
                "accuracy",
                "accuracy",
                accuracy < ACCURACY_SHARE * best,
                f"accuracy has been below half of its best ({accuracy:.3f}, {best:.3f} then): the "
                "policy may have collapsed; look at the samples, and go back to the best "
                "checkpoint",
            )
        entropy = metrics.get("policy/entropy")
        if entropy is not None:
            base = self._base("entropy", entropy)
            yield Condition(
                "entropy",
                "entropy",
                entropy < ENTROPY_SHARE * base,
                f"the policy's entropy has been below a tenth of that at the start "
                f"({entropy:.4f} nats, {base:.4f} then): it says the same again and again",
            )
        # At the first step the two are the same, and never again: rounding alone sees to that.
        yield Condition(
            "no_kl",
            "no_kl",
            metrics.get("policy/kl") == 0.0,
            "policy/kl has been exactly 0: the weights do not move, or the reference moves along",
        )
        yield from self._lost_classes(metrics)
        yield from self._given_up(metrics)
        yield from self._completions(metrics)

    def _judges(self, metrics: Mapping[str, float]) -> Iterator[Condition]:
        accuracy = metrics.get("rollout/accuracy")
        for term in self._judged:
            gap = metrics.get(f"judge/{term}_right_wrong_gap")
            yield Condition(
                "prefers_wrong",
                f"{term}_prefers_wrong",
                gap is not None and gap < 0,
                f"the judge of {term!r} has scored wrong answers above right ones (now by "
                f"{-(gap or 0.0):.3f}): look at the samples; a better judge is needed",
            )
            mean = metrics.get(f"reward/{term}_mean")
            if mean is None or accuracy is None:
                continue
            rise = mean - self._base(term, mean)
            better = accuracy - self._base(f"{term}_accuracy", accuracy)
            moved = f"{rise:+.3f} since the start, accuracy {better:+.3f}"
            yield Condition(
                "judge_drift",
                f"{term}_drift",
                abs(rise) > DRIFT and abs(better) < STEADY,
                f"the judge of {term!r} has drifted while accuracy stood still ({moved}): "
                "calibrate it again on held-out rows",
            )
            yield Condition(
                "hacking",
                f"{term}_hacking",
                rise >= HACKING and better <= -HACKING,
                f"the judge of {term!r} is pleased more and more while accuracy falls ({moved}): "
                "the policy may be gaming it; look at the samples",
            )

    def _lost_classes(self, metrics: Mapping[str, float]) -> Iterator[Condition]:
        # A class that no clip of a step has says nothing about it.
        now = {k: v for k, v in metrics.items() if k.startswith(self._classes)}
        for key in sorted(now):
            label = key.removeprefix(self._classes)
            best = self._best(f"class_{label}", now[key])
            yield Condition(
                "classes",
                f"class_{label}",
                best >= CLASS_SHARE and now[key] == 0,
                f"no clip of {label!r} has been answered right (up to {best:.2f} were): the policy "
                "may have given the class up",
            )

    def _given_up(self, metrics: Mapping[str, float]) -> Iterator[Condition]:
        number = metrics.get("classes/given_up")
        if number is not None:
            prefix = "classes/answered_"
            labels = [k.removeprefix(prefix) for k in sorted(metrics) if k.startswith(prefix)]
            rare = [label for label in labels if metrics[f"{prefix}{label}"] < GIVEN_UP]
            yield Condition(
                "given_up",
                "given_up",
                number > 0,
                f"labels have seldom been answered for their clips ({', '.join(rare)}; accuracy "
                f"{metrics.get('rollout/accuracy', math.nan):.2f}, macro F1 "
                f"{metrics['classes/macro_f1']:.2f}): the policy gives them up; "
                "data.balance=label, a larger loss.kl_coef or loss.entropy_coef may keep them",
            )

    def _completions(self, metrics: Mapping[str, float]) -> Iterator[Condition]:
        tokens = metrics["rollout/completion_tokens_mean"]
        base = self._base("tokens", tokens)
        yield Condition(
            "length",
            "length",
            tokens > self._growth * base,
            f"completions are {tokens / base:.1f} times as long as at the start ({tokens:.0f} "
            f"tokens, {base:.0f} then): a reward may pay for length",
        )
        truncated = metrics.get("rollout/truncated_frac", 0.0)
        yield Condition(
            "truncated",
            "truncated",
            truncated > TRUNCATED_FRAC,
            f"most completions were cut at rollout.max_completion_tokens ({truncated:.0%}): the "
            "policy does not end, or the limit is too low",
        )
        flat = metrics.get("advantage/flat_frac", 0.0)
        yield Condition(
            "flat",
            "flat",
            flat >= FLAT_FRAC,
            f"next to all groups were flat ({flat:.0%}): there is nothing to learn from them",
        )

    def _base(self, key: str, value: float) -> float:
        """Return the mean of the first values of a figure, this one included while they last."""
        firsts = self._firsts.setdefault(key, [])
        if len(firsts) < NUM_BASE_STEPS:
            firsts.append(value)
        return statistics.fmean(firsts)

    def _best(self, key: str, value: float) -> float:
        """Return the best mean of neighbouring values of a figure so far."""
        lasts = [*self._lasts.get(key, []), value][-NUM_BASE_STEPS:]
        self._lasts[key] = lasts
        self._bests[key] = max(self._bests.get(key, 0.0), statistics.fmean(lasts))
        return self._bests[key]

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint has to keep, as JSON values."""
        firsts = {key: list(values) for key, values in self._firsts.items() if key != "tokens"}
        return {
            "counts": dict(self._counts),
            "base": list(self._firsts.get("tokens", [])),
            "firsts": firsts,
            "lasts": {key: list(values) for key, values in self._lasts.items()},
            "bests": dict(self._bests),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the state of a checkpoint."""
        self._counts = dict(state["counts"])
        self._firsts = {**state.get("firsts", {}), "tokens": list(state["base"])}
        self._lasts = dict(state.get("lasts", {}))
        self._bests = dict(state.get("bests", {}))
