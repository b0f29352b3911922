"""Clips for the eye and ear of a person: found below their root."""

from __future__ import annotations

from pathlib import Path

from data.audio import AudioError, read_audio
from data.records import FloatArray

LONGEST_CLIP_S = 300.0
"""Longer clips are not read."""


def read_clip(audio_root: Path, audio: str) -> FloatArray | None:
    """Return [S] float32 at 16 kHz; None if the clip is gone, unusable, or outside its root."""
    path = (audio_root / audio).resolve()
    if not audio or not path.is_relative_to(audio_root.resolve()):
        return None
    try:
        return read_audio(path, min_duration_s=0.0, max_duration_s=LONGEST_CLIP_S)
    except AudioError:
        return None
