"""What a text claims of the voice, checked by rules: facts that a judge model may be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.prosody.claims import (
    ATTRIBUTES,
    MARGIN,
    Claim,
    find_claims,
    language_of,
    truth_of,
)
from rewards.judges.worth import contradicts_itself

UNCLAIMED = "-"
"""Stands for what the text says nothing of."""

_VERDICTS: Mapping[float, str] = {1.0: "true", 0.5: "half true", 0.0: "false"}


def render_checks(text: str, prosody: Mapping[str, Any]) -> str:
    """Return the claims of a text with their truth, `pitch low true, energy high false, rate -`.

    Pitch, energy, rate and intonation are always named; their changes within the clip are if the
    text speaks of them. Claims on one of them that contradict each other are false together.

    Args:
        text: Reasoning. What it quotes claims nothing.
        prosody: As the annotation step writes it; a claim on what was not measured is `unknown`,
            and so is all that a text in neither English nor Chinese might claim.
    """
    if not language_of(text):
        return ", ".join(f"{name} unknown" for name in ATTRIBUTES)
    by_attribute: dict[str, list[Claim]] = {name: [] for name in ATTRIBUTES}
    for claim in find_claims(text):
        by_attribute.setdefault(claim.attribute, []).append(claim)
    return ", ".join(
        f"{name.replace('_', ' ')} {_verdict(claims, prosody)}"
        for name, claims in by_attribute.items()
    )


def _verdict(claims: list[Claim], prosody: Mapping[str, Any]) -> str:
    """Return the levels that are claimed of one attribute, and whether that is so."""
    if not claims:
        return UNCLAIMED
    levels = dict.fromkeys(f"not {c.level}" if c.negated else c.level for c in claims)
    truths = [(claim, truth_of(claim, prosody, MARGIN)) for claim in claims]
    measured = [(claim, truth) for claim, truth in truths if truth is not None]
    kept = [claim for claim, _ in measured]
    agreed = 0.0 if contradicts_itself(kept) else min((truth for _, truth in measured), default=0.0)
    verdict = _VERDICTS[agreed] if measured else "unknown"
    return f"{' and '.join(levels)} {verdict}"
