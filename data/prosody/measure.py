"""What can be measured of a voice: pitch, energy, rate and pauses of one clip.

A measurement that the clip does not support is `None`, never a guess: a whisper has no pitch.
Frames are 10 ms apart and frame i is centred at i x 10 ms, for power and pitch alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyworld
from numpy.typing import NDArray

from data.audio import SAMPLE_RATE_HZ
from data.prosody.contour import contour_shape
from data.prosody.stress import Word, stressed_words
from data.records import BoolArray, FloatArray

Values = NDArray[np.float64]
Frames = NDArray[np.int64]

F0_RANGE_HZ = (55.0, 500.0)
"""Lowest and highest pitch that is looked for."""

MIN_VOICED_FRAMES = 15
"""Voiced frames (10 ms each) below which nothing is said of pitch: noise has a few by chance."""

MIN_SPEECH_S = 0.3
"""Speech below which nothing is said of rate, and twice that for a change within the clip."""

MIN_VOICED_FRAC, MIN_MOVEMENT_DB = 0.1, 2.5
"""Share of speech with a pitch, or else standard deviation of the vowel band's level, that speech
has: a whisper has no pitch but syllables; steady noise has neither, so nothing is said of rate."""

VERSION = 3
"""Raised whenever a measurement changes its value, so that stored ones are not taken for new."""

_HOP = SAMPLE_RATE_HZ // 100
_WINDOW = 512
_HIGH_PASS_BIN = 2  # 62 Hz: no rumble, no offset
_NUCLEUS_BINS = slice(10, 80)  # 310 to 2,500 Hz: vowels stand out, hiss does not
_NUCLEUS_DB, _NUCLEUS_RANGE_DB = 1.5, 25.0
_LOUD_DB, _ACTIVE_DB = 10.0, 22.0
_ABOVE_NOISE_DB = 4.0
_MIN_BURST, _MIN_PAUSE = 4, 20  # frames: what is shorter is a click; a stop consonant
_MIN_VOICED = 3  # frames: a shorter stretch of pitch is chance
_OCTAVE_ST, _JUMP_ST = 8.0, 6.0
_FLOOR = 1e-12
_CONTOUR_FACTS = (
    "f0_median_hz",
    "f0_p5_hz",
    "f0_p95_hz",
    "f0_reliability",
    "f0_range_st",
    "f0_std_st",
    "f0_slope_st_per_s",
    "f0_end_st",
    "f0_change_st",
    "contour",
    "contour_confidence",
)


@dataclass(frozen=True, slots=True)
class Prosody:
    """Measurements of one clip. dBFS: 0 is a mean square of 1; st: semitones."""

    duration_s: float
    """Length of the clip."""
    speech_s: float
    """Time from the first to the last speech, without pauses."""
    pause_frac: float | None
    """Share of that time, pauses included, that is pauses of 0.2 s and more."""
    num_pauses: int
    """Pauses of 0.2 s and more between speech."""
    energy_dbfs: float | None
    """Mean power of the loud frames of speech: those at most 10 dB below their own mean, so that
    neither silence nor noise around them counts; None without speech."""
    energy_change_db: float | None
    """The same of the second half of the loud frames minus that of the first."""
    noise_dbfs: float | None
    """Mean power outside speech; None if the clip has less than 50 ms of it."""
    snr_db: float | None
    """`energy_dbfs - noise_dbfs`."""
    voiced_frames: int
    """Frames with a pitch; the more, the surer everything about pitch."""
    voiced_frac: float | None
    """Their share in the speech."""
    f0_median_hz: float | None
    """Median pitch; like all below, None with fewer than MIN_VOICED_FRAMES voiced frames."""
    f0_p5_hz: float | None
    """5th percentile of pitch."""
    f0_p95_hz: float | None
    """95th percentile of pitch."""
    f0_reliability: float | None
    """How well the wave repeats after one period of the pitch found, from 0 to 1: the median over
    the voiced frames of the correlation between 25 ms and the next 25 ms."""
    f0_range_st: float | None
    """95th minus 5th percentile of pitch."""
    f0_std_st: float | None
    """Standard deviation of pitch."""
    f0_slope_st_per_s: float | None
    """Slope of the line through the contour."""
    f0_end_st: float | None
    """Pitch of the last voiced frames minus the middle between the 10th and 90th percentile of the
    contour's last 30 %: positive if it ends on a rise, negative on a fall."""
    f0_change_st: float | None
    """Median pitch of the second half of the voiced frames minus that of the first."""
    contour: str | None
    """Shape of the pitch contour, one of `contour.SHAPES`; None if it is none of them."""
    contour_confidence: float | None
    """Confidence in the shape, 0 to 1, times `f0_reliability`."""
    nuclei_per_s: float | None
    """Articulation rate: syllable nuclei (peaks of the vowel band's level) per second of speech."""
    spoken_nuclei_per_s: float | None
    """Speaking rate: the same with the pauses in the time."""
    letters_per_s: float | None
    """Letters of the transcript per second of speech; None without a transcript."""
    stressed_words: tuple[str, ...] | None = None
    """Words that stand out, in order; None without an alignment."""

    def as_json(self) -> dict[str, Any]:
        """Return the measurements by name, rounded to a thousandth."""
        return {
            name: round(value, 3) + 0.0 if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True, slots=True)
