"""Duration and hash of clips, each file read once: a stopped conversion goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import tee
from pathlib import Path
from typing import Any, NamedTuple

from data.audio import AudioError, probe
from data.files import file_sha256
from data.stored import Journal
from data.workers import thread_map

Facts = dict[str, Any]


def facts_of(
    paths: Iterable[Path], journal: Path | None, num_threads: int
) -> Iterator[Facts | str]:
    """Yield `duration_s`, `sample_rate` and `sha256` of each clip; or why it cannot be used.

    Args:
        paths: The clips.
        journal: File that remembers them by name, size and time of change: what it knows is not
            read again. None = all are read.
        num_threads: Threads that read.
    """
    entries = Journal(journal, lambda entry: entry["file"]) if journal else None
    reading, waiting = tee(_clip(path, entries) for path in paths)
    read = thread_map(lambda clip: clip.facts or file_facts(clip.path), reading, num_threads)
    for clip, facts in zip(waiting, read, strict=True):
        if entries and clip.key and not (clip.facts or isinstance(facts, str)):
            entries.add({"file": clip.key, "facts": facts})
        yield facts


class _Clip(NamedTuple):
    path: Path
    key: str
    facts: Facts | None
    """What the journal says of it."""


def _clip(path: Path, journal: Journal | None) -> _Clip:
    key = _key(path) if journal else ""
    entry = journal.find(key) if journal else None
    return _Clip(path, key, entry and entry[1]["facts"])


def file_facts(path: Path) -> Facts | str:
    """Return what `facts_of` yields of one clip."""
    try:
        info = probe(path)
        digest = file_sha256(path)
    except (AudioError, OSError) as error:
        return str(error)
    return {
        "duration_s": round(info.duration_s, 4),
        "sample_rate": info.sample_rate,
        "sha256": digest,
    }


def _key(path: Path) -> str:
    """Return what tells a file from what it was before; empty if it is not there."""
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{os.path.realpath(path)}/{facts.st_size}/{facts.st_mtime_ns}"
