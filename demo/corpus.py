"""A synthetic emotional speech corpus, made in seconds and hard enough to learn something from.

A label is a distribution over deliveries (speaking rate, pitch, liveliness, energy, breathiness,
final rise), and these overlap; `demo.designs` has the numbers. Speakers differ in voice, accent,
usual pitch, rate and loudness; every split has its own speakers and accents. Every clip has its own
noise and recording gain.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import soxr
from numpy.random import Generator
from numpy.typing import NDArray

from data.audio import SAMPLE_RATE_HZ, wav_bytes
from demo.designs import DEMO, VARIANTS, Design, Style
from demo.speech import Synthesizer
from demo.texts import (
    ENERGY_LEVELS,
    INTONATIONS,
    NUM_PHRASINGS,
    PITCH_LEVELS,
    RATE_LEVELS,
    describe,
)

MIN_DURATION_S = 0.8
SHORTEST_MARGIN_S = 0.05
SNR_DB = (15.0, 35.0)
"""Range of the speech-to-noise ratio."""

Samples = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one clip is spoken, relative to its speaker's usual."""

    rate: float
    """Speaking rate, as a factor."""
    pitch: float
    """Pitch, in steps of the synthesizer's scale of 100."""
    liveliness: float
    """Pitch range, 0 (monotone) to 99."""
    energy_db: float
    """Energy as recorded, in dB: the voice's and the recording's gain."""
    breath: float
    """Share of whispered sound, 0 to 1."""
    rises: bool
    """Whether it ends like a question."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice and its habits."""

    voice: str
    """Accent and variant, as the synthesizer names them; also the speaker's id."""
    rate_wpm: float
    pitch: float
    loudness_db: float
    """Usual level of a clip in dB below full scale, so negative."""


SPLITS = ("train", "cold_start", "eval", "test")
_ACCENTS = {
    "train": ("en-us", "en-gb-scotland", "en-gb-x-gbclan"),
    "eval": ("en-gb-x-gbcwmd",),
    "test": ("en-gb-x-rp",),
}
"""Accents of each split but the cold start's, whose voices are the design's; every one is spoken in
all variants (`designs.VARIANTS`), each being a speaker."""


def speakers(split: str, design: Design = DEMO) -> list[Speaker]:
    """Return the speakers of a split; the same ones for every seed."""
    if split == "cold_start":
        accents, variants = design.cold_start_accents, design.cold_start_variants
    else:
        accents, variants = _ACCENTS[split], VARIANTS
    cast = []
    for accent, variant in product(accents, variants):
        voice = f"{accent}+{variant}"
        rng = np.random.default_rng(list(voice.encode()))
        habits = {
            "rate_wpm": rng.uniform(158, 178),
            "pitch": rng.uniform(43, 52),
            "loudness_db": rng.uniform(-26, -24),
        }
        cast.append(Speaker(voice, **habits))
    return cast


def draw_delivery(style: Style, rng: Generator, design: Design = DEMO) -> Delivery:
    """Draw how a clip of this style is spoken and recorded."""
    gain_db = rng.uniform(-design.max_gain_db, design.max_gain_db)
    return Delivery(
        rate=float(np.clip(rng.normal(style.rate, design.rate_spread), 0.65, 1.5)),
        pitch=float(np.clip(rng.normal(style.pitch, design.pitch_spread), -38, 44)),
        liveliness=float(np.clip(rng.normal(style.liveliness, design.liveliness_spread), 0, 99)),
        energy_db=float(rng.normal(style.energy_db, design.energy_spread_db) + gain_db),
        breath=float(rng.uniform(*style.breath)),
        rises=bool(rng.random() < style.rise_frac),
    )


def _level(value: float, cuts: tuple[float, float], names: Sequence[str]) -> str:
    """The name of the third that a value falls into."""
    return names[int(value >= cuts[0]) + int(value >= cuts[1])]


