"""A judge without a model: what the reasoning says of the voice against what was measured.

It needs no server, costs microseconds, and cannot be talked into anything. What it knows is
narrow: `factual_alignment` is a measurement, `caption_completeness` a count, and the other two
dimensions are plain checks of form that a model judge does better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from data.prosody.claims import (
    ATTRIBUTES,
    MARGIN,
    Claim,
    contradict,
    find_claims,
    language_of,
    truth_of,
)
from data.records import Prompt
from rewards.judges.base import (
    DIMENSIONS,
    HIGHEST,
    LOWEST,
    JudgeContext,
    JudgeError,
    Judgement,
    unscored,
)

_AFFECT = re.compile(
    r"\b(?:happ|sad|ang(?:er|ry)|fear|afraid|disgust|contempt|surpris|neutral|calm|confus|whisper"
    r"|joy|anxi|nervous|excite|tense|tension|frustrat|irritat|sorrow|grief|gloom|delight|cheer"
    r"|shock|amaze|uncertain|hesita|bored|tired|emotion|mood|feeling|affect)"
)
_LINK = re.compile(
    r"\b(?:suggest|convey|indicates?|indicating|impl(?:y|ies)|reflect|reveal|express|signal"
    r"|point|typical of|consistent with|sounds?|therefore|thus|hence|because|which means|shows?)"
)
_SENTENCE = re.compile(r"[.!?]+")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


class MeasuredJudge:
    """Scores reasoning by the prosody that the annotation step measured.

    With claims found by `data.prosody.claims.find_claims`:

    - `factual_alignment`: 1 + 4 x the mean truth of the claims, once per attribute. A claim is true
      (1), false (0), or half true where the measurement lies within `margin` of the claimed level.
      An attribute on which the text contradicts itself counts as false. No claim at all is a 1;
      claims only on what was not measured are missing.
    - `caption_completeness`: 1 + 4 x the share of measured attributes (pitch, energy, rate,
      intonation) on which there is a claim.
    - `interpretative_quality`: 1, plus 2 for naming an emotion or mood, plus 2 for a word that
      links cue and emotion ("suggests", "conveys"). A keyword check: it sees no quality of thought.
    - `fluency_and_structural_clarity`: 1 + 4 x the share of five checks that hold: between
      `min_words` and `max_words` words, capital first letter, sentence mark at the end, no word
      twice in a row, at least 80 % of its word triples different.
    """

    dimensions = DIMENSIONS

    def __init__(
        self,
        context: JudgeContext,
        *,
        margin: float = MARGIN,
        min_words: int = 8,
        max_words: int = 200,
    ) -> None:
        """Set the limits.

        Args:
            context: Not used: the measurements come with the manifest.
            margin: How far outside a claimed level a measurement may lie for the claim to be half
                true, in standard deviations of what it was calibrated on; >= 0.
            min_words: Fewest words of a fluent text.
            max_words: Most words of a fluent text.

        Raises:
            JudgeError: A limit is out of range.
        """
        del context
        if not margin >= 0 or not 0 <= min_words <= max_words:
            raise JudgeError(
                f"MeasuredJudge: margin {margin}, min_words {min_words}, max_words {max_words}; "
                "allowed is margin >= 0 and 0 <= min_words <= max_words"
            )
        self._margin = margin
        self._num_words = (min_words, max_words)
        # A policy repeats itself; what a text claims does not depend on the clip.
        self._claims = lru_cache(maxsize=10_000)(find_claims)

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge the reasoning of one clip; see `rewards.judges.base.Judge`.

        A clip without measurements gives judgements without scores: annotate the manifest first.
        """
        prosody = prompt.example.prosody
        if prosody is None:
            return [unscored("no prosody in the manifest") for _ in reasonings]
        return [self._judgement(prosody, reasoning) for reasoning in reasonings]

    def close(self) -> None:
        """Nothing to free."""

    def _judgement(self, prosody: Mapping[str, Any], reasoning: str) -> Judgement:
        language = language_of(reasoning)
        if not language:
            return unscored("neither English nor Chinese")
        claims = self._claims(reasoning)
        truths = [truth_of(claim, prosody, self._margin) for claim in claims]
        scores = {
            "factual_alignment": _scaled(_factual(claims, truths)),
            "interpretative_quality": interpretation(reasoning),
            "caption_completeness": _scaled(_completeness(claims, prosody)),
            "fluency_and_structural_clarity": _scaled(fluency(reasoning, *self._num_words)),
        }
        facts = [
            {"attribute": c.attribute, "level": c.level, "truth": t, "start": c.start, "end": c.end}
            | ({"negated": True} if c.negated else {})
            for c, t in zip(claims, truths, strict=True)
        ]
        if language != "english":  # the two checks of form know English words alone
            scores["interpretative_quality"] = scores["fluency_and_structural_clarity"] = None
            missing = "form of Chinese text"
            return Judgement(scores, missing, {"claims": facts})
        missing = "" if None not in scores.values() else "claims on unmeasured prosody only"
        return Judgement(scores, missing, {"claims": facts})


def _factual(claims: Sequence[Claim], truths: Sequence[float | None]) -> float | None:
    """Return the mean truth over the attributes with a measured claim, in [0, 1]."""
    if not claims:
        return 0.0
    by_attribute: dict[str, list[tuple[Claim, float]]] = {}
    for claim, truth in zip(claims, truths, strict=True):
        if truth is not None:
            by_attribute.setdefault(claim.attribute, []).append((claim, truth))
    if not by_attribute:
        return None
    values = [agreed_truth(rated) for rated in by_attribute.values()]
    return sum(values) / len(values)


def agreed_truth(rated: Sequence[tuple[Claim, float]]) -> float:
    """Return the truth of one attribute's claims; 0 if they contradict each other."""
    if contradict([claim for claim, _ in rated]):
        return 0.0
    return min(truth for _, truth in rated)


def _completeness(claims: Sequence[Claim], prosody: Mapping[str, Any]) -> float | None:
    measured = {name for name in ATTRIBUTES if prosody.get(name) is not None}
    if not measured:
        return None
    return len(measured & {claim.attribute for claim in claims}) / len(measured)


def interpretation(text: str) -> float:
    """Return 1, 3 or 5: whether an emotion is named, and whether cue and emotion are linked."""
    lowered = text.lower()
    return LOWEST + 2.0 * bool(_AFFECT.search(lowered)) + 2.0 * bool(_LINK.search(lowered))


def fluency(text: str, min_words: int, max_words: int) -> float:
    """Return the share of the five checks of form that hold, in [0, 1]; see `MeasuredJudge`."""
    stripped = text.strip()
    words = [word.lower() for word in _WORD.findall(stripped)]
    triples = list(zip(words, words[1:], words[2:], strict=False))
    checks: Iterable[bool] = (
        min_words <= len(words) <= max_words,
        stripped[:1].isupper(),
        bool(_SENTENCE.fullmatch(stripped[-1:])),
        all(a != b for a, b in pairwise(words)),
        not triples or len(set(triples)) >= 0.8 * len(triples),
    )
    return sum(checks) / 5


def _scaled(share: float | None) -> float | None:
    return None if share is None else LOWEST + share * (HIGHEST - LOWEST)
