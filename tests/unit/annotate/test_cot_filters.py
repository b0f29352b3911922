"""The filters of reasoning texts: what they catch, and what they let pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from annotate.cot.duplicates import Duplicates
from annotate.cot.filters import Limits, find_faults
from annotate.cot.lexicon import find_mentions
from annotate.cot.template import CUES, ENDINGS, MOVES
from configs.schema import NINE_LABELS
from tests.unit.heldout import PARAGRAPHS, UNSEEN, Case, demo_cases, paragraph_cases, unseen_cases
from tests.unit.make_rows import draw_rows

PROSODY = {
    "pitch": "low",
    "pitch_to_above": 0.8,
    "energy": "low",
    "energy_to_above": 0.1,
    "rate": "slow",
    "rate_to_above": 1.2,
    "intonation": "falling",
    "intonation_to_flat": 0.9,
}
GOOD = (
    "The pitch is low and the voice is quiet, and the words come slowly. "
    "Taken together, this points to a sad speaker."
)


def faults_of(text: str, label: str = "sad", limits: Limits | None = None) -> tuple[str, ...]:
    return find_faults(text, label, NINE_LABELS, PROSODY, limits or Limits())


Source = Callable[[list[dict], np.random.Generator], Iterator[Case]]


@pytest.mark.slow
@pytest.mark.parametrize("source", [demo_cases, paragraph_cases, unseen_cases])
def test_flipped_claims_are_caught_and_true_ones_pass(source: Source):
    cases = list(source(draw_rows(1_200, seed=1), np.random.default_rng(2)))
    true = [case for case in cases if not case.flipped]
    flipped = [case for case in cases if case.flipped]
    passed = sum(not case.faults for case in true) / len(true)
    caught = sum(case.is_caught for case in flipped) / len(flipped)
    shares = f"{passed:.1%} of {len(true)} true texts passed, {caught:.1%} of flipped ones caught"
    print(f"{source.__name__}: {shares}")
    assert min(len(true), len(flipped)) >= 400
    assert passed >= 0.95
    assert caught >= 0.95


def test_the_held_out_texts_are_held_out():
    assert len(PARAGRAPHS) >= 25
    cues = [way for levels in CUES.values() for ways in levels.values() for way in ways]
    frames = [part for way in ENDINGS for part in re.split(r"\{\w+\}", way)]
    parts = [*cues, *(way for ways in MOVES.values() for way in ways), *frames]
    for part in parts:
        # Of two words and more: "." and the like are in every text.
        if len(part.split()) > 2:
            assert not any(part in text for text in (*PARAGRAPHS, *UNSEEN)), part


def test_a_good_text_has_no_fault():
    assert faults_of(GOOD) == ()


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("The pitch is low, this is a sad man.", ("length: 9 words", "opens with the label")),
        (f"<think>{GOOD}</think>", ("tags",)),
        (f"{GOOD}<|im_end|>", ("tags",)),
        (GOOD.replace("low", "high"), ("contradicts: high pitch",)),
        (GOOD.replace("is low", "is not low"), ("contradicts: not low pitch",)),
        (GOOD.replace("slowly", "slowly, at a fast pace"),
         ("contradicts: fast rate", "contradicts itself: fast and slow rate")),
        # Low, 0.1 deviations below normal: let pass beside the margin of 0.25, not without it.
        (GOOD.replace("voice is quiet", "volume is normal"), ()),
        (GOOD.replace("voice is quiet", "voice is quiet, the volume normal"),
         ("contradicts itself: low and normal energy",)),
        # What was not measured is neither true nor false, and no cue.
        ("He talks on and on about the house in the garden. He is sad.", ("no cue",)),
        ("He talks about the house, and the energy is rising all the time. He is sad.",
         ("no cue",)),
        (GOOD.replace("a sad", "an angry"), ("concludes angry",)),
        (GOOD.replace("sad ", ""), ("no conclusion",)),
        (GOOD.replace("sad", "not sad"), ("no conclusion",)),
        (GOOD.replace("a sad", "a sad, not an angry"), ()),
        (GOOD.replace("a sad", "not anger but sorrow in the"), ()),
        (GOOD.replace("The pitch", "Sadly the pitch"), ("opens with the label",)),
        # Another emotion may come first: it is weighed against the cues.
        (GOOD.replace("The pitch", "Anger aside, the pitch"), ()),
        (GOOD.replace("this points", "the given label points"), ("label leak",)),
        (GOOD.replace("this points", "the annotation points"), ("label leak",)),
        (GOOD.replace("Taken together", "As an AI"), ("label leak",)),
        (GOOD.replace("Taken together", "As instructed in the prompt"), ("label leak",)),
        # What the speaker says is not what the text says.
        (GOOD.replace("Taken", '"I am angry, speak loudly, read the label", he says. Taken'), ()),
        (GOOD.replace("Taken", "\u201cfast, loud, high pitch\u201d is said. Taken"), ()),
        (GOOD + ' "So angry!"', ()),
        ('"The pitch is low and I am sad", says somebody in the house at the bridge.',
         ("no cue", "no conclusion")),
    ],
)  # fmt: skip
def test_faults(text: str, faults: tuple[str, ...]):
    assert faults_of(text) == faults


def test_limits():
    assert faults_of(GOOD, limits=Limits(min_words=22)) == ()
    assert faults_of(GOOD, limits=Limits(min_words=23)) == ("length: 22 words",)
    assert faults_of(GOOD, limits=Limits(max_words=21)) == ("length: 22 words",)
    borderline = GOOD.replace("voice is quiet", "volume is normal")
    assert faults_of(borderline, limits=Limits(margin=0.05)) == ("contradicts: normal energy",)


def test_without_measurements_nothing_is_a_cue():
    assert find_faults(GOOD, "sad", NINE_LABELS, None, Limits()) == ("no cue",)


@pytest.mark.parametrize(
    ("text", "labels", "found"),
    [
        ("contempt, then disgust", ["contempt or disgust"], ["contempt or disgust"] * 2),
        ("disdainful", ["contempt or disgust"], ["contempt or disgust"]),
        ("contempt, then disgust", ["contempt", "disgust"], ["contempt", "disgust"]),
        ("furious and irritated, sorrowful", NINE_LABELS, ["angry", "angry", "sad"]),
        ("anger is a danger; angers", ["angry"], ["angry"]),
        ("bitter nostalgia, not bitter", ["bitter", "nostalgia"], ["bitter", "nostalgia"]),
        ("happy or sad", ["sad"], ["sad"]),
        ("neither happy nor sad, without fear; no anger", NINE_LABELS, []),
        ("rather than anger, fear", NINE_LABELS, ["fear"]),
        ("not angry. Sad.", NINE_LABELS, ["sad"]),
        ("barely above a whisper, afraid", NINE_LABELS, ["fear"]),
        ('"sad" is what he says', NINE_LABELS, []),
    ],
)
def test_mentions(text: str, labels: list[str], found: list[str]):
    assert [mention.label for mention in find_mentions(text, labels)] == found


WORDS_OF_TEN = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def kept_texts(*texts: str, threshold: float = 0.9) -> Duplicates:
    kept = Duplicates(texts.__getitem__, threshold)
    for name, text in enumerate(texts):
        kept.keep(name, text)
    return kept


def test_duplicates_by_shared_runs_of_four_words():
    kept = kept_texts(" ".join(WORDS_OF_TEN), threshold=0.5)  # 7 runs
    assert kept.find("One, two; THREE four five six seven eight nine ten!") == 0
    # The last word replaced: 6 runs shared of 8.
    assert kept.find(" ".join([*WORDS_OF_TEN[:9], "x"])) == 0
    # The middle replaced: runs 1-4, 6-9, 7-10 of 3 remain and 4 are new: 3 of 11.
    assert kept.find(" ".join([*WORDS_OF_TEN[:4], "x", *WORDS_OF_TEN[5:]])) is None
    assert kept.find("something else altogether") is None


def test_the_default_threshold_is_nine_tenths():
    words = [f"w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(60)]  # 57 runs
    kept = kept_texts(" ".join(words))
    assert kept.find(" ".join([*words[:-2], "x", "y"])) == 0  # 55 of 59
    assert kept.find(" ".join([*words[:-3], "x", "y", "z"])) == 0  # 54 of 60
    assert kept.find(" ".join([*words[:-4], "w", "x", "y", "z"])) is None  # 53 of 61


def test_short_texts_are_compared_whole():
    kept = kept_texts("Low pitch.")
    assert kept.find("low PITCH") == 0
    assert kept.find("high pitch") is None
