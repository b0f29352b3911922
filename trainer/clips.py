"""Clips for the eye and ear of a person: found below their root, and packed as WAV."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from data.audio import SAMPLE_RATE_HZ, AudioError, read_audio
from data.records import FloatArray

LONGEST_CLIP_S = 300.0
"""Longer clips are not read."""


def read_clip(audio_root: Path, audio: str) -> FloatArray | None:
    """Return [S] float32 at 16 kHz; None if the clip is gone, unusable, or outside its root.

    Args:
        audio_root: Folder of the clips.
        audio: Path of the clip, relative to it.
    """
    path = (audio_root / audio).resolve()
    if not audio or not path.is_relative_to(audio_root.resolve()):
        return None
    try:
        return read_audio(path, min_duration_s=0.0, max_duration_s=LONGEST_CLIP_S)
    except AudioError:
        return None


def wav_bytes(samples: FloatArray) -> bytes:
    """Return a WAV file of one channel with 16 bits at 16 kHz.

    Args:
        samples: [S], full scale 1; what is louder is cut.
    """
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()
