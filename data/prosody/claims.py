"""What a text says about a voice, and whether the measurements bear it out.

English and Chinese are read by rules (docs/claims.md tells how well); a text in another script is
not, and what would be scored of it is missing. What a text quotes, asks, supposes, or says of
anything but this voice claims nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from data.prosody.claim import ATTRIBUTES, CHANGES, LEVELS, TURNS, Claim
from data.prosody.claims_chinese import find_chinese
from data.prosody.claims_english import find_english
from data.prosody.quotes import without_quotes

__all__ = [
    "ATTRIBUTES",
    "CHANGES",
    "LEVELS",
    "MARGIN",
    "TURNS",
    "Claim",
    "claim_pieces",
    "find_claims",
    "language_of",
    "single_levels",
    "truth_of",
]

MARGIN = 0.25
"""Distance to a claimed level, in standard deviations, within which the claim is half true."""

_HAN = re.compile("[\u3400-\u9fff]")
_LATIN = re.compile("[a-z\u00c0-\u024f]", re.IGNORECASE)
_OTHER = re.compile("[^\\W\\d_]")


def language_of(text: str) -> str:
    """Return `english` or `chinese` by the script of most letters; empty for any other script.

    What is quoted does not count. A text without letters counts as English. Other languages in
    Latin letters are not told from English; Japanese is told from Chinese by its kana.
    """
    return _language(without_quotes(text))


def _language(text: str) -> str:
    if text.isascii():
        return "english"
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    others = len(_OTHER.findall(text)) - han - latin
    # A Chinese character says about as much as three letters.
    if others > 0 and 3 * others >= max(3 * han, latin):
        return ""
    if others > 0 and han and 10 * others > han and 3 * han > latin:
        return ""
    return "chinese" if 3 * han > latin else "english"


def find_claims(text: str) -> tuple[Claim, ...]:
    """Return the claims of a text, in the order of their level words; duplicates included.

    Empty for a text that is neither English nor Chinese (`language_of`).
    """
    unquoted = without_quotes(text)
    language = _language(unquoted)
    if language == "chinese":
        return tuple(find_chinese(unquoted))
    if not language:
        return ()
    lowered = unquoted.lower()
    if len(lowered) != len(unquoted):  # a letter whose lower case is longer would shift the places
        lowered = "".join(c.lower() if len(c.lower()) == 1 else c for c in unquoted)
    return tuple(find_english(lowered))


def single_levels(text: str) -> dict[str, int | None]:
    """Return the level that a reasoning claims of each of `LEVELS`: 0, 1 or 2.

    None if it claims none, denies one, claims several, or leaves open which ("moderate to high").
    """
    claims = find_claims(text)
    levels: dict[str, int | None] = {}
    for attribute, names in LEVELS.items():
        of_it = [claim for claim in claims if claim.attribute == attribute]
        claimed = {level for claim in of_it for level in claim.levels}
        plain = len(claimed) == 1 and not any(claim.negated for claim in of_it)
        levels[attribute] = names.index(claimed.pop()) if plain else None
    return levels


def truth_of(claim: Claim, prosody: Mapping[str, Any], margin: float) -> float | None:
    """Return how true a claim is: 1, 0.5 (borderline) or 0; None if it was not measured.

    Args:
        claim: What the text says.
        prosody: Measurements of the clip, as `data.prosody.levels.describe` writes them.
        margin: Width of the borderline, in standard deviations.
    """
    truths = [_truth(claim.attribute, level, prosody, margin) for level in claim.levels]
    measured = [truth for truth in truths if truth is not None]
    if not measured:
        return None
    return 1.0 - max(measured) if claim.negated else max(measured)


def _truth(attribute: str, claimed: str, prosody: Mapping[str, Any], margin: float) -> float | None:
    """Return how true one level is."""
    two_parts = attribute == "intonation" and claimed in TURNS
    level = prosody.get("contour" if two_parts else attribute)
    if level is None:
        return None
    if level == claimed:
        return 1.0
    distance = _distance(attribute, claimed, level, prosody)
    return 0.5 if distance is not None and distance <= margin else 0.0


def _distance(attribute: str, claimed: str, level: str, prosody: Mapping[str, Any]) -> float | None:
    """Return how far a measurement lies outside the claimed level, in deviations; None if far."""
    if attribute == "intonation":
        return prosody.get(f"intonation_to_{claimed}")
    if attribute not in LEVELS:
        return None
    order = LEVELS[attribute]
    steps = order.index(claimed) - order.index(level)
    if abs(steps) != 1:
        return None
    side = "above" if steps > 0 else "below"
    return prosody.get(f"{attribute}_to_{side}")


_WORST_FIRST = ("false", "half", "unknown", "true")


def claim_pieces(text: str, prosody: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a text cut at its claims on the voice, each piece with its class.

    `true`, `half` (borderline), `false` or `unknown` (not measured); empty for what claims nothing.
    What is quoted claims nothing.
    """
    kinds: dict[tuple[int, int], str] = {}
    for claim in find_claims(text):
        truth = truth_of(claim, prosody, MARGIN)
        kind = "unknown" if truth is None else {0.0: "false", 0.5: "half", 1.0: "true"}[truth]
        word = claim.start, claim.end
        # Of the claims that one word makes ("pitch and energy are low") the worst is shown.
        kinds[word] = min(kind, kinds.get(word, kind), key=_WORST_FIRST.index)
    pieces: list[tuple[str, str]] = []
    place = 0
    for (start, end), kind in sorted(kinds.items()):
        pieces += [(text[place:start], ""), (text[start:end], kind)]
        place = end
    return [piece for piece in [*pieces, (text[place:], "")] if piece[0]]
