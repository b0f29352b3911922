"""Groups for tests of what happens after generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.records import Completion, Example, Group, Prompt, RewardTerms, ScoredGroup

CHOICES = ("neutral", "happy", "sad", "angry", "contempt or disgust")


def make_group(
    texts: Sequence[str], label: str = "angry", id: str = "clip-1", features: Any = None
) -> Group:
    """Return a group with these completion texts."""
    example = Example(id, f"{id}.wav", label, "Which emotion?", CHOICES)
    prompt = Prompt(example, "...", np.arange(4), features, num_frames=0)
    return Group(
        prompt,
        tuple(
            Completion(np.array([1, 2]), np.zeros(2, np.float32), text, "stop", 0) for text in texts
        ),
    )


def make_scored(rewards: Sequence[float], id: str = "clip-1") -> ScoredGroup:
    """Return a group whose rewards are given, with no terms behind them."""
    return ScoredGroup(
        make_group([""] * len(rewards), id=id), RewardTerms({}), {}, 1.0, tuple(rewards)
    )
