"""The headers of many clips, read side by side before anything expensive starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from data.audio import AudioError, AudioInfo, check_duration, probe, read_with_note
from data.progress import reported
from data.records import Example

MAX_NAMED = 10
"""Clips with odd channels that a warning names; the rest is counted."""

logger = logging.getLogger(__name__)

_LOT = 16
"""Clips that a thread checks at a time."""


def read_headers(
    examples: Sequence[Example],
    audio_root: str | Path,
    *,
    min_duration_s: float,
    max_duration_s: float,
    num_workers: int,
    deep: bool = False,
) -> dict[str, AudioInfo | str]:
    """Return clip -> what its header says, or why it cannot be used; a shared clip is read once.

    Args:
        examples: rows of the manifest; a row without a clip has nothing to check.
        deep: decode every sample as well, which also finds damaged FLAC data, samples that are not
            finite, and silence; takes milliseconds instead of microseconds per clip.
    """
    root = Path(audio_root)
    notes: list[str] = []

    def check(audio: str) -> AudioInfo | str:
        path = os.path.join(root, audio)
        try:
            info = probe(path)
            check_duration(path, info, min_duration_s, max_duration_s)
            if deep:
                note = read_with_note(
                    path, min_duration_s=min_duration_s, max_duration_s=max_duration_s
                )[1]
                notes.extend([f"{path}: {note}"] if note else [])
        except AudioError as error:
            return str(error)
        return info

    clips = list(dict.fromkeys(clip for example in examples for clip in example.clips))
    what = "decoded {} of {} clips" if deep else "read the headers of {} of {} clips"
    # A million clips as a future each would take a gigabyte.
    lots = [clips[i : i + _LOT] for i in range(0, len(clips), _LOT)]
    with ThreadPoolExecutor(num_workers) as pool:
        results = chain.from_iterable(pool.map(lambda lot: list(map(check, lot)), lots))
        headers = dict(zip(clips, reported(results, len(clips), what), strict=True))
    warn_of_channels(sorted(notes))
    return headers


def warn_of_channels(notes: Sequence[str]) -> None:
    """Log what is odd about the channels of clips: how many, and the first by name."""
    if notes:
        more = f"; and {len(notes) - MAX_NAMED} more" if len(notes) > MAX_NAMED else ""
        shown = "".join(f"\n  {note}" for note in notes[:MAX_NAMED])
        logger.warning(f"{len(notes)} clips have odd channels:{shown}{more}")
