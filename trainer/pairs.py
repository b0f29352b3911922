"""Counterfactual pairs in a step: two prompts that are sampled apart and meet for their scores.

Each half is a group of its own, with its own clip, baseline and place in a row; all that it gets of
the other is its completions, while rewards are computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from data.records import Group, Prompt


def halves(prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts of a step as they are sampled: after each its counterpart, if any."""
    return [
        half
        for prompt in prompts
        for half in (replace(prompt, counterpart=None), prompt.counterpart)
        if half is not None
    ]


def joined(groups: Iterable[Group]) -> Iterator[Group]:
    """Yield groups as they come, the halves of a pair when both have come, with their `others`.

    A half whose other was left out, since no engine could sample it, comes at the end without any.

    Args:
        groups: Indexed by the places of their prompts in what `halves` returned.
    """
    waiting: dict[int, Group] = {}
    for group in groups:
        if group.prompt.move is None:
            yield group
            continue
        other = waiting.pop(group.index + (-1 if group.prompt.is_moved else 1), None)
        if other is None:
            waiting[group.index] = group
            continue
        yield replace(group, others=other.completions)
        yield replace(other, others=group.completions)
    yield from waiting.values()
