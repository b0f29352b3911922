"""Copies and near copies among a million texts, found exactly.

Two texts are copies if their sets of runs of 4 words have a Jaccard index of at least a threshold.
Comparing each text with all that share a run grows with the square of their number, since
templates and habits of writers share many. Here the runs of a text are ordered, rare ones first;
of two copies, one of the first few is in both (prefix filter), and their bitmaps differ in few
bits. What passes both tests is compared word by word.

Source: Chaudhuri, Ganti and Kaushik, A Primitive Operator for Similarity Joins (ICDE 2006); Xiao et
al., Efficient Similarity Joins for Near Duplicate Detection (WWW 2008).
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from annotate.cot.filters import WORD

RUN_WORDS = 4
FIRST_TEXTS = 2_000
"""Texts after which it is counted, once, which runs are common."""
COMMON = 4
"""Texts among the first ones that have a common run."""
NUM_BITS = 128
"""Of a text's bitmap; 24 bytes a text with its size and name, and 12 for each of its rare runs."""
FRESH_RUNS = 2**14
"""Entries of the index that are Python objects; more are sorted into arrays."""

_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64
)
"""Odd numbers that tell the first word of a run from the others."""

Runs = NDArray[np.uint64]


class Duplicates:
    """The texts that were kept so far, by number; the texts themselves stay where they are."""

    def __init__(self, text_of: Callable[[int], str], threshold: float = 0.9) -> None:
        """Start with none.

        Args:
            text_of: Name of a kept text -> the text.
            threshold: Jaccard index from which two texts are copies, above 0.
        """
        self._text_of = text_of
        self._threshold = threshold
        self._names = array("q")
        self._sizes = array("i")
        self._bitmaps = array("Q")
        self._common: Runs = np.zeros(0, np.uint64)
        self._counts = np.zeros(1, np.int64)
        self._index = _Index()

    def find(self, text: str) -> int | None:
        """Return the name of the first kept text that is nearly the same; None if none is."""
        runs = _runs(text)
        texts = self._index.find(self._rarest(runs))
        if not len(texts):
            return None
        sizes = np.frombuffer(self._sizes, np.int32)[texts] + len(runs)
        bitmaps = np.frombuffer(self._bitmaps, np.uint64).reshape(-1, NUM_BITS // 64)[texts]
        differing = np.bitwise_count(bitmaps ^ np.array(_bitmap(runs), np.uint64)).sum(axis=1)
        # At this index so many runs are shared at least, and the others may differ.
        shared = np.ceil(self._threshold / (1 + self._threshold) * sizes - 1e-9)
        for number in texts[differing <= sizes - 2 * shared].tolist():
            others = _runs(self._text_of(self._names[number]))
            common = len(np.intersect1d(runs, others, assume_unique=True))
            if common >= self._threshold * (len(runs) + len(others) - common):
                return self._names[number]
        return None

    def keep(self, name: int, text: str) -> None:
        """Remember a text by its name."""
        runs = _runs(text)
        self._index.add(self._rarest(runs), len(self._names))
        self._names.append(name)
        self._sizes.append(len(runs))
        self._bitmaps.extend(_bitmap(runs))
        if len(self._names) == FIRST_TEXTS:
            self._count_runs()

    def _rarest(self, runs: Runs) -> list[int]:
        """Return the runs of a text of which each copy of it has one among its own rarest."""
        number = len(runs) - math.ceil(self._threshold * len(runs) - 1e-9) + 1
        places = np.searchsorted(self._common, runs)
        places[places == len(self._common)] = -1
        is_common = self._common[places] == runs if len(self._common) else np.zeros(len(runs), bool)
        counts = np.where(is_common, self._counts[places], 0)
        return runs[np.lexsort((runs, counts))[:number]].tolist()

    def _count_runs(self) -> None:
        """Learn which runs are common, and order the texts so far by that."""
        texts = [_runs(self._text_of(name)) for name in self._names]
        runs, counts = np.unique(np.concatenate(texts), return_counts=True)
        self._common, self._counts = runs[counts >= COMMON], counts[counts >= COMMON]
        self._index = _Index()
        for number, text in enumerate(texts):
            self._index.add(self._rarest(text), number)


class _Index:
    """Run -> the numbers of texts: the newest in a dictionary, the others in sorted arrays."""

    def __init__(self) -> None:
        self._fresh: dict[int, list[int]] = {}
        self._sorted: list[tuple[Runs, NDArray[np.int32]]] = []

    def add(self, runs: Sequence[int], number: int) -> None:
        for run in runs:
            self._fresh.setdefault(run, []).append(number)
        if len(self._fresh) >= FRESH_RUNS:
            keys = np.array([run for run, held in self._fresh.items() for _ in held], np.uint64)
            numbers = np.array([n for held in self._fresh.values() for n in held], np.int32)
            # Arrays of similar size become one: there are few, and each entry is moved few times.
            while self._sorted and len(self._sorted[-1][0]) <= 2 * len(keys):
                older, held = self._sorted.pop()
                keys, numbers = np.concatenate([older, keys]), np.concatenate([held, numbers])
            order = np.argsort(keys, kind="stable")
            self._sorted.append((keys[order], numbers[order]))
            self._fresh = {}

    def find(self, runs: Sequence[int]) -> NDArray[np.int32]:
        """Return the numbers of the texts that have one of the runs, ascending."""
        matches = [np.array(self._fresh[run], np.int32) for run in runs if run in self._fresh]
        wanted = np.array(runs, np.uint64)
        for keys, numbers in self._sorted:
            starts = np.searchsorted(keys, wanted).tolist()
            ends = np.searchsorted(keys, wanted, "right").tolist()
            matches += [numbers[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.unique(np.concatenate(matches)) if matches else np.zeros(0, np.int32)


@lru_cache(maxsize=2**16)
def _word(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=16)
def _runs(text: str) -> Runs:
    """Return hashes of the runs of 4 words, ascending; of the whole text if it is shorter."""
    words = np.array([_word(word.lower()) for word in WORD.findall(text)], np.uint64)
    number = max(1, len(words) - RUN_WORDS + 1)
    runs = np.zeros(number, np.uint64)
    for place in range(min(RUN_WORDS, len(words))):
        runs += words[place : place + number] * _FACTORS[place]
    return np.unique(runs)


def _bitmap(runs: Runs) -> list[int]:
    """Return the bits that the runs set, 64 in each number."""
    whole = 0
    for run in runs.tolist():
        whole |= 1 << (run >> 57)
    return [whole & (2**64 - 1), whole >> 64]
