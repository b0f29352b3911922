"""Greedy answers of a policy, through the engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from data.records import Group, Prompt
from evaluation.answer_reader import AnswerReader, prefilled_group
from evaluation.benchmark_rules import official_score
from evaluation.statistics import ClassificationReport, classification_report
from rollout.pool import ordered


class Generator(Protocol):
    """What `evaluate` needs of the engines."""

    def generate(
        self, prompts: Sequence[Prompt], *, greedy: bool, num_completions: int
    ) -> Iterator[Group]:
        """Yield one group per prompt, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class Answers:
    """Greedy answers and what they are worth."""

    report: ClassificationReport
    groups: tuple[Group, ...]
    """One group of one completion per answered prompt, in the order of the prompts."""
    rows: list[dict[str, Any]]
    """One row per group: `answer_row`."""


def evaluate(
    engines: Generator, prompts: Sequence[Prompt], reader: AnswerReader, *, may_lack: bool = False
) -> Answers:
    """Answer every prompt greedily and compare with the gold labels.

    Args:
        engines: the engine pool.
        prompts: of different example ids, prefilled if the reader says so.
        reader: of the choices.
        may_lack: whether prompts that no engine can sample are left out.

    Raises:
        ValueError: no prompts, a gold label that is no choice, or groups that do not match the
            prompts.
    """
    groups = ordered(
        engines.generate(prompts, greedy=True, num_completions=1), prompts, may_lack=may_lack
    )
    if reader.prefilled:
        groups = [prefilled_group(group) for group in groups]
    rows = [answer_row(group, reader) for group in groups]
    report = classification_report(
        [row["label"] for row in rows], [row["answer"] for row in rows], reader.choices
    )
    return Answers(report, tuple(groups), rows)


def answer_row(group: Group, reader: AnswerReader) -> dict[str, Any]:
    """Return the row of a group of one completion, named as in the sample files of training."""
    example = group.prompt.example
    (completion,) = group.completions
    label, answer = reader.label(example), reader.answer(example, completion)
    official: dict[str, Any] = {}
    if example.scoring:
        prediction = reader.prediction(example, completion)
        official = {
            "question": example.question,
            "prediction": prediction,
            "scoring": dict(example.scoring),
            "official": official_score(example, prediction),
        }
    return {
        "id": example.id,
        "audio": example.audio,
        **({"clips": list(example.clips)} if example.others else {}),
        "label": label,
        "text": completion.text,
        "answer": answer,
        "correct": answer == label,
        "finish_reason": completion.finish_reason,
        "policy_version": completion.policy_version,
        "prompt_tokens": len(group.prompt.token_ids),
        "completion_tokens": len(completion.token_ids),
        **official,
    }
