"""Renditions of one utterance: another pitch, rate or energy, everything else kept.

A clip is taken apart into pitch, spectral envelope and aperiodicity and put together again, so
that words, voice and vowels stay as they were. What is not changed goes the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyworld
from numpy.typing import NDArray

from data.audio import SAMPLE_RATE_HZ, read_audio
from data.prosody.measure import F0_RANGE_HZ, Prosody, measure
from data.records import FloatArray

MAX_PEAK = 0.99
"""Largest absolute sample of what is joined, where full scale is 1."""

CLEAN_ST, CLEAN_DB, CLEAN_RATE = 1.0, 1.0, 1.25**0.25
"""By how much pitch, energy and the length of the speech may miss what was asked for in a clean
change: semitones, dB, a factor."""

_FRAME_MS = 5.0
_FLOOR = 1e-12

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Voice:
    """A clip taken apart; F frames 5 ms apart, B bins of the spectrum."""

    f0_hz: Values
    """[F] pitch; 0 where there is none."""
    envelope: Values
    """[F, B] power of the spectrum without its harmonics."""
    aperiodicity: Values
    """[F, B] share of noise, 0 to 1."""
    num_samples: int
    """Length of the clip, at 16 kHz."""
    power: float
    """Mean square of the clip."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a rendition does to a clip; by default nothing."""

    pitch_st: float = 0.0
    """Semitones that all of the pitch moves up."""
    energy_db: float = 0.0
    """Gain in dB."""
    rate: float = 1.0
    """Factor of the speed, above 0; the clip gets 1/rate as long."""


UNCHANGED = Change()
"""What puts a clip together again as it was."""


def change_by(attribute: str, direction: int, size: float) -> Change:
    """Return the change that moves one attribute.

    Args:
        attribute: `pitch`, `energy` or `rate`.
        direction: +1 = up, -1 = down, 0 = not at all.
        size: Semitones, dB, or factor of the speed.
    """
    if attribute == "rate":
        return Change(rate=size**direction)
    by = direction * size
    return Change(pitch_st=by) if attribute == "pitch" else Change(energy_db=by)


def analyse(samples: FloatArray) -> Voice:
    """Take a clip apart; about 60 ms of one core per second of speech.

    Args:
        samples: [S] float32, 16 kHz mono, full scale 1.

    Source: Morise et al. (2016), WORLD: DIO and StoneMask (pitch), CheapTrick (envelope), D4C
    (aperiodicity).
    """
    wave = samples.astype(np.float64)
    low, high = F0_RANGE_HZ
    # pyworld is compiled code without type information.
    rough, times = pyworld.dio(  # pyright: ignore[reportAttributeAccessIssue]
        wave, SAMPLE_RATE_HZ, f0_floor=low, f0_ceil=high, frame_period=_FRAME_MS
    )
    f0 = pyworld.stonemask(  # pyright: ignore[reportAttributeAccessIssue]
        wave, rough, times, SAMPLE_RATE_HZ
    )
    envelope = pyworld.cheaptrick(  # pyright: ignore[reportAttributeAccessIssue]
        wave, f0, times, SAMPLE_RATE_HZ, f0_floor=low
    )
    aperiodicity = pyworld.d4c(  # pyright: ignore[reportAttributeAccessIssue]
        wave, f0, times, SAMPLE_RATE_HZ, fft_size=2 * (envelope.shape[1] - 1)
    )
    return Voice(f0, envelope, aperiodicity, len(samples), float(np.square(wave).mean()))


def render(voice: Voice, change: Change) -> FloatArray:
    """Put a clip together again, changed.

    The mean power becomes the clip's own plus `energy_db`. Left alone, a moved pitch would lose
    about 1 dB, and the unchanged rendition would be known by being the loudest.

    Returns:
        [S] float32, 16 kHz, S = original length / rate, rounded. Not limited to full scale: `join`
        does that for all renditions at once.
    """
    wave = pyworld.synthesize(  # pyright: ignore[reportAttributeAccessIssue]
        voice.f0_hz * 2 ** (change.pitch_st / 12),
        voice.envelope,
        voice.aperiodicity,
        SAMPLE_RATE_HZ,
        _FRAME_MS / change.rate,
    )
    size = round(voice.num_samples / change.rate)
    wave = np.pad(wave, (0, max(0, size - len(wave))))[:size]
    gain = np.sqrt(voice.power / max(float(np.square(wave).mean()), _FLOOR))
    return (wave * gain * 10 ** (change.energy_db / 20)).astype(np.float32)


def is_clean(before: Prosody, after: Prosody, change: Change) -> bool:
    """Whether pitch, energy and rate of a clip moved as a change says, and by nothing else.

    Pitch within 1 semitone, energy within 1 dB, speech within 6 % of its length: a quarter of what
    the controls of an evaluation move at most. Rate goes by the length of the speech, since a clip
    has too few syllables for their number to tell 6 %. What is not measured is not clean.
    """
    if before.f0_median_hz is None or after.f0_median_hz is None:
        return False
    if before.energy_dbfs is None or after.energy_dbfs is None:
        return False
    pitch_st = 12 * math.log2(after.f0_median_hz / before.f0_median_hz)
    energy_db = after.energy_dbfs - before.energy_dbfs
    rate = before.speech_s / after.speech_s
    return (
        abs(pitch_st - change.pitch_st) <= CLEAN_ST
        and abs(energy_db - change.energy_db) <= CLEAN_DB
        and abs(math.log(rate / change.rate)) <= math.log(CLEAN_RATE)
    )


def move_clip(
    path: Path, attribute: str, size: float, min_duration_s: float, max_duration_s: float
) -> tuple[dict[int, FloatArray], bool]:
    """Return a clip as it is, moved up and moved down, all three put together again.

    About 90 ms of one core per second of speech, and 30 ms a clip for what is measured.

    Args:
        path: Of the clip.
        attribute: As in `change_by`, as `size`.
        size: Of the move.
        min_duration_s: Shortest clip that is taken.
        max_duration_s: Longest.

    Returns:
        Direction (0, 1, -1) -> [S] float32 at 16 kHz, and whether both moves are clean. One alone
        does not count: then the way a clip was moved would tell where it was before.

    Raises:
        AudioError: As `data.audio.read_audio`.
    """
    samples = read_audio(path, min_duration_s=min_duration_s, max_duration_s=max_duration_s)
    voice = analyse(samples)
    changes = {direction: change_by(attribute, direction, size) for direction in (0, 1, -1)}
    heard = {direction: render(voice, change) for direction, change in changes.items()}
    measured = {direction: measure(rendition, None) for direction, rendition in heard.items()}
    clean = all(is_clean(measured[0], measured[way], changes[way]) for way in (1, -1))
    return heard, clean


def join(renditions: Sequence[FloatArray], pause_s: float) -> FloatArray:
    """Return the renditions one after another.

    Where a sample would exceed MAX_PEAK, everything is scaled down together: scaling one rendition
    would change the order of their energies.

    Args:
        renditions: Arrays [S_i] float32, 16 kHz; at least one.
        pause_s: Silence between two of them.
    """
    pause = np.zeros(round(pause_s * SAMPLE_RATE_HZ), np.float32)
    parts = [part for rendition in renditions for part in (pause, rendition)][1:]
    joined = np.concatenate(parts)
    peak = float(np.abs(joined).max())
    return joined * np.float32(MAX_PEAK / max(peak, MAX_PEAK))
