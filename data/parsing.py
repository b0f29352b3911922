"""The shape of a completion: one think block, then one answer block, and nothing else.

The parser uses `str.find` and `str.count` only: tag patterns as regular expressions take seconds on
degenerate text of a few ten thousand characters, and a policy in training writes such text.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

MAX_CHARS = 100_000
"""Longer completions are malformed without a look inside."""

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
"""The four tags, lower-case, in the only order they may have."""


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """A completion taken apart."""

    well_formed: bool
    """Whether every rule of `parse_output` holds."""
    reason: str
    """`ok`, or the first rule that broke, as `parse_output` lists them."""
    think: str | None
    """The reasoning, stripped; None unless well-formed."""
    answer: str | None
    """The answer, stripped; None unless well-formed."""


def parse_output(text: str, *, truncated: bool = False) -> ParsedOutput:
    """Return the think and answer bodies of a completion, or which rule it broke.

    Time is linear in the length of the text. The rules, in the order they are tried, with the
    reason that is reported:

    - at most `MAX_CHARS` characters: `too long`
    - no special token such as `<|im_start|>` (a `<|` with a later `|>`): `special token`
    - each tag of `TAGS` exactly once: `missing <tag>` or `repeated <tag>`
    - in that order: `wrong order`
    - only white space before, between and after the blocks: `text outside`
    - a letter or digit in each body: `empty think` or `empty answer`
    - the completion ended by itself: `truncated`. Else white space up to the token limit would earn
      what the end token earns, and it would never be learned

    Args:
        text: The decoded completion, special tokens visible, without its end token.
        truncated: It was cut at the token limit.
    """
    if len(text) > MAX_CHARS:
        return _malformed("too long")
    opened = text.find("<|")
    if opened >= 0 and text.find("|>", opened + 2) >= 0:
        return _malformed("special token")
    for tag in TAGS:
        count = text.count(tag)
        if count != 1:
            return _malformed(f"{'repeated' if count else 'missing'} {tag}")
    starts = [text.find(tag) for tag in TAGS]
    if starts != sorted(starts):
        return _malformed("wrong order")
    ends = [start + len(tag) for start, tag in zip(starts, TAGS, strict=True)]
    if (text[: starts[0]] + text[ends[1] : starts[2]] + text[ends[3] :]).strip():
        return _malformed("text outside")
    think = text[ends[0] : starts[1]].strip()
    answer = text[ends[2] : starts[3]].strip()
    if not any(char.isalnum() for char in think):
        return _malformed("empty think")
    if not any(char.isalnum() for char in answer):
        return _malformed("empty answer")
    if truncated:
        return _malformed("truncated")
    return ParsedOutput(True, "ok", think, answer)


def normalize_label(text: str) -> str:
    r"""Return a label in the form in which labels are compared.

    Case-folded, inner runs of white space as one blank, without surrounding white space and without
    trailing punctuation: "  Contempt  or\tDisgust. " becomes "contempt or disgust".
    """
    end = len(text)
    while end and (text[end - 1].isspace() or unicodedata.category(text[end - 1])[0] == "P"):
        end -= 1
    return " ".join(text[:end].split()).casefold()


def _malformed(reason: str) -> ParsedOutput:
    return ParsedOutput(False, reason, None, None)
