"""The format term: does the completion have the shape that was asked for."""

from __future__ import annotations

from data.records import Group
from rewards.base import Scores


class FormatReward:
    """1.0 for a well-formed completion, 0.0 for any other.

    Source: EmotionThinker, `R_f` in {0, 1}; the rules are those of `data.parsing.parse_output`.
    """

    scores_moved = True

    def score(self, group: Group) -> Scores:
        """Return G zeros and ones; each detail holds the `reason` of the parser."""
        parsed = [completion.parsed for completion in group.completions]
        return Scores(
            values=tuple(float(output.well_formed) for output in parsed),
            details=tuple({"reason": output.reason} for output in parsed),
        )
