"""Greedy evaluation through the engines, and the numbers that speech-emotion papers report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from data.records import Example, Group, IntArray, Prompt
from evaluation.answer_reader import begun_group, read_answer
from rewards.accuracy import canonical_label
from rollout.pool import ordered


class Generator(Protocol):
    """What `evaluate` needs of the engines."""

    def generate(
        self, prompts: Sequence[Prompt], *, greedy: bool, num_completions: int
    ) -> Iterator[Group]:
        """Yield one group per prompt, in any order."""
        ...


@dataclass(frozen=True, slots=True)
class EvalReport:
    """Classification results over K choices."""

    num_examples: int
    """Examples, at least 1."""
    accuracy: float
    """Share of right answers (WA), in [0, 1]."""
    ua: float
    """Mean recall over the classes that have examples, in [0, 1]."""
    macro_f1: float
    """Mean F1 over the classes that have examples, in [0, 1]."""
    format_frac: float
    """Share of examples with a readable answer, be it one of the choices or not."""
    recalls: Mapping[str, float]
    """Class -> recall, for the classes that have examples, in the order of `choices`."""
    choices: tuple[str, ...]
    """The K classes."""
    confusion: IntArray
    """[K, K + 1] examples by gold class and answer; the last column counts no or other answers."""

    def to_metrics(self, prefix: str = "eval") -> dict[str, float]:
        """Return `prefix/name` -> value: accuracy, ua, macro_f1, format_frac, recall_CLASS."""
        metrics = {
            f"{prefix}/accuracy": self.accuracy,
            f"{prefix}/ua": self.ua,
            f"{prefix}/macro_f1": self.macro_f1,
            f"{prefix}/format_frac": self.format_frac,
        }
        for label, recall in self.recalls.items():
            metrics[f"{prefix}/recall_{label.replace(' ', '_')}"] = recall
        return metrics


def classification_report(
    labels: Sequence[str], answers: Sequence[str | None], choices: Sequence[str]
) -> EvalReport:
    """Return accuracy, UA, macro F1 and confusion of answers against gold labels.

    An answer that is None or none of the choices is a wrong answer: it lowers the recall of its
    gold class and is nobody's false positive. Equal to scikit-learn's `balanced_accuracy_score`
    (UA), and to `f1_score` with `average="macro"`, `zero_division=0` and the gold classes as
    `labels`.

    Args:
        labels: gold class of each example, each one of `choices`.
        answers: what the policy answered; None = no readable answer.
        choices: the K classes, all different.

    Raises:
        ValueError: no examples, lengths that differ, or a gold label outside `choices`.
    """
    if not labels or len(labels) != len(answers):
        raise ValueError(f"{len(labels)} labels and {len(answers)} answers: need equal counts > 0")
    index = {choice: column for column, choice in enumerate(choices)}
    unknown = sorted(set(labels) - index.keys())
    if unknown:
        raise ValueError(f"gold labels {unknown} are not among the choices {list(choices)}")
    num_choices = len(index)
    confusion = np.zeros((num_choices, num_choices + 1), dtype=np.int64)
    for label, answer in zip(labels, answers, strict=True):
        column = num_choices if answer is None else index.get(answer, num_choices)
        confusion[index[label], column] += 1

    right = confusion.diagonal()
    gold = confusion.sum(axis=1)
    answered = confusion[:, :num_choices].sum(axis=0)
    present = gold > 0
    recall = right[present] / gold[present]
    f1 = 2 * right[present] / (gold + answered)[present]
    names = [choice for choice, is_present in zip(index, present, strict=True) if is_present]
    return EvalReport(
        num_examples=len(labels),
        accuracy=float(right.sum() / len(labels)),
        ua=float(recall.mean()),
        macro_f1=float(f1.mean()),
        format_frac=sum(answer is not None for answer in answers) / len(answers),
        recalls=dict(zip(names, recall.tolist(), strict=True)),
        choices=tuple(index),
        confusion=confusion,
    )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Greedy answers and what they are worth."""

    report: EvalReport
    groups: tuple[Group, ...]
    """One group of one completion per prompt, in the order of the prompts."""
    rows: list[dict[str, Any]]
    """One row per prompt in their order: `answer_row`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How completions are compared with gold labels."""

    names: Mapping[str, str]
    """Canonical label -> the choice as it is spelled."""
    aliases: Mapping[str, str]
    """Answer -> class it counts as."""
    begun: bool
    """Completions were begun with `evaluation.answer_reader.BEGUN`."""

    @classmethod
    def of(cls, choices: Sequence[str], aliases: Mapping[str, str], *, begun: bool) -> Reading:
        """Return the reading of a set of choices.

        Raises:
            ValueError: Two choices mean the same.
        """
        names = {canonical_label(choice, aliases): choice for choice in choices}
        if len(names) != len(choices):
            raise ValueError(f"choices {list(choices)}: two of them count as the same answer")
        return cls(names, aliases, begun)

    def label(self, example: Example) -> str:
        """Return the gold label, spelled as in the choices."""
        return self.names.get(canonical_label(example.label, self.aliases), example.label)

    def answer(self, example: Example, text: str) -> str | None:
        """Return the answer of a completion, spelled as in the choices; None if unreadable."""
        bare = self.begun or example.target is not None
        found = read_answer(text, self.aliases, bare=bare)
        return None if found is None else self.names.get(found, found)


def evaluate(
    engines: Generator,
    prompts: Sequence[Prompt],
    choices: Sequence[str],
    aliases: Mapping[str, str],
    *,
    begun: bool = False,
) -> Evaluation:
    """Answer every prompt greedily and compare with the gold labels.

    Args:
        engines: the engine pool.
        prompts: prompts with different example ids.
        choices: the K classes, as the report names them.
        aliases: answer -> class it counts as.
        begun: the prompts begin the answer themselves: `evaluation.answer_reader.begun_prompt`.

    Raises:
        ValueError: no prompts, a gold label that is no choice, two choices that mean the same, or
            groups that do not match the prompts.
    """
    reading = Reading.of(choices, aliases, begun=begun)
    groups = ordered(engines.generate(prompts, greedy=True, num_completions=1), prompts)
    if begun:
        groups = [begun_group(group) for group in groups]
    rows = [answer_row(group, reading) for group in groups]
    report = classification_report(
        [row["label"] for row in rows], [row["answer"] for row in rows], choices
    )
    return Evaluation(report, tuple(groups), rows)


def answer_row(group: Group, reading: Reading) -> dict[str, Any]:
    """Return id, audio, label, text, answer, correct, finish_reason and policy_version.

    Named as in the sample files of training; `completion_tokens` and `prompt_tokens` besides.

    Args:
        group: Of one completion.
        reading: Of the choices.
    """
    example = group.prompt.example
    (completion,) = group.completions
    label, answer = reading.label(example), reading.answer(example, completion.text)
    return {
        "id": example.id,
        "audio": example.audio,
        "label": label,
        "text": completion.text,
        "answer": answer,
        "correct": answer == label,
        "finish_reason": completion.finish_reason,
        "policy_version": completion.policy_version,
        "prompt_tokens": len(group.prompt.token_ids),
        "completion_tokens": len(completion.token_ids),
    }
