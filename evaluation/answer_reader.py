"""How answers are asked for and read: with reasoning, begun for the policy, or to a probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from data.parsing import normalize_label, parse_output
from data.prompts import PromptBuilder
from data.records import Completion, Example, Group, Prompt
from rewards.accuracy import canonical_label

BEGUN = "<answer>"
"""What a direct answer is begun with."""

CLOSED = "</answer>"

NO_REASONING = "<think>none</think>"
"""Stands before a bare answer, so that the rules of `parse_output` apply to it as they are."""


def begun_prompt(prompt: Prompt, builder: PromptBuilder) -> Prompt:
    """Return a prompt whose completion goes on after `BEGUN`.

    Args:
        prompt: Ends where the policy would begin to write.
        builder: Of the policy's checkpoint.
    """
    begun = builder.encode_target(BEGUN)[:-1]  # without the end token
    return replace(
        prompt, text=prompt.text + BEGUN, token_ids=np.concatenate([prompt.token_ids, begun])
    )


def begun_group(group: Group) -> Group:
    """Return a group whose completions have what they were begun with in front of their text.

    A policy that was never trained on the tags may end its answer without closing it; that end
    counts as the closing tag. A completion that was cut stays open, and is not readable.
    """
    return replace(group, completions=tuple(_whole(found) for found in group.completions))


def _whole(completion: Completion) -> Completion:
    text = BEGUN + completion.text
    if CLOSED not in text and completion.finish_reason == "stop":
        text += CLOSED
    return replace(completion, text=text)


def read_answer(text: str, aliases: Mapping[str, str], *, bare: bool) -> str | None:
    """Return the label that a completion answers with, in canonical form; None if unreadable.

    Args:
        text: The decoded completion.
        aliases: Answer -> label it counts as.
        bare: An answer block alone is readable too: the completion was begun with it, or the
            question is a probe, whose reference answers have no reasoning.
    """
    answer = parse_output(text).answer
    if answer is None and bare:
        answer = parse_output(NO_REASONING + text).answer
    return None if answer is None else canonical_label(answer, aliases)


def aliases_beside(choices: Sequence[str], aliases: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases without those that are labels themselves in this set of choices."""
    labels = {normalize_label(choice) for choice in choices}
    return {
        alias: label for alias, label in aliases.items() if normalize_label(alias) not in labels
    }


def choices_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """Return all choices of the examples in order of appearance, each once, however it is cased."""
    found: dict[str, str] = {}
    for example in examples:
        for choice in example.choices:
            found.setdefault(normalize_label(choice), choice)
    return tuple(found.values())
