"""Duration and hash of clips, each file read once: a stopped conversion goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from data.audio import AudioError, probe
from data.files import append_row, file_sha256, iterate_appended

AHEAD = 64
"""Files per thread that are under way."""

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
    known = _Known(journal)
    with ThreadPoolExecutor(num_threads) as pool:
        under_way: deque[tuple[str, Facts | Future[Facts | str]]] = deque()
        for path in paths:
            key = _key(path) if journal else ""
            under_way.append((key, known.get(key) or pool.submit(file_facts, path)))
            if len(under_way) >= AHEAD * num_threads:
                yield known.kept(*under_way.popleft())
        while under_way:
            yield known.kept(*under_way.popleft())


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


class _Known:
    """What the journal says: a hash of each key and where its line begins are in memory."""

    def __init__(self, journal: Path | None) -> None:
        self._journal = journal
        hashes, starts = array("Q"), array("q")
        for start, entry in iterate_appended(journal) if journal else ():
            hashes.append(_hash(entry["file"]))
            starts.append(start)
        order = np.argsort(np.array(hashes, np.uint64))
        self._hashes = np.array(hashes, np.uint64)[order]
        self._starts = np.array(starts, np.int64)[order]
        self._file = journal.open("rb") if journal and len(starts) else None

    def get(self, key: str) -> Facts | None:
        """Return the facts of a file that was read before."""
        if self._file is None or not key:
            return None
        place = int(np.searchsorted(self._hashes, np.uint64(_hash(key))))
        if place == len(self._hashes) or self._hashes[place] != _hash(key):
            return None
        self._file.seek(int(self._starts[place]))
        entry = json.loads(self._file.readline())
        return entry["facts"] if entry["file"] == key else None

    def kept(self, key: str, facts: Facts | Future[Facts | str]) -> Facts | str:
        """Return facts, and write down those that were read now."""
        if isinstance(facts, dict):
            return facts
        read = facts.result()
        if self._journal and key and isinstance(read, dict):
            append_row(self._journal, {"file": key, "facts": read})
        return read


def _hash(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
