"""Rows that stay on disk: a million of them in some MB of memory."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from data.files import Row, append_row, iterate_appended, json_lines
from data.records import BoolArray, IntArray

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

COLUMN_PART = 2**16
"""Texts of a column that are Python objects at a time."""

BLOCK_BYTES, NEAR_BYTES = 2**16, 2**12
"""What is read at once of lines that are near each other, as they are in most orders; and near."""

FRESH_HASHES = 2**14
"""Entries of a `HashMap` that are Python objects; more are sorted into arrays."""

Change = Callable[[dict[str, Any]], dict[str, Any]]


class _Lines:
    """The lines of an open file, blank ones left out; a file that is replaced meanwhile stays."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)
        starts, ends = array("q"), array("q")
        place = 0
        file.seek(0)
        for line in file:
            if line.strip(b" \t\r\n" + BYTE_ORDER_MARK):
                starts.append(place)
                ends.append(place + len(line))
            place += len(line)
        self.starts = np.frombuffer(starts, np.int64) if starts else np.zeros(0, np.int64)
        self._sizes = (np.frombuffer(ends, np.int64) - self.starts if ends else self.starts).astype(
            np.int32
        )

    def read(self, places: Iterable[int]) -> Iterator[Any]:
        """Yield what lines hold; those that follow each other closely are read at once."""
        held, held_at, end = b"", 0, -1
        for place in places:
            start, size = int(self.starts[place]), int(self._sizes[place])
            if not held_at <= start <= start + size <= held_at + len(held):
                is_near = 0 <= start - end < NEAR_BYTES
                block = max(size, BLOCK_BYTES) if is_near else size
                held, held_at = os.pread(self._descriptor, block, start), start
            end = start + size
            line = held[start - held_at : end - held_at]
            line = line if start else line.removeprefix(BYTE_ORDER_MARK)
            yield json.loads(line.decode("utf-8", "surrogatepass"))


class StoredRows(Sequence[dict[str, Any]]):
    """The objects of a JSON Lines file, each read when it is asked for."""

    def __init__(
        self, lines: _Lines, places: IntArray | None = None, changes: tuple[Change, ...] = ()
    ) -> None:
        """Use `of` or `spooled`."""
        self._lines = lines
        self._places = places
        self._changes = changes

    @classmethod
    def of(cls, path: Path) -> StoredRows:
        """Return the rows of a file that was checked before, or that we wrote.

        Raises:
            OSError: It cannot be read.
        """
        with path.open("rb") as file:
            return cls.in_file(file)

    @classmethod
    def in_file(cls, file: BinaryIO) -> StoredRows:
        """Return the rows of an open file as it is now; it may be closed, or appended to."""
        return cls(_Lines(file))

    @classmethod
    def spooled(cls, rows: Iterable[Row], folder: Path | None = None) -> StoredRows:
        """Write rows into a file without a name, which is gone with the last of its rows.

        It lies in a folder, or with other temporary files (TMPDIR).

        Raises:
            OSError: There is no room for them.
        """
        with tempfile.TemporaryFile(dir=folder) as file:
            file.writelines(json_lines(rows))
            file.flush()
            return cls.in_file(file)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._lines.starts if self._places is None else self._places)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return a row, or a list of some."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        place = range(len(self))[index]
        return next(self._read([place if self._places is None else int(self._places[place])]))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows in order, one in memory at a time."""
        return self._read(range(len(self)) if self._places is None else self._places)

    def _read(self, lines: Iterable[int]) -> Iterator[dict[str, Any]]:
        for row in self._lines.read(lines):
            for change in self._changes:
                row = change(row)
            yield row

    def chosen(self, places: IntArray | BoolArray) -> StoredRows:
        """Return the rows at some places, in that order, or those of a mask."""
        every = np.arange(len(self)) if self._places is None else self._places
        return StoredRows(self._lines, every[places], self._changes)

    def where(self, is_wanted: Callable[[Row], bool]) -> StoredRows:
        """Return the rows of which something is true."""
        return self.chosen(np.fromiter((is_wanted(row) for row in self), bool, len(self)))

    def changed(self, change: Change) -> StoredRows:
        """Return rows that are changed whenever they are read."""
        return StoredRows(self._lines, self._places, (*self._changes, change))


def text_column(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """Return texts as an array of UTF-8, which sorts as they do.

    Its memory is the number of texts times the longest one.
    """
    encoded = (text.encode("utf-8", "surrogatepass") for text in texts)
    parts = [np.zeros(0, np.bytes_)]
    while part := list(islice(encoded, COLUMN_PART)):
        parts.append(np.array(part))
    return np.concatenate(parts)


def distinct(texts: Iterable[str]) -> tuple[NDArray[np.int32], BoolArray]:
    """Return which of the different texts each one is, and which are the first of theirs.

    The different ones are counted in the order in which they come.
    """
    hashes = np.fromiter(map(hash, texts), np.int64)
    _, first, which = np.unique(hashes, return_index=True, return_inverse=True)
    is_first = np.zeros(len(hashes), bool)
    is_first[first] = True
    numbers = np.cumsum(is_first, dtype=np.int32) - 1
    return numbers[first][which], is_first


class RowsById(Mapping[str, dict[str, Any]]):
    """Rows by their ids, which differ, in the memory of a text column."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        """Read the ids."""
        self._rows = rows
        column = text_column(row["id"] for row in rows)
        self._order = np.argsort(column)
        self._ids = column[self._order]

    def place(self, name: str) -> int | None:
        """Return the place of a row; None if there is none."""
        encoded = name.encode("utf-8", "surrogatepass")
        index = int(np.searchsorted(self._ids, encoded))
        is_there = index < len(self._ids) and self._ids[index] == encoded
        return int(self._order[index]) if is_there else None

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return the row of an id."""
        place = self.place(name)
        if place is None:
            raise KeyError(name)
        return self._rows[place]

    def __iter__(self) -> Iterator[str]:
        """Yield the ids in the order of the rows."""
        return (row["id"] for row in self._rows)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)


