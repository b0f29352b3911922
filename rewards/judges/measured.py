"""A judge without a model: what the reasoning says of the voice against what was measured.

It needs no server and costs microseconds. What it knows is narrow: `factual_alignment` and
`caption_completeness` are measurements, the other two dimensions are plain checks of form that a
model judge does better.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from data.prosody.claims import (
    ATTRIBUTES,
    MARGIN,
    Claim,
    find_claims,
    language_of,
    truth_of,
)
from data.records import Prompt
from rewards.judges.base import (
    DIMENSIONS,
    HIGHEST,
    LOWEST,
    NOT_APPLICABLE,
    UNREADABLE,
    JudgeContext,
    JudgeError,
    Judgement,
    unscored,
)
from rewards.judges.worth import checked_rates, worths_of

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


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a text says and how, whatever the clip."""

    language: str
    """As `language_of` returns it."""
    claims: tuple[Claim, ...]
    interpretation: float
    fluency: float


class MeasuredJudge:
    """Scores reasoning by the prosody that the annotation step measured.

    With the claims that `data.prosody.claims.find_claims` finds, and what each attribute's claims
    are worth in [0, 1] (`rewards.judges.worth`): 1 if the measured level is named, less for a claim
    that says less, 0 for one that is false or contradicts another.

    - `factual_alignment`: 1 + 4 x the mean worth over the attributes of which the text tells
      something that was measured. A text that tells nothing of these is a 1; one that claims
      something is missing where none of the four was measured.
    - `caption_completeness`: 1 + 4 x the sum of the worths over the number of measured attributes
      (pitch, energy, rate, intonation): an attribute counts as told where neither the text nor the
      measurement contradicts what is told of it.
    - `interpretative_quality`: 1, plus 2 for naming an emotion or mood, plus 2 for a word that
      links cue and emotion ("suggests", "conveys"); at most `factual_alignment`, since a conclusion
      is worth no more than its cues. A keyword check: it sees no quality of thought.
    - `fluency_and_structural_clarity`: 1 + 4 x the share of five checks that hold: between
      `min_words` and `max_words` words, capital first letter, sentence mark at the end, no word
      twice in a row, at least 80 % of its word triples different.
    """

    dimensions = DIMENSIONS
    default_weights: Mapping[str, float] = {
        "factual_alignment": 0.5,
        "caption_completeness": 0.5,
    }
    """The two that are measured: what is a check of form can be had without listening."""

    def __init__(
        self,
        context: JudgeContext,
        *,
        margin: float = MARGIN,
        min_words: int = 8,
        max_words: int = 200,
        base_rates: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        """Set the limits.

        Args:
            context: Not used: the measurements come with the manifest.
            margin: How far outside a claimed level a measurement may lie for the claim to be half
                true, in standard deviations of what it was calibrated on; >= 0.
            min_words: Fewest words of a fluent text.
            max_words: Most words of a fluent text.
            base_rates: Attribute (or `contour`) -> level -> its share of the run's clips, for those
                whose levels are not equally frequent; see `rewards.judges.worth`.

        Raises:
            JudgeError: A limit is out of range, or the base rates are no shares of known levels.
        """
        del context
        if not margin >= 0 or not 0 <= min_words <= max_words:
            raise JudgeError(
                f"MeasuredJudge: margin {margin}, min_words {min_words}, max_words {max_words}; "
                "allowed is margin >= 0 and 0 <= min_words <= max_words"
            )
        self._margin = margin
        self._num_words = (min_words, max_words)
        self._rates = checked_rates(base_rates or {})
        # A policy repeats itself; what a text says does not depend on the clip.
        self._read = lru_cache(maxsize=10_000)(self._reading)

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge the reasoning of one clip; see `rewards.judges.base.Judge`.

        A clip without measurements gives judgements without scores: annotate the manifest first.
        """
        prosody = prompt.example.prosody
        if prosody is None:
            details = {} if prompt.example.audio else NOT_APPLICABLE
            return [unscored("no prosody in the manifest", details) for _ in reasonings]
        return [self._judgement(prosody, reasoning) for reasoning in reasonings]

    def close(self) -> None:
        """Nothing to free."""

    def _reading(self, text: str) -> _Reading:
        form = interpretation(text), fluency(text, *self._num_words)
        return _Reading(language_of(text), find_claims(text), *form)

    def _judgement(self, prosody: Mapping[str, Any], reasoning: str) -> Judgement:
        read = self._read(reasoning)
        if not read.language:
            return unscored("neither English nor Chinese", UNREADABLE)
        truths = [truth_of(claim, prosody, self._margin) for claim in read.claims]
        worths = worths_of(read.claims, truths, self._rates)
        completeness = _scaled(_completeness(worths, prosody))
        factual = _scaled(_factual(read.claims, worths, blind=completeness is None))
        scores = {
            "factual_alignment": factual,
            "interpretative_quality": None
            if factual is None
            else min(read.interpretation, factual),
            "caption_completeness": completeness,
            "fluency_and_structural_clarity": _scaled(read.fluency),
        }
        facts = [
            {"attribute": c.attribute, "level": c.level, "truth": t, "start": c.start, "end": c.end}
            | ({"negated": True} if c.negated else {})
            for c, t in zip(read.claims, truths, strict=True)
        ]
        if read.language != "english":  # the two checks of form know English words alone
            scores["interpretative_quality"] = scores["fluency_and_structural_clarity"] = None
            missing = "form of Chinese text"
            return Judgement(scores, missing, {"claims": facts, "worths": worths, **UNREADABLE})
        missing = "" if None not in scores.values() else "claims on unmeasured prosody only"
        return Judgement(scores, missing, {"claims": facts, "worths": worths})


def _factual(claims: Sequence[Claim], worths: Mapping[str, float], blind: bool) -> float | None:
    """Return the mean worth in [0, 1]; None if there are claims on a clip without measurements."""
    if worths:
        return sum(worths.values()) / len(worths)
    # To speak only of what was not measured where something was would pay the mean of a group.
    return None if blind and any(claim.attribute in ATTRIBUTES for claim in claims) else 0.0


def _completeness(worths: Mapping[str, float], prosody: Mapping[str, Any]) -> float | None:
    measured = [name for name in ATTRIBUTES if prosody.get(name) is not None]
    if not measured:
        return None
    return sum(worths.get(name, 0.0) for name in measured) / len(measured)


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
