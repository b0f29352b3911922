"""The length term: a soft penalty on completions that come near the token limit."""

from __future__ import annotations

from data.records import Group
from rewards.base import RewardError, Scores


class OverlongPenalty:
    """0 up to `max_tokens - cache_tokens`, then falling linearly to -1 at `max_tokens`.

    With `n` tokens, `L = max_tokens` and `c = cache_tokens`: 0 for `n <= L - c`,
    `((L - c) - n) / c` between, -1 for `n >= L`. Tokens are those of the record, the end token
    included: what the policy has sampled, whatever the text is.

    Source: DAPO (arXiv 2503.14476), eq. 13, "soft overlong punishment". There a completion of
    exactly `L` tokens has -1 by the middle case; so it has here.
    """

    limits = (-1.0, 0.0)
    scores_moved = True

    def __init__(self, cache_tokens: int, max_tokens: int) -> None:
        """Keep the two lengths.

        Args:
            cache_tokens: Length of the slope, in tokens; 1 to `max_tokens`.
            max_tokens: Tokens at which the penalty is full; a run fills in
                `rollout.max_completion_tokens`, above which no completion can be.

        Raises:
            RewardError: `cache_tokens` is out of its range.
        """
        if not 1 <= cache_tokens <= max_tokens:
            raise RewardError(
                f"OverlongPenalty: cache_tokens is {cache_tokens}; allowed is 1 to max_tokens, "
                f"{max_tokens}"
            )
        self._cache_tokens = cache_tokens
        self._max_tokens = max_tokens

    def score(self, group: Group) -> Scores:
        """Return G values in [-1, 0]; details: the number of tokens. None where it has none."""
        lengths = [len(completion.token_ids) for completion in group.completions]
        return Scores(
            values=tuple(self.penalty(length) if length else None for length in lengths),
            details=tuple({"tokens": length} for length in lengths),
        )

    def penalty(self, num_tokens: int) -> float:
        """Return the penalty in [-1, 0] of a completion of so many tokens."""
        over = num_tokens - (self._max_tokens - self._cache_tokens)
        return -min(1.0, max(0, over) / self._cache_tokens)
