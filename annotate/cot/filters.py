"""What makes a reasoning text unfit for training, beyond what its writer was asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annotate.cot.lexicon import find_mentions
from data.prosody.claims import Claim, find_claims, truth_of
from data.prosody.quotes import without_quotes
from rewards.judges.worth import contradicts_itself

_META = re.compile(
    r"\b(?:label(?:led|ed|s)?|annotat\w+|ground[- ]truth|(?:given|provided|stated|true|target) "
    r"(?:emotion|label|answer)|metadata|according to the (?:data|input|cues given)|as an ai"
    r"|prompt|instruction\w*)\b",
    re.IGNORECASE,
)
_TAGS = re.compile(r"</?(?:think|answer)>|<\|[^|]*\|>", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a text must keep to."""

    min_words: int = 12
    max_words: int = 250
    margin: float = 0.25
    """Distance to another level, in standard deviations, within which a claim of it is let pass."""


def find_faults(
    text: str, label: str, choices: Sequence[str], prosody: Mapping[str, Any] | None, limits: Limits
) -> tuple[str, ...]:
    """Return what is wrong with a reasoning text; empty for one that can be trained on.

    - `length`: fewer or more words than allowed; `tags`: it holds tags or chat tokens.
    - `contradicts ...`: a claim on the voice that the measurement denies.
    - `no cue`: no claim on anything that was measured.
    - `concludes ...` or `no conclusion`: the last emotion that it names is not the label.
    - `opens with the label`: its first sentence names the label: the cues would be an afterthought.
    - `label leak`: it speaks of the label as something it was given.

    What stands in quotation marks is the speaker's, and counts for nothing of this.

    Args:
        text: The reasoning alone.
        label: The clip's label.
        choices: All labels.
        prosody: Of the clip's row; without measurements nothing is known to be true or false.
        limits: Words and margin.
    """
    faults: list[str] = []
    num_words = len(WORD.findall(text))
    if not limits.min_words <= num_words <= limits.max_words:
        faults.append(f"length: {num_words} words")
    if _TAGS.search(text):
        faults.append("tags")
    faults += _claim_faults(text, prosody or {}, limits.margin)
    mentions = find_mentions(text, choices)
    if not mentions:
        faults.append("no conclusion")
    elif mentions[-1].label != label:
        faults.append(f"concludes {mentions[-1].label}")
    bare = without_quotes(text)
    first = _SENTENCE_END.search(bare)
    end = first.start() if first else len(bare)
    if any(mention.label == label and mention.start < end for mention in mentions):
        faults.append("opens with the label")
    if _META.search(bare):
        faults.append("label leak")
    return tuple(faults)


def _claim_faults(text: str, prosody: Mapping[str, Any], margin: float) -> list[str]:
    claims = find_claims(text)
    truths = [truth_of(claim, prosody, margin) for claim in claims]
    faults = [
        f"contradicts: {'not ' if claim.negated else ''}{claim.level} {claim.attribute}"
        for claim, truth in zip(claims, truths, strict=True)
        if truth == 0
    ]
    stated: dict[str, list[Claim]] = {}
    for claim in claims:
        if not claim.negated:
            stated.setdefault(claim.attribute, []).append(claim)
    faults += [
        f"contradicts itself: {' and '.join(sorted({c.level for c in statements}))} {attribute}"
        for attribute, statements in stated.items()
        if contradicts_itself(statements)
    ]
    if all(truth is None for truth in truths):
        faults.append("no cue")
    return list(dict.fromkeys(faults))
