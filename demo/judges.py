"""Judges that go wrong on purpose, to show what trust is good for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data.records import Group, Prompt
from rewards.accuracy import is_correct
from rewards.base import Scores
from rewards.judges.base import HIGHEST, LOWEST, JudgeContext, Judgement, load_judge


class InvertedJudge:
    """Another judge with its scores turned around: 5 becomes 1, and 1 becomes 5.

    Where the other one prefers reasoning that fits the clip, this one prefers reasoning that does
    not, and with it wrong answers.
    """

    def __init__(self, context: JudgeContext, *, judge: str, **options: Any) -> None:
        """Build the other judge.

        Args:
            context: Of the run.
            judge: "module:Class" of the other judge.
            options: Its own options.
        """
        self._judge = load_judge(judge, options, context)
        self.dimensions = self._judge.dimensions
        self.default_weights: Mapping[str, float] = getattr(self._judge, "default_weights", {})

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge the reasoning of one clip; see `rewards.judges.base.Judge`."""
        return [
            Judgement(inverted(verdict.scores), verdict.missing, verdict.details)
            for verdict in self._judge.judge(prompt, reasonings)
        ]

    def close(self) -> None:
        """Free the other judge."""
        self._judge.close()


def inverted(scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Return every score mirrored at the middle of the scale; a missing one stays missing."""
    return {
        name: None if score is None else LOWEST + HIGHEST - score for name, score in scores.items()
    }


class WrongAnswerReward:
    """A judged term that prefers wrong answers, whatever the reasoning says.

    A judge's best score for a wrong answer and its worst for a right one, so that trust is at its
    floor of `exp(-0.8) = 0.449` in every mixed group. It reads the key, which no judge does: this
    is the fault that trust is tried on.
    """

    def score(self, group: Group) -> Scores:
        """Return 1/5 for every right completion of the group and 5/5 for every wrong one."""
        label = group.prompt.example.label
        right = [is_correct(completion.parsed, label) for completion in group.completions]
        return Scores(tuple((LOWEST if one else HIGHEST) / HIGHEST for one in right))
