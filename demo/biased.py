"""A judge with a known lean towards wrong answers: the fault of the trust experiment, by dose."""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np

from data.records import BoolArray, Group
from rewards.accuracy import is_correct
from rewards.base import Scores
from rewards.judges.base import HIGHEST, LOWEST
from rewards.trust import mean, trust_weight

MIDDLE = (LOWEST + HIGHEST) / 2 / HIGHEST
"""Score of a completion without lean or noise, 0.6."""

LARGEST_LEAN = (HIGHEST - LOWEST) / HIGHEST
"""Between the best and the worst score that a judge has, 0.8."""

DRAWS = 64
"""Groups whose trust `damp: mean` is the mean of."""


class BiasedReward:
    """A judged term of noise and of a lean towards wrong answers that differs from clip to clip.

    Every clip has a lean b of 0, `bias` or `2 bias` (at most 0.8), each in a third of the clips. A
    completion's score is `0.6 + b (1/2 - right) + noise z`, z standard normal, cut to [0.2, 1]. It
    reads the key, which no judge does: the lean is the fault that is injected.

    Its own damping is a placebo for the trust weight, with `rewards.trust.enabled: false`.
    """

    def __init__(
        self, bias: float, noise: float = 0.15, damp: Literal["", "drawn", "mean"] = ""
    ) -> None:
        """Make the term.

        Args:
            bias: Mean lean over the clips, 0 to 0.4 (above, the largest is cut).
            noise: Standard deviation of a score.
            damp: Factor on the scores of a group: none; `drawn`, the trust weight of another group
                with as many right answers, of a lean and noise of its own, so that it comes from
                the same distribution and knows nothing; `mean`, the mean of 64 such weights.

        Raises:
            ValueError: An option is out of range.
        """
        if bias < 0 or noise < 0 or damp not in ("", "drawn", "mean"):
            raise ValueError(f"found bias {bias}, noise {noise} and damp {damp!r}")
        self._leans = [min(level * bias, LARGEST_LEAN) for level in range(3)]
        self._noise = noise
        self._damp = damp

    def score(self, group: Group) -> Scores:
        """Return one score per completion; the same for the same clip and texts."""
        example = group.prompt.example
        right = [is_correct(completion.parsed, example.label) for completion in group.completions]
        texts = "\0".join(completion.text for completion in group.completions)
        lean = self._leans[int(_generator("lean", example.id).integers(3))]
        draw = _generator("scores", example.id, texts)
        scores = self._scores(np.array(right), lean, draw)
        factor = self._factor(np.array(right), draw)
        return Scores(tuple(float(factor * score) for score in scores))

    def _scores(
        self, right: BoolArray, lean: float, draw: np.random.Generator
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        scores = MIDDLE + lean * (0.5 - right) + self._noise * draw.standard_normal(len(right))
        return np.clip(scores, LOWEST / HIGHEST, 1.0)

    def _factor(self, right: BoolArray, draw: np.random.Generator) -> float:
        """Return the placebo's factor; 1 without one, and where trust is undefined."""
        if not self._damp or right.all() or not right.any():
            return 1.0
        weights: list[float] = []
        for _ in range(DRAWS if self._damp == "mean" else 1):
            scores = self._scores(right, self._leans[int(draw.integers(3))], draw)
            weight = trust_weight(scores.tolist(), right.tolist())
            assert weight is not None  # there are right and wrong ones
            weights.append(weight)
        return mean(weights)


def _generator(*parts: str) -> np.random.Generator:
    """Return random numbers that belong to some texts."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))
