"""Clips for the eye and ear of a person: found below their root."""

from __future__ import annotations

import os
from pathlib import Path

from data.audio import AudioError, read_audio
from data.links import ClipRoot
from data.records import FloatArray
from data.spelling import spelled_on_disk

LONGEST_CLIP_S = 300.0
"""Longer clips are not read."""


def path_inside(audio_root: Path, audio: str, *, follow_links: bool = False) -> Path | None:
    """Return where a clip is; None if that is outside its root, or no path at all.

    Args:
        audio_root: Its root.
        audio: Its path below it.
        follow_links: Whether links below the root may lead out (`data.follow_links`).
    """
    try:
        root = ClipRoot(audio_root, follow_links=follow_links)
        audio = spelled_on_disk(root.folder, audio)
        if not audio or not root.may_read(audio):
            return None
        return Path(os.path.realpath(os.path.join(root.folder, audio)))
    except ValueError:  # a NUL byte, or half a surrogate pair
        return None


def read_clip(audio_root: Path, audio: str, *, follow_links: bool = False) -> FloatArray | None:
    """Return [S] float32 at 16 kHz; None if the clip is gone, unusable, or outside its root.

    Arguments are those of `path_inside`.
    """
    path = path_inside(audio_root, audio, follow_links=follow_links)
    if path is None:
        return None
    try:
        return read_audio(path, min_duration_s=0.0, max_duration_s=LONGEST_CLIP_S)
    except AudioError:
        return None
