"""Stressed words: which ones stand out in pitch, level and length, given where the words are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.01
MIN_WORDS = 3
"""Words below which none can stand out of the others."""
PROMINENCE = 1.0
"""Mean of the three z-scores from which a word is stressed."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Word:
    """A word and where an aligner found it."""

    text: str
    start_s: float
    end_s: float


def read_words(value: Any) -> tuple[Word, ...]:
    """Return the words of a manifest row's `words`: [{"word", "start_s", "end_s"}, ...].

    Raises:
        ValueError: It is no such list, or a word ends before it starts.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("'words' is not a list of {word, start_s, end_s}")
    words = [_word(item) for item in value]
    return tuple(words)


def _word(item: Any) -> Word:
    if (
        not isinstance(item, Mapping)
        or not isinstance(item.get("word"), str)
        or not all(type(item.get(key)) in (int, float) for key in ("start_s", "end_s"))
        or not 0 <= item["start_s"] < item["end_s"]
    ):
        raise ValueError(f"'words' holds {item!r:.60}; expected word and 0 <= start_s < end_s")
    return Word(item["word"], float(item["start_s"]), float(item["end_s"]))


def stressed_words(
    words: Sequence[Word], power: Values, voiced_frames: NDArray[np.int64], contour_st: Values
) -> tuple[str, ...] | None:
    """Return the words that stand out, in order.

    The prominence of a word is the mean of three z-scores over the words of the clip: its highest
    pitch, its highest level, and its length per letter. A word without voiced frames takes 0 for
    pitch.

    Args:
        words: Where the words are.
        power: [F] mean square of each 10 ms frame.
        voiced_frames: [V] indices of the frames with a pitch.
        contour_st: [V] their pitch in semitones.

    Returns:
        The stressed words; empty if none stands out, None with fewer than 3 words within the clip.

    Source: the three acoustic correlates of stress of Fry (1955, 1958): pitch, intensity, duration.
    """
    inside = [word for word in words if word.end_s <= len(power) * FRAME_S + 0.05]
    if len(inside) < MIN_WORDS:
        return None
    pitch, level, length = [], [], []
    for word in inside:
        start = min(int(word.start_s / FRAME_S), len(power) - 1)
        end = max(start + 1, round(word.end_s / FRAME_S))
        voiced = contour_st[(voiced_frames >= start) & (voiced_frames < end)]
        pitch.append(float(np.percentile(voiced, 90)) if len(voiced) else np.nan)
        level.append(10 * np.log10(float(power[start:end].max()) + 1e-12))
        letters = max(1, sum(character.isalpha() for character in word.text))
        length.append((word.end_s - word.start_s) / letters)
    prominence = np.mean([_z_scores(values) for values in (pitch, level, length)], axis=0)
    pairs = zip(inside, prominence, strict=True)
    return tuple(word.text for word, value in pairs if value >= PROMINENCE)


def _z_scores(values: Sequence[float]) -> Values:
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    spread = float(np.std(finite)) if len(finite) > 1 else 0.0
    if spread < 1e-9:
        return np.zeros(len(array))
    return np.where(np.isfinite(array), (array - finite.mean()) / spread, 0.0)
