"""How answers are asked for and read: with reasoning, prefilled for the policy, or to a probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from data.options import is_lettered, option_of
from data.parsing import normalize_label
from data.records import Completion, Example, Group, Prompt
from rewards.accuracy import canonical_label

if TYPE_CHECKING:  # pages and tables need no processor
    from data.prompts import PromptBuilder

PREFILL = "<answer>"
"""What a direct answer begins with, written for the policy."""

CLOSED = "</answer>"

NO_REASONING = "<think>none</think>"
"""Stands before a bare answer, so that the rules of `parse_output` apply to it as they are."""


def prefilled_prompt(prompt: Prompt, builder: PromptBuilder) -> Prompt:
    """Return a prompt, which ends where the policy begins to write, with `PREFILL` after it."""
    prefill = builder.encode_target(PREFILL)[:-1]  # without the end token
    return replace(
        prompt, text=prompt.text + PREFILL, token_ids=np.concatenate([prompt.token_ids, prefill])
    )


def prefilled_group(group: Group) -> Group:
    """Return the group of a prefilled prompt with `PREFILL` in front of its completions' texts.

    A policy that was never trained on the tags may end its answer without closing it; that end
    counts as the closing tag. A completion that was cut stays open, and is not readable.
    """
    completions = []
    for completion in group.completions:
        text = PREFILL + completion.text
        if CLOSED not in text and completion.finish_reason == "stop":
            text += CLOSED
        completions.append(replace(completion, text=text))
    return replace(group, completions=tuple(completions))


def read_answer(completion: Completion, aliases: Mapping[str, str], *, bare: bool) -> str | None:
    """Return the label that a completion answers with, in canonical form; None if unreadable.

    Args:
        completion: One that was cut is unreadable, as in training.
        aliases: Answer -> label it counts as.
        bare: An answer block alone is readable too: the completion was prefilled with its tag, or
            the question is a probe, whose reference answers have no reasoning.
    """
    answer = answer_text(completion, bare=bare)
    return None if answer is None else canonical_label(answer, aliases)


def answer_text(completion: Completion, *, bare: bool) -> str | None:
    """Return what stands in a completion's answer block; None if unreadable, as `read_answer`."""
    answer = completion.parsed.answer
    if answer is None and bare:
        answer = replace(completion, text=NO_REASONING + completion.text).parsed.answer
    return answer


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads completions as answers, and compares them with gold labels."""

    names: Mapping[str, str]
    """Canonical label -> the choice as it is spelled."""
    aliases: Mapping[str, str]
    """Answer -> class it counts as."""
    prefilled: bool
    """Prompts are those of `prefilled_prompt`, completions those of `prefilled_group`."""

    @classmethod
    def of(
        cls, choices: Sequence[str], aliases: Mapping[str, str], *, prefilled: bool = False
    ) -> AnswerReader:
        """Return the reader of a set of choices.

        Raises:
            ValueError: Two choices mean the same.
        """
        names = {canonical_label(choice, aliases): choice for choice in choices}
        if len(names) != len(choices):
            raise ValueError(f"choices {list(choices)}: two of them count as the same answer")
        return cls(names, aliases, prefilled)

    @property
    def choices(self) -> tuple[str, ...]:
        """The K classes as they are spelled, in their order."""
        return tuple(self.names.values())

    def label(self, example: Example) -> str:
        """Return the gold label, spelled as in the choices."""
        return self.names.get(canonical_label(example.label, self.aliases), example.label)

    def answer(self, example: Example, completion: Completion) -> str | None:
        """Return the answer of a completion, spelled as in the choices; None if unreadable.

        Where the question shows letters, the answer is an option (`data.options.option_of`).
        """
        text = self._text(example, completion)
        if text is not None and is_lettered(example.question, example.choices):
            text = option_of(text, example.choices, self._canonical)
        if text is None:
            return None
        label = self._canonical(text)
        return self.names.get(label, label)

    def prediction(self, example: Example, completion: Completion) -> str:
        """Return what rules of benchmarks score: the answer block, or the text if there is none."""
        text = self._text(example, completion)
        return completion.text if text is None else text

    def _text(self, example: Example, completion: Completion) -> str | None:
        return answer_text(completion, bare=self.prefilled or example.target is not None)

    def _canonical(self, text: str) -> str:
        return canonical_label(text, self.aliases)


def aliases_beside(choices: Sequence[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases without those that are labels themselves in this set of choices."""
    labels = {normalize_label(choice) for choice in choices}
    return {
        alias: label for alias, label in aliases.items() if normalize_label(alias) not in labels
    }


def choices_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return all choices of the examples in order of appearance, each once, however it is cased."""
    spellings: dict[str, str] = {}
    for example in examples:
        for choice in example.choices:
            spellings.setdefault(normalize_label(choice), choice)
    return tuple(spellings.values())