def prosody_levels(delivery: Delivery, design: Design = DEMO) -> dict[str, str]:
    """Name the prosody of a clip in words, each relative to what is usual for its speaker.

    Returns:
        `pitch` and `energy` (low, normal, high), `rate` (slow, normal, fast) and `intonation`
        (flat, falling, expressive; rising if it ends like a question).
    """
    contour = _level(delivery.liveliness, design.liveliness_cuts, INTONATIONS[:3])
    return {
        "pitch": _level(delivery.pitch, design.pitch_cuts, PITCH_LEVELS),
        "energy": _level(delivery.energy_db, design.energy_cuts_db, ENERGY_LEVELS),
        "rate": _level(delivery.rate, design.rate_cuts, RATE_LEVELS),
        "intonation": INTONATIONS[3] if delivery.rises else contour,
    }


def _rms(samples: Samples) -> float:
    """Root mean square; never zero."""
    return float(np.sqrt(np.mean(np.square(samples))) + 1e-9)


def _whispered(samples: Samples, rng: Generator) -> Samples:
    """The same speech without voicing: noise under its smoothed short-time spectrum."""
    size, hop, smooth_bins = 512, 128, 11
    padded = np.pad(samples, (size, size + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    window = np.hanning(size).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    sums = np.cumsum(np.pad(power, ((0, 0), (smooth_bins // 2 + 1, smooth_bins // 2))), axis=1)
    envelope = np.sqrt(np.maximum(sums[:, smooth_bins:] - sums[:, :-smooth_bins], 0))
    # A whisper has no glottal tone, so little energy below 500 Hz (bin 16).
    envelope *= np.minimum(np.arange(envelope.shape[1], dtype=np.float32) / 16, 1)
    noise = rng.standard_normal((2, *envelope.shape), np.float32)
    spoken = np.fft.irfft(envelope * (noise[0] + 1j * noise[1]), axis=1) * window
    overlap = size // hop
    blocks = spoken.reshape(len(frames), overlap, hop)
    output = np.zeros((len(frames) + overlap, hop), np.float32)
    for shift in range(overlap):
        output[shift : shift + len(frames)] += blocks[:, shift]
    return output.ravel()[size : size + len(samples)]


def _noise(num_samples: int, longest: int, rng: Generator) -> Samples:
    """Noise of unit power, from white to pink; cut from one of the longest clip's samples."""
    size = longest
    spectrum = np.fft.rfft(rng.standard_normal(size, np.float32))
    tilt = np.arange(1, len(spectrum) + 1, dtype=np.float32) ** np.float32(-rng.uniform(0, 0.5))
    shaped = np.fft.irfft(spectrum * tilt)[:num_samples]
    return (shaped / np.std(shaped)).astype(np.float32)


def _record(
    speech: Samples, level_db: float, breath: float, rng: Generator, design: Design
) -> tuple[Samples, float]:
    """Turn clean 16 kHz speech into a clip: breathiness, level, margins, noise.

    Returns:
        The clip, and by how many seconds the speech lies later in it than before.
    """
    loud = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max())
    cut = int(loud[0])
    speech = speech[cut : loud[-1] + 1]
    speech = speech / _rms(speech)
    whispered = _whispered(speech, rng)
    speech = np.sqrt(1 - breath) * speech + np.sqrt(breath) * whispered / _rms(whispered)
    margins = [round(SAMPLE_RATE_HZ * s) for s in (SHORTEST_MARGIN_S, design.longest_margin_s)]
    before, after = rng.integers(*margins, size=2)
    longest = int(design.max_duration_s * SAMPLE_RATE_HZ)
    after = max(after, int(MIN_DURATION_S * SAMPLE_RATE_HZ) - before - len(speech))
    clip = np.pad(speech / _rms(speech), (before, after))[:longest]
    clip = clip + 10 ** (-rng.uniform(*SNR_DB) / 20) * _noise(len(clip), longest, rng)
    clip = clip * 10 ** (level_db / 20)
    clip = (clip * min(1.0, 0.99 / np.abs(clip).max())).astype(np.float32)
    return clip, (int(before) - cut) / SAMPLE_RATE_HZ


def _aligned(
    words: Sequence[tuple[str, float]], shift_s: float, duration_s: float
) -> list[dict[str, object]]:
    """Return the words with their places in the clip, as an aligner would; the last may be cut."""
    starts = [min(max(0.0, start_s + shift_s), duration_s) for _, start_s in words]
    ends = [*starts[1:], duration_s]
    return [
        {"word": word, "start_s": round(start, 3), "end_s": round(end, 3)}
        for (word, _), start, end in zip(words, starts, ends, strict=True)
        if end - start > 0.02
    ]


def _write_split(
    folder: Path,
    split: str,
    num_clips: int,
    seed: int,
    synthesizer: Synthesizer,
    design: Design,
) -> list[dict[str, object]]:
    """Write the clips of a split; returns their manifest rows, labels in turn."""
    rows: list[dict[str, object]] = []
    cast = speakers(split, design)
    labels = list(design.styles)
    for index in range(num_clips):
        rng = np.random.default_rng([seed, SPLITS.index(split), index])
        label = labels[index % len(labels)]
        speaker = cast[rng.integers(len(cast))]
        sentence = design.sentences[rng.integers(len(design.sentences))]
        delivery = draw_delivery(design.styles[label], rng, design)
        speech, rate_hz = synthesizer.say(
            sentence + ("?" if delivery.rises else "."),
            speaker.voice,
            rate_wpm=speaker.rate_wpm * delivery.rate,
            pitch=speaker.pitch + delivery.pitch,
            pitch_range=delivery.liveliness,
            volume=60,
        )
        speech = soxr.resample(speech, rate_hz, SAMPLE_RATE_HZ)
        clip, shift_s = _record(
            speech, speaker.loudness_db + delivery.energy_db, delivery.breath, rng, design
        )
        name = f"{split}-{index:05d}"
        (folder / "audio" / f"{name}.wav").write_bytes(wav_bytes(clip))
        levels = prosody_levels(delivery, design)
        rows.append(
            {
                "id": name,
                "audio": f"audio/{name}.wav",
                "label": label,
                "speaker": speaker.voice,
                "split": split,
                "text": sentence,
                "words": _aligned(synthesizer.words(), shift_s, len(clip) / SAMPLE_RATE_HZ),
                "dataset": "synthetic",
                "settings": {"levels": levels} | asdict(delivery),
                "reasoning": describe(levels, int(rng.integers(NUM_PHRASINGS))),
            }
        )
    return rows


def build_corpus(
    root: Path,
    *,
    num_train: int,
    num_eval: int,
    num_test: int,
    num_cold_start: int,
    seed: int,
    design: Design = DEMO,
) -> Path:
    """Write a corpus: `root/audio/*.wav` (16 kHz, 16 bit, mono) and `root/manifest.jsonl`.

    The folder appears only once it is complete. About 5 ms of one core per clip. A row's `settings`
    say how its clip was made: `levels` in words, from which the reference reasoning is told, and
    the numbers of its `Delivery`. What a listener can measure is another matter: `launch.annotate`.

    Args:
        seed: draws the clips; the same numbers and seed give the same files to the last bit.
        design: labels, deliveries, voices and recordings.

    Returns:
        The manifest's path.

    Raises:
        ValueError: the folder exists already.
    """
    if root.exists():
        raise ValueError(f"{root} exists: remove it, or build elsewhere")
    root.parent.mkdir(parents=True, exist_ok=True)
    sizes = dict(zip(SPLITS, (num_train, num_cold_start, num_eval, num_test), strict=True))
    with tempfile.TemporaryDirectory(dir=root.parent) as unfinished:
        folder = Path(unfinished) / root.name
        (folder / "audio").mkdir(parents=True)
        synthesizer = Synthesizer()
        rows = [
            row
            for split, size in sizes.items()
            for row in _write_split(folder, split, size, seed, synthesizer, design)
        ]
        lines = (json.dumps(row) + "\n" for row in rows)
        (folder / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
        folder.rename(root)
    return root / "manifest.jsonl"
