"""Duration and hash of clips, each file read once: a stopped conversion goes on where it was."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from data.audio import AudioError, probe
from data.files import file_sha256
from data.stored import Journal

LOT = 16
"""Files that a thread reads at a time: to wait for it once a file takes as long as reading one,
and on a busy machine ten times as long."""

AHEAD = 4
"""Lots per thread that are under way."""

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
    known = Journal(journal, lambda entry: entry["file"]) if journal else None
    remaining = iter(paths)
    with ThreadPoolExecutor(num_threads) as pool:
        under_way: deque[tuple[list[_Clip], Future[list[Facts | str]]]] = deque()

        def oldest() -> Iterator[Facts | str]:
            lot, future = under_way.popleft()
            read = iter(future.result())
            for clip in lot:
                if clip.known is not None:
                    yield clip.known
                    continue
                facts = next(read)
                if known and clip.key and not isinstance(facts, str):
                    known.add({"file": clip.key, "facts": facts})
                yield facts

        while lot := [_clip(path, known) for path in islice(remaining, LOT)]:
            unknown = [clip.path for clip in lot if clip.known is None]
            under_way.append((lot, pool.submit(_read, unknown)))
            if len(under_way) >= AHEAD * num_threads:
                yield from oldest()
        while under_way:
            yield from oldest()


class _Clip(NamedTuple):
    path: Path
    key: str
    known: Facts | None
    """What the journal says of it."""


def _clip(path: Path, journal: Journal | None) -> _Clip:
    key = _key(path) if journal else ""
    entry = journal.find(key) if journal else None
    return _Clip(path, key, entry and entry[1]["facts"])


def _read(paths: list[Path]) -> list[Facts | str]:
    return [file_facts(path) for path in paths]


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
