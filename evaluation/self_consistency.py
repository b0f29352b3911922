"""Self-consistency: several sampled answers to one clip, and what their majority is worth."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.records import Group

if TYPE_CHECKING:  # pages and tables need no processor
    from evaluation.answer_reader import AnswerReader


@dataclass(frozen=True, slots=True)
class Votes:
    """N sampled answers to one clip."""

    answers: tuple[str | None, ...]
    """[N] in the order of sampling; None = no readable answer."""
    label: str
    """The gold label."""

    @property
    def majority(self) -> str | None:
        """The most frequent answer; of several, the one that was sampled first.

        A sample without a readable answer has no vote; None if there is none at all.
        """
        # `most_common` keeps the order of appearance among equal counts.
        counts = Counter(answer for answer in self.answers if answer is not None)
        return counts.most_common(1)[0][0] if counts else None

    @property
    def agreement(self) -> float:
        """Share of all N samples that give the majority's answer; 0 if none is readable."""
        majority = self.majority
        agreeing = sum(answer == majority for answer in self.answers)
        return 0.0 if majority is None else agreeing / len(self.answers)

    @property
    def right_frac(self) -> float:
        """Share of the N samples that are right."""
        return sum(answer == self.label for answer in self.answers) / len(self.answers)


def votes_of(group: Group, reader: AnswerReader) -> Votes:
    """Return the votes of a sampled group."""
    example = group.prompt.example
    answers = tuple(reader.answer(example, one) for one in group.completions)
    return Votes(answers, reader.label(example))


def vote_row(votes: Votes) -> dict[str, Any]:
    """Return the votes as part of a clip's row."""
    majority = votes.majority
    return {
        "votes": list(votes.answers),
        "vote": majority,
        "vote_correct": majority == votes.label,
    }


def vote_metrics(clips: Sequence[Votes]) -> dict[str, float]:
    """Return what N samples a clip are worth.

    Args:
        clips: One each, at least one, all of the same N.

    Returns:
        `vote_accuracy` (of the majority), `sampled_accuracy` (of a single sample, mean over all),
        `vote_agreement`, and `pass_at_n` (clips with a right sample among the N).

    Source: Wang et al. (2023), self-consistency (arXiv 2203.11171): the unweighted vote. The paper
    leaves ties open; here the answer that was sampled first wins, so that no tie is half right.
    """
    return {
        "vote_accuracy": statistics.fmean(votes.majority == votes.label for votes in clips),
        "sampled_accuracy": statistics.fmean(votes.right_frac for votes in clips),
        "vote_agreement": statistics.fmean(votes.agreement for votes in clips),
        "pass_at_n": statistics.fmean(votes.right_frac > 0 for votes in clips),
    }


def voted(rows: Sequence[Mapping[str, Any]]) -> list[Votes]:
    """Return the votes of rows of an evaluation; empty if it has not sampled."""
    return [Votes(tuple(row["votes"]), row["label"]) for row in rows if "votes" in row]
