"""A reward that tells apart even the completions of a policy that knows nothing yet."""

from __future__ import annotations

from pathlib import Path

from data.records import Group
from rewards.base import Scores


class Letters:
    """The share of letters in the text.

    Args:
        trace: file that grows by a byte with every group, so that a test can follow a run.
    """

    def __init__(self, trace: str) -> None:
        self._trace = Path(trace)

    def score(self, group: Group) -> Scores:
        """Score a group."""
        texts = [completion.text for completion in group.completions]
        with self._trace.open("ab") as file:
            file.write(b".")
        return Scores(tuple(sum(map(str.isalpha, text)) / max(len(text), 1) for text in texts))
