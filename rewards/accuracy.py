"""The accuracy term: is the answer the gold label."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from data.parsing import ParsedOutput, normalize_label
from data.records import Group
from rewards.base import Scores

NO_ALIASES: Mapping[str, str] = MappingProxyType({})
"""Every label stands for itself."""


class AccuracyReward:
    """1.0 where the answer is the gold label, 0.0 elsewhere, malformed completions included.

    Source: EmotionThinker, `R_o` in {0, 1}.
    """

    def __init__(self, aliases: Mapping[str, str] = NO_ALIASES) -> None:
        """Keep the alias table.

        Args:
            aliases: Other name -> label that it counts as, for example
                {"disgust": "contempt or disgust"}; see `normalize_aliases`.

        Raises:
            ValueError: The table is refused by `normalize_aliases`.
        """
        self._aliases = normalize_aliases(aliases)

    def score(self, group: Group) -> Scores:
        """Return G zeros and ones; details: `answer` (None if malformed) and `reason`."""
        gold = canonical_label(group.prompt.example.label, self._aliases)
        parsed = [completion.parsed for completion in group.completions]
        answers = [answer_of(output, self._aliases) for output in parsed]
        return Scores(
            values=tuple(float(answer == gold) for answer in answers),
            details=tuple(
                {"answer": answer, "reason": output.reason}
                for answer, output in zip(answers, parsed, strict=True)
            ),
        )


def is_correct(output: ParsedOutput, label: str, aliases: Mapping[str, str] = NO_ALIASES) -> bool:
    """Return whether a completion is well-formed and answers with the gold label.

    Args:
        output: `Completion.parsed`, or of `parse_output`.
        label: The gold label.
        aliases: As in `AccuracyReward`.
    """
    return answer_of(output, aliases) == canonical_label(label, aliases)


def answer_of(output: ParsedOutput, aliases: Mapping[str, str] = NO_ALIASES) -> str | None:
    """Return the label that a completion answers with, in canonical form; None if malformed."""
    return None if output.answer is None else canonical_label(output.answer, aliases)


def canonical_label(label: str, aliases: Mapping[str, str] = NO_ALIASES) -> str:
    """Return a label as it is compared: normalized, and an alias replaced by what it stands for."""
    normalized = normalize_label(label)
    return normalize_aliases(aliases).get(normalized, normalized)


def normalize_aliases(aliases: Mapping[str, str]) -> dict[str, str]:
    """Return the alias table with both sides normalized.

    Raises:
        ValueError: An empty name, one alias for two labels, or an alias of an alias.
    """
    table: dict[str, str] = {}
    for alias, label in aliases.items():
        key, value = normalize_label(alias), normalize_label(label)
        if not key or not value:
            raise ValueError(f"aliases: {alias!r} -> {label!r} has an empty side")
        if table.setdefault(key, value) != value:
            raise ValueError(f"aliases: {alias!r} stands for both {table[key]!r} and {value!r}")
    for key, value in table.items():
        if table.get(value, value) != value:
            raise ValueError(
                f"aliases: {key!r} -> {value!r} -> {table[value]!r}; name the last one directly"
            )
    return table
