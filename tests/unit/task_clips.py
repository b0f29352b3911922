"""Real speech for the tests of tasks, measured as the annotation step does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr

from data.prosody.levels import Clip, calibrate, describe
from data.prosody.measure import measure
from data.records import FloatArray
from demo.speech import Synthesizer

RATE = 16_000
TEXT = "the meeting starts at nine and we are going home now"


def speech(voice: str = "en-us+m3", *, pitch: float = 50, text: str = TEXT) -> FloatArray:
    """Say a sentence; [S] float32 at 16 kHz."""
    samples, rate_hz = Synthesizer().say(
        text, voice, rate_wpm=170, pitch=pitch, pitch_range=50, volume=60
    )
    return soxr.resample(samples, rate_hz, RATE)


def write_corpus(folder: Path, clips: dict[str, FloatArray]) -> list[dict[str, Any]]:
    """Write clips as WAV files and return their annotated manifest rows."""
    measured = {}
    for name, samples in clips.items():
        sf.write(folder / f"{name}.wav", samples, RATE, subtype="PCM_16")
        measured[name] = Clip(measure(samples, TEXT), "s1", "toy")
    cuts = calibrate(measured.values())
    return [
        {
            "id": name,
            "audio": f"{name}.wav",
            "label": "sad",
            "speaker": "s1",
            "split": "train",
            "dataset": "toy",
            "text": TEXT,
            "prosody": describe(clip, cuts),
        }
        for name, clip in measured.items()
    ]


def noise(duration_s: float = 1.0) -> FloatArray:
    """A hiss without any pitch."""
    samples = np.random.default_rng(0).normal(0, 0.05, round(duration_s * RATE))
    return samples.astype(np.float32)