class _Activity:
    """Where speech is, in frames."""

    loud: BoolArray
    """[F] frames that are at most 10 dB below the mean of all such frames."""
    outside: BoolArray
    """[F] frames before, after and in pauses between speech."""
    num_spoken: int
    """Frames of the span without pauses."""
    num_paused: int
    """Frames of pauses."""
    num_pauses: int = 0
    """How many pauses they are."""


def measure(samples: FloatArray, text: str | None, words: Sequence[Word] = ()) -> Prosody:
    """Measure one clip; about 15 ms of one core for 1.5 s, nearly all of it pitch tracking.

    Args:
        samples: [S] float32, 16 kHz mono, full scale 1.
        text: the transcript, where known; only its letters count.
        words: where its words are, where an aligner has found them.
    """
    power, vowel_power = _frame_powers(samples)
    activity = _find_speech(power)
    speech_s = activity.num_spoken * _HOP / SAMPLE_RATE_HZ
    loud, silent = power[activity.loud], power[activity.outside & (power > _FLOOR)]
    energy = _db(loud.mean()) if len(loud) else None
    noise = _db(silent.mean()) if len(silent) >= 5 and energy is not None else None
    enough = speech_s >= MIN_SPEECH_S
    half = len(loud) // 2
    change = _db(loud[half:].mean()) - _db(loud[:half].mean()) if half > 20 else None
    span = activity.num_spoken + activity.num_paused
    frames, contour = _track_pitch(samples, activity)
    voiced = len(frames) >= max(MIN_VOICED_FRAMES, MIN_VOICED_FRAC * activity.num_spoken)
    spoken = enough and (voiced or _movement_db(vowel_power, activity) >= MIN_MOVEMENT_DB)
    nuclei = _num_nuclei(vowel_power, activity) if spoken else None
    prosody = Prosody(
        duration_s=len(samples) / SAMPLE_RATE_HZ,
        speech_s=speech_s,
        pause_frac=activity.num_paused / span if span else None,
        num_pauses=activity.num_pauses,
        energy_dbfs=energy,
        energy_change_db=change,
        noise_dbfs=noise,
        snr_db=energy - noise if energy is not None and noise is not None else None,
        voiced_frames=len(frames),
        voiced_frac=min(1.0, len(frames) / activity.num_spoken) if activity.num_spoken else None,
        **_contour_facts(samples, frames, contour),
        nuclei_per_s=None if nuclei is None else nuclei / speech_s,
        spoken_nuclei_per_s=None if nuclei is None else nuclei * SAMPLE_RATE_HZ / (span * _HOP),
        letters_per_s=None,
        stressed_words=stressed_words(words, power, frames, contour) if words else None,
    )
    return with_transcript(prosody, text)


def pitch_curve(samples: FloatArray) -> tuple[Frames, Values]:
    """Return [V] voiced frames (10 ms each) and their pitch in Hz, as `measure` finds them.

    Args:
        samples: [S] float32, 16 kHz mono, full scale 1.
    """
    frames, contour = _track_pitch(samples, _find_speech(_frame_powers(samples)[0]))
    return frames, 100 * 2 ** (contour / 12)


def with_transcript(prosody: Prosody, text: str | None) -> Prosody:
    """Return the measurements with those that come from a transcript, old ones replaced."""
    num_letters = len(re.findall(r"[^\W\d_]", text or ""))
    supported = num_letters > 0 and prosody.nuclei_per_s is not None
    return replace(prosody, letters_per_s=num_letters / prosody.speech_s if supported else None)


