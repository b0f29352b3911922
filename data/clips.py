"""Clips for the eye and ear of a person: found below their root."""

from __future__ import annotations

import os
from pathlib import Path

from data.audio import AudioError, read_audio
from data.records import FloatArray
from data.spelling import spelled_on_disk

LONGEST_CLIP_S = 300.0
"""Longer clips are not read."""


def path_inside(audio_root: Path, audio: str) -> Path | None:
    """Return where a clip is; None if that is outside its root, or no path at all."""
    try:
        root = os.path.realpath(audio_root)
        path = os.path.realpath(os.path.join(root, spelled_on_disk(root, audio)))
    except ValueError:  # a NUL byte, or half a surrogate pair
        return None
    return Path(path) if audio and os.path.commonpath([root, path]) == root else None


def read_clip(audio_root: Path, audio: str) -> FloatArray | None:
    """Return [S] float32 at 16 kHz; None if the clip is gone, unusable, or outside its root."""
    path = path_inside(audio_root, audio)
    if path is None:
        return None
    try:
        return read_audio(path, min_duration_s=0.0, max_duration_s=LONGEST_CLIP_S)
    except AudioError:
        return None