def text_hash(text: str) -> int:
    """Return 64 bits that are the same in every process."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


class HashMap:
    """64-bit hash -> a number, in 16 bytes each."""

    def __init__(self) -> None:
        """Start with none."""
        self._fresh: dict[int, int] = {}
        self._sorted: list[tuple[NDArray[np.uint64], IntArray]] = []

    def __len__(self) -> int:
        """Return how many were put."""
        return len(self._fresh) + sum(len(keys) for keys, _ in self._sorted)

    def get(self, key: int) -> int | None:
        """Return the number of a hash; None if there is none."""
        if key in self._fresh:
            return self._fresh[key]
        for keys, numbers in reversed(self._sorted):
            place = int(np.searchsorted(keys, np.uint64(key), "right")) - 1
            if place >= 0 and int(keys[place]) == key:
                return int(numbers[place])
        return None

    def put(self, key: int, number: int) -> None:
        """Add a hash; of equal ones the last counts."""
        self._fresh[key] = number
        if len(self._fresh) >= FRESH_HASHES:
            keys = np.array(list(self._fresh), np.uint64)
            numbers = np.array(list(self._fresh.values()), np.int64)
            self._fresh = {}
            # Arrays of similar size become one: there are few, and each entry is moved few times.
            while self._sorted and len(self._sorted[-1][0]) <= 2 * len(keys):
                older, held = self._sorted.pop()
                keys, numbers = np.concatenate([older, keys]), np.concatenate([held, numbers])
            order = np.argsort(keys, kind="stable")
            self._sorted.append((keys[order], numbers[order]))

    def hashes(self) -> NDArray[np.uint64]:
        """Return all hashes, ascending."""
        fresh = np.array(list(self._fresh), np.uint64)
        return np.sort(np.concatenate([fresh, *(keys for keys, _ in self._sorted)]))


class HashPlaces:
    """Hash -> all places where it stands, in 16 bytes each."""

    def __init__(self, hashes: Iterable[int]) -> None:
        """Sort them."""
        every = np.fromiter(hashes, np.int64)
        self._order = np.argsort(every, kind="stable")
        self._hashes = every[self._order]

    def of(self, key: int) -> list[int]:
        """Return the places of a hash, ascending."""
        start = int(np.searchsorted(self._hashes, key))
        return self._order[start : int(np.searchsorted(self._hashes, key, "right"))].tolist()


class Journal:
    """Entries that `append_row` writes, by a text of each: a hash and a place are in memory."""

    def __init__(self, path: Path, key: Callable[[Row], str]) -> None:
        """Read what is there.

        Args:
            path: The file, which need not be there.
            key: Returns the text of an entry; empty if it counts for nothing.
        """
        self.path = path
        self._key = key
        self._file: BinaryIO | None = None
        self.places = HashMap()
        """Hash of a text -> first byte of its entry."""
        for start, entry in iterate_appended(path):
            self._remember(key(entry), start)

    def _remember(self, name: str, start: int) -> None:
        if name:
            self.places.put(text_hash(name), start)

    def add(self, entry: Row) -> int:
        """Write an entry down, and return its first byte."""
        start = append_row(self.path, entry)
        self._remember(self._key(entry), start)
        return start

    def at(self, start: int) -> dict[str, Any]:
        """Return the entry that begins at a byte."""
        if self._file is None:
            self._file = self.path.open("rb")
            weakref.finalize(self, self._file.close)
        self._file.seek(start)
        return json.loads(self._file.readline())

    def find(self, name: str) -> tuple[int, dict[str, Any]] | None:
        """Return the first byte and the entry of a text; None if there is none."""
        start = self.places.get(text_hash(name)) if name else None
        if start is None:
            return None
        entry = self.at(start)
        return (start, entry) if self._key(entry) == name else None
