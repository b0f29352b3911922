"""A policy loss from outside our packages."""

from __future__ import annotations

from torch import Tensor


def reinforce(logprobs: Tensor, advantages: Tensor) -> Tensor:
    """Return `-A logprob` of each token: the score function's gradient, without a ratio."""
    return -advantages * logprobs
