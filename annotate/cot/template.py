"""Reasoning from templates: no server, no invention, and every claim true by construction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.prosody.claims import ATTRIBUTES

VERSION = 1
"""Raised whenever the same row gives another text, so that stored ones are not taken for new."""

CLEAR = 0.25
"""Distance to the nearest other level, in standard deviations, from which a cue is worth saying."""

CUES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "pitch": {
        "low": (
            "the pitch is low",
            "the voice sits low in pitch",
            "the pitch stays on the low side",
        ),
        "normal": (
            "the pitch is normal",
            "the pitch keeps to its usual place",
            "the pitch is of average height",
        ),
        "high": ("the pitch is high", "the pitch is raised", "the voice is placed high in pitch"),
    },
    "energy": {
        "low": ("the energy is low", "it is spoken softly", "the voice is quiet"),
        "normal": (
            "the energy is moderate",
            "the loudness is average",
            "the volume is the usual one",
        ),
        "high": ("the energy is high", "it is spoken loudly", "the voice is loud"),
    },
    "rate": {
        "slow": ("the pace is slow", "the words come slowly", "the tempo is slow"),
        "normal": ("the pace is moderate", "the tempo is normal", "the speed is average"),
        "fast": ("the pace is fast", "the words come quickly", "the tempo is rapid"),
    },
    "intonation": {
        "flat": ("the intonation is flat", "the melody is monotone", "the contour is flat"),
        "falling": ("the intonation is falling", "the contour falls", "the melody is falling"),
        "expressive": (
            "the intonation is expressive",
            "the melody is lively",
            "the contour is varied",
        ),
        "rising": ("the intonation is rising", "the contour rises", "the melody is rising"),
    },
}
"""Attribute -> level -> ways to say it."""

MOVES: Mapping[str, tuple[str, ...]] = {
    "rising": ("The energy grows towards the end.", "The loudness increases as it goes on."),
    "falling": ("The energy fades towards the end.", "The loudness drops as it goes on."),
}
"""Change of energy -> ways to say it."""

WORDS = (
    'The words, "{text}", leave the feeling open, so the delivery has to tell it.',
    'What is said, "{text}", could be said in any mood; how it is said decides.',
    'The sentence "{text}" on its own settles nothing.',
)
"""What is said of the transcript."""

STATES: Mapping[str, str] = {
    "neutral": "a state of neutrality",
    "calm": "a calm speaker",
    "happy": "a happy speaker",
    "excited": "an excited speaker",
    "sad": "a sad speaker",
    "angry": "an angry speaker",
    "frustrated": "a frustrated speaker",
    "contempt or disgust": "contempt or disgust",
    "contempt": "contempt",
    "disgust": "disgust",
    "confused": "a confused speaker",
    "whisper": "a whisper",
    "surprise": "surprise",
    "fear": "fear",
}
"""Label -> how a conclusion calls it; other labels are called by their name."""

ENDINGS = (
    "Taken together, this points to {state}.",
    "These cues suggest {state}.",
    "All of this is typical of {state}.",
    "Such a delivery conveys {state}.",
)
"""How a text ends."""


def write_reasoning(row: Mapping[str, Any], attempt: int, seed: int) -> str:
    """Return a reasoning text for a row of an annotated manifest.

    Args:
        row: With `id`, `label` and, where known, `prosody` and `text`.
        attempt: Another number gives another text; four in a row all differ.
        seed: The same for a whole file.

    Returns:
        Two or three sentences on the clear cues (at least two of them, if two were measured), one
        on the words, and a conclusion.
    """
    rng = _rng(f"{seed}/{attempt}/{row['id']}")
    prosody: Mapping[str, Any] = row.get("prosody") or {}
    measured = [name for name in ATTRIBUTES if prosody.get(name) in CUES[name]]
    ranked = sorted(measured, key=lambda name: -clearness(prosody, name))
    clear = ranked[:2] + [name for name in ranked[2:] if clearness(prosody, name) >= CLEAR]
    cues = [pick(CUES[name][prosody[name]], rng) for name in clear]
    rng.shuffle(cues)
    sentences = [sentence(cues[start : start + 2]) for start in range(0, len(cues), 2)]
    change = prosody.get("energy_change") or "steady"
    if change in MOVES:
        sentences.append(pick(MOVES[change], rng))
    quoted = str(row.get("text") or "").strip().rstrip(".").replace('"', "'")
    if quoted:
        sentences.append(pick(WORDS, rng).format(text=quoted))
    state = STATES.get(row["label"], row["label"])
    first = int(_rng(f"{seed}/{row['id']}").integers(len(ENDINGS)))
    sentences.append(ENDINGS[(first + attempt) % len(ENDINGS)].format(state=state))
    return " ".join(sentences)


def _rng(name: str) -> np.random.Generator:
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def clearness(prosody: Mapping[str, Any], attribute: str) -> float:
    """Return the distance of a level to the nearest other one, in standard deviations."""
    distances = [
        value
        for key, value in prosody.items()
        if key.startswith(f"{attribute}_to_") and value is not None
    ]
    return min(distances, default=0.0)


def sentence(cues: Sequence[str]) -> str:
    """Return one or two cues as a sentence."""
    joined = ", and ".join(cues)
    return f"{joined[0].upper()}{joined[1:]}."


def pick(options: Sequence[str], rng: np.random.Generator) -> str:
    """Return one of the options."""
    return options[int(rng.integers(len(options)))]
