"""The reasoning term: a judge's four dimensions as one number."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from data.records import Group
from rewards.base import Scores
from rewards.foreign import BrokenError
from rewards.judges.base import (
    DIMENSIONS,
    HIGHEST,
    LOWEST,
    JudgeContext,
    JudgeError,
    Judgement,
    load_judge,
)

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No options."""

MALFORMED: Mapping[str, Any] = MappingProxyType({"malformed": True})
"""Details of a completion that no judge has seen."""


class ReasoningReward:
    """`R_t = sum_j w_j g_j / 5` over the dimensions that a judge scores from 1 to 5.

    Malformed completions are not judged and have no value; neither has one whose judgement lacks a
    dimension that counts.

    Source: EmotionThinker (arXiv 2601.15668). The paper does not state the `w_j`; here they are
    the judge's own, or equal, unless given.
    """

    needs_features = True

    def __init__(
        self,
        judge: str,
        judge_options: Mapping[str, Any] = NOTHING,
        dimension_weights: Mapping[str, float] = NOTHING,
        context: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Build the judge.

        Args:
            judge: "module:Class" of the judge.
            judge_options: Its keyword arguments.
            dimension_weights: Dimension -> `w_j` >= 0, scaled to sum 1; empty = the judge's own
                `default_weights`, or equal. Those of dimensions that the judge does not answer go
                to the ones that it does.
            context: Fields of `JudgeContext`; the run fills them in.

        Raises:
            JudgeError: The judge cannot be built, or the weights fit none of its dimensions.
        """
        self._judge = load_judge(
            judge, judge_options, JudgeContext(**{"audio_root": "", **context})
        )
        given = dimension_weights or getattr(self._judge, "default_weights", NOTHING)
        self._weights = normalized_weights(given, self._judge.dimensions)

    def score(self, group: Group) -> Scores:
        """Return G values in [0.2, 1] or None; details: `scores`, `missing` and the judge's own."""
        texts = {i: text for i, text in enumerate(self.reasonings(group)) if text is not None}
        values: list[float | None] = [None] * len(group.completions)
        details: list[Mapping[str, Any]] = [MALFORMED] * len(group.completions)
        start = time.monotonic()
        judgements = self._judge.judge(group.prompt, list(texts.values()))
        elapsed_s = time.monotonic() - start
        if getattr(self._judge, "broken", False):
            missing = next((judgement.missing for judgement in judgements), "")
            raise BrokenError(f"judge {type(self._judge).__name__} has broken down: {missing}")
        for i, judgement in zip(texts, judgements, strict=True):
            self._check(judgement)
            values[i] = self._value(judgement)
            details[i] = {
                "scores": dict(judgement.scores),
                "missing": judgement.missing,
                "latency_s": elapsed_s,
                **judgement.details,
            }
        return Scores(tuple(values), tuple(details))

    def reasonings(self, group: Group) -> list[str | None]:
        """Return the texts to be judged, [G]; None for a malformed completion."""
        return [completion.parsed.think for completion in group.completions]

    def _value(self, judgement: Judgement) -> float | None:
        total = 0.0
        for dimension, weight in self._weights.items():
            score = judgement.scores[dimension]
            if score is None:
                return None
            total += weight * score / HIGHEST
        return min(total, 1.0)  # weights that sum to 1 up to rounding

    def _check(self, judgement: Judgement) -> None:
        if judgement.scores.keys() != set(self._judge.dimensions):
            raise JudgeError(
                f"judge {type(self._judge).__name__} answered the dimensions "
                f"{sorted(judgement.scores)}; it promises {sorted(self._judge.dimensions)}"
            )
        for dimension, score in judgement.scores.items():
            if score is not None and not LOWEST <= score <= HIGHEST:
                raise JudgeError(
                    f"judge {type(self._judge).__name__} scored {dimension} with {score!r}; "
                    "allowed is 1 to 5, or None"
                )


def normalized_weights(
    given: Mapping[str, float], dimensions: Sequence[str]
) -> Mapping[str, float]:
    """Return the positive weights of a judge's dimensions, scaled to sum 1.

    Args:
        given: Dimension -> weight >= 0; empty = equal weights.
        dimensions: Those that the judge answers.

    Raises:
        JudgeError: An unknown dimension, a negative weight, or no positive weight on a dimension
            that the judge answers.
    """
    unknown = sorted(set(given) - set(DIMENSIONS))
    if unknown:
        raise JudgeError(
            f"dimension_weights: unknown {unknown[0]!r}; allowed are {', '.join(DIMENSIONS)}"
        )
    wanted = {name: float(given.get(name, 0.0)) if given else 1.0 for name in dimensions}
    negative = sorted(name for name, weight in given.items() if not weight >= 0)
    total = sum(wanted.values())
    if negative or not total > 0:
        raise JudgeError(
            f"dimension_weights: {dict(given)} needs weights >= 0, one of them above 0 on a "
            f"dimension that the judge answers: {', '.join(dimensions)}"
        )
    return {name: weight / total for name, weight in wanted.items() if weight > 0}