def _db(power: float | np.floating) -> float:
    return float(10 * np.log10(max(float(power), _FLOOR)))


def _frame_powers(samples: FloatArray) -> tuple[Values, Values]:
    """Return [F] mean square of each frame above 62 Hz, and within the vowel band."""
    num = len(samples) // _HOP + 1
    padded = np.pad(samples, (_WINDOW // 2, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:num]
    window = np.hanning(_WINDOW).astype(np.float32)
    scale = 2 / (_WINDOW * float(np.square(window).sum()))
    power = scale * np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return power[:, _HIGH_PASS_BIN:].sum(axis=1), power[:, _NUCLEUS_BINS].sum(axis=1)


def _find_speech(power: Values) -> _Activity:
    """Find speech by level, with a threshold that silence around it does not move.

    Speech are the frames at most 22 dB below the level of the loud ones, and above steady noise.

    Source: ITU-T P.56 (active speech level), method B: its mutual definition of level and
    threshold, on frames, with a margin of 10 dB instead of 15.9 and without hangover.
    """
    order = np.sort(power)[::-1]
    sounding = order[order > 10 * _FLOOR]
    if not len(sounding):
        nothing = np.zeros(len(power), dtype=np.bool_)
        return _Activity(nothing, ~nothing, 0, 0)
    # The largest set of frames whose weakest is at most 10 dB below the set's mean.
    means = np.cumsum(order) / np.arange(1, len(order) + 1)
    num = int(np.flatnonzero(order >= means * 10 ** (-_LOUD_DB / 10)).max()) + 1
    level = _db(means[num - 1])
    above_noise = _db(np.percentile(sounding, 10)) + _ABOVE_NOISE_DB
    # A clip without any pause has no noise to be seen: its weakest frames are speech.
    threshold = min(max(level - _ACTIVE_DB, above_noise), level - _LOUD_DB)
    active = power >= 10 ** (threshold / 10)
    steps = np.diff(np.concatenate([[0], active.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    kept = ends - starts >= _MIN_BURST
    starts, ends = starts[kept], ends[kept]
    loud = np.zeros(len(power), dtype=np.bool_)
    outside = np.ones(len(power), dtype=np.bool_)
    if not len(starts):
        return _Activity(loud, outside, 0, 0)
    for start, end in zip(starts, ends, strict=True):
        loud[start:end] = power[start:end] >= order[num - 1]
    outside[starts[0] : ends[-1]] = False
    for end, start in zip(ends[:-1], starts[1:], strict=True):
        outside[end:start] = start - end >= _MIN_PAUSE
    num_paused = int(outside[starts[0] : ends[-1]].sum())
    num_pauses = int((starts[1:] - ends[:-1] >= _MIN_PAUSE).sum())
    num_spoken = int(ends[-1] - starts[0]) - num_paused
    return _Activity(loud, outside, num_spoken, num_paused, num_pauses)


def _smoothed_db(power: Values) -> Values:
    """Return a level that moves as syllables do."""
    window = np.hanning(11)[1:-1]
    return 10 * np.log10(np.convolve(power, window / window.sum(), "same") + _FLOOR)


def _movement_db(vowel_power: Values, activity: _Activity) -> float:
    """Return the standard deviation of the vowel band's level within the speech."""
    inside = np.flatnonzero(~activity.outside)[5:-5]  # not the flanks that smoothing makes
    return float(np.std(_smoothed_db(vowel_power)[inside])) if len(inside) > 10 else 0.0


def _num_nuclei(vowel_power: Values, activity: _Activity) -> int:
    """Count the loud peaks of the smoothed level that stand 1.5 dB above the dips beside them."""
    level = _smoothed_db(vowel_power)
    level = np.where(activity.outside, level.min(), level)
    threshold = level.max() - _NUCLEUS_RANGE_DB
    num, rising, turn = 0, True, -math.inf  # the peak when rising, else the dip
    for value in level.tolist():
        turn = max(turn, value) if rising else min(turn, value)
        if abs(value - turn) >= _NUCLEUS_DB:
            num += int(rising and turn >= threshold)
            rising, turn = not rising, value
    return num + int(rising and turn >= threshold)


def _track_pitch(samples: FloatArray, activity: _Activity) -> tuple[Frames, Values]:
    """Return [V] voiced frames and their pitch, in semitones over 100 Hz.

    Source: Morise, WORLD: DIO for candidates, StoneMask for their refinement.
    """
    wave = samples.astype(np.float64)
    low, high = F0_RANGE_HZ
    rough, times = pyworld.dio(  # pyright: ignore[reportAttributeAccessIssue]
        wave, SAMPLE_RATE_HZ, f0_floor=low, f0_ceil=high, frame_period=1000 * _HOP / SAMPLE_RATE_HZ
    )
    f0 = pyworld.stonemask(  # pyright: ignore[reportAttributeAccessIssue]
        wave, rough, times, SAMPLE_RATE_HZ
    )[: len(activity.outside)]
    voiced = (f0 >= low) & (f0 <= high) & ~activity.outside[: len(f0)]
    frames = np.flatnonzero(voiced)
    if not len(frames):
        return frames, np.zeros(0)
    return _without_octave_errors(wave, frames, 12 * np.log2(f0[frames] / 100))


def _without_octave_errors(wave: Values, frames: Frames, contour: Values) -> tuple[Frames, Values]:
    """Move stretches that lie an octave off, and drop those too short to be trusted.

    A stretch far from the clip's median is moved by an octave where the wave repeats as well with
    the moved period: a voice that really leaps keeps its pitch.
    """
    breaks = (np.diff(frames) > 1) | (np.abs(np.diff(contour)) > _JUMP_ST)
    pieces = np.split(np.arange(len(frames)), np.flatnonzero(breaks) + 1)
    pieces = [piece for piece in pieces if len(piece) >= _MIN_VOICED]
    if not pieces:
        return frames[:0], contour[:0]
    contour = contour.copy()
    middle = float(np.median(contour[np.concatenate(pieces)]))
    for piece in pieces:
        offset = float(np.median(contour[piece])) - middle
        if abs(offset) < _OCTAVE_ST:
            continue
        periodicity = _periodicity(wave, frames[piece], contour[piece])
        moved = contour[piece] - np.copysign(12.0, offset)
        # Twice a true period repeats as well as the period; half of one does not.
        ahead = 0.2 if offset > 0 else -0.1
        if _periodicity(wave, frames[piece], moved) >= periodicity + ahead:
            contour[piece] = moved
    kept = np.concatenate(pieces)
    return frames[kept], contour[kept]


def _periodicity(wave: Values, frames: Frames, contour: Values) -> float:
    """Return the median correlation, -1 to 1, of 25 ms with the next at one period's distance."""
    lags = np.round(SAMPLE_RATE_HZ / (100 * 2 ** (contour / 12))).astype(np.int64)
    size = SAMPLE_RATE_HZ // 40
    starts = frames * _HOP - (size + lags) // 2
    first = starts[:, None] + np.arange(size)
    last = len(wave) - 1
    one = wave[np.clip(first, 0, last)]
    other = wave[np.clip(first + lags[:, None], 0, last)]
    one, other = one - one.mean(axis=1, keepdims=True), other - other.mean(axis=1, keepdims=True)
    norm = np.sqrt(np.square(one).sum(axis=1) * np.square(other).sum(axis=1)) + _FLOOR
    return float(np.median((one * other).sum(axis=1) / norm))


def _contour_facts(samples: FloatArray, frames: Frames, contour: Values) -> dict[str, Any]:
    """Return everything about pitch; all None if too little of the clip is voiced."""
    num = len(frames)
    if num < MIN_VOICED_FRAMES:
        return dict.fromkeys(_CONTOUR_FACTS)
    bottom, middle, top = np.percentile(contour, [5, 50, 95])
    time_s = (frames - frames[0]) * (_HOP / SAMPLE_RATE_HZ)
    last = contour[-max(6, round(0.3 * num)) :]
    ending = float(np.median(contour[-max(3, round(0.05 * num)) :]))
    slope = np.cov(time_s, contour)[0, 1] / np.var(time_s, ddof=1)
    reliability = max(0.0, _periodicity(samples.astype(np.float64), frames, contour))
    shape, confidence = contour_shape(time_s, contour)
    values = (
        float(100 * 2 ** (middle / 12)),
        float(100 * 2 ** (bottom / 12)),
        float(100 * 2 ** (top / 12)),
        reliability,
        float(top - bottom),
        float(np.std(contour)),
        float(slope),
        ending - float(np.percentile(last, [10, 90]).mean()),
        float(np.median(contour[num // 2 :]) - np.median(contour[: num // 2])),
        shape,
        None if confidence is None else confidence * reliability,
    )
    return dict(zip(_CONTOUR_FACTS, values, strict=True))
