"""Where the words of a clip are: files of forced aligners, as `words` of manifest rows.

A file belongs to the clip of its name (without extension); in a CTM file, the first field names the
clip. Where a row has a text, its spelling is taken, and a clip whose words are others gets none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from annotate.aligned_files import (
    EXTENSIONS,
    UNKNOWN,
    Aligned,
    aligned_words,
    read_ctm,
    read_text_grid,
    read_wdseg,
    two_channels,
)
from annotate.corpora.clips import LeftOut, iterate_files
from annotate.inspect.leaks import normalized
from configs.errors import UserError
from data.files import Row
from data.prosody.stress import Word
from data.records import IntArray
from data.stored import HashPlaces, StoredRows, distinct

TOLERANCE_S = 0.1
"""By how much an alignment may run over the end of its clip, for rounding; it is cut there."""
NOT_ALIGNED = -1
"""Stands for the place of an alignment that there is not."""


def with_words(
    rows: Sequence[Row],
    folder: Path,
    left_out: LeftOut,
    store: Callable[[Iterable[dict[str, Any]]], Any] = list,
) -> Any:
    """Return new rows, in the same order, with `words` where there is an alignment.

    The rows are read three times. In memory are a few numbers of each, and of each alignment.

    Args:
        rows: Rows of a manifest; `text` and `duration_s` are looked at where they have them.
        folder: Holds the files, in whatever folders.
        left_out: Counts clips without an alignment or with one of other words, and alignments
            without a clip.
        store: Takes the new rows, one at a time, and returns what is returned.

    Raises:
        UserError: No files, one that is malformed or belongs to several clips, words that overlap
            or lie outside their clip, or not one row with words.
    """
    alignments = _Alignments(folder)
    stems = np.fromiter((hash(PurePosixPath(row["audio"]).stem) for row in rows), np.int64)
    _, which, counts = np.unique(stems, return_inverse=True, return_counts=True)
    is_alone = (counts == 1)[which]
    chosen = np.full(len(stems), NOT_ALIGNED)
    for place, row in enumerate(rows):
        clip = PurePosixPath(row["audio"]).with_suffix("")
        names = alignments.of_clip(clip)
        if names:
            name = _of_clip(clip, list(names), is_alone=bool(is_alone[place]))
            chosen[place] = names[name][0]
    for name in alignments.without(chosen):
        left_out.add("alignments without a clip", name)
    num_aligned = 0

    def complete() -> Iterator[dict[str, Any]]:
        nonlocal num_aligned
        for row, place in zip(rows, chosen, strict=True):
            aligned = None if place == NOT_ALIGNED else alignments.read(int(place))
            words = _checked(row, aligned, left_out)
            shown = [{"word": w.text, "start_s": w.start_s, "end_s": w.end_s} for w in words]
            made = {**row, "words": shown} if shown else dict(row)
            num_aligned += bool(made.get("words"))
            yield made

    stored = store(complete())
    if not num_aligned:
        reasons = "; ".join(left_out.lines())
        raise UserError(f"alignments {folder}: not one clip gets words from it ({reasons})")
    return stored


class _Alignments:
    """What a folder holds, found by the last names of a clip; it stays on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = StoredRows.spooled(_entries(folder))
        self._which, self._is_first = distinct(row["name"] for row in self._rows)
        self._places = {
            parts: HashPlaces(hash(_end(PurePosixPath(row["name"]), parts)) for row in self._rows)
            for parts in (2, 1)
        }
        self._check_parts()

    def of_clip(self, clip: PurePosixPath) -> dict[str, list[int]]:
        """Return the alignments with most of a clip's path, its last two or one names -> places."""
        matches: dict[str, list[int]] = {}
        for num_parts, places in self._places.items():
            end = _end(clip, num_parts)
            for place in places.of(hash(end)) if len(clip.parts) >= num_parts else ():
                name = self._rows[place]["name"]
                if _end(PurePosixPath(name), num_parts) == end:
                    matches.setdefault(name, []).append(place)
            if matches:
                break
        return matches

    def without(self, chosen: IntArray) -> Iterator[str]:
        """Yield the names of the alignments that are not chosen."""
        is_used = np.zeros(len(self._rows), bool)
        is_used[chosen[chosen != NOT_ALIGNED]] = True
        for place in np.flatnonzero(self._is_first & ~is_used).tolist():
            yield self._rows[place]["name"]

    def read(self, place: int) -> Aligned:
        """Return an alignment by the place of its first part."""
        row = self._rows[place]
        path = Path(row["path"])
        if "intervals" not in row:
            return {".textgrid": read_text_grid, ".wdseg": read_wdseg}[path.suffix.lower()](path)
        parts = [place]
        if not self._is_first.all():
            parts = self.of_clip(PurePosixPath(row["name"]))[row["name"]]
        intervals = (each for part in parts for each in self._rows[part]["intervals"])
        return aligned_words(path, [tuple(each) for each in intervals])

    def _check_parts(self) -> None:
        """Refuse a clip with two files, or with two channels in one."""
        firsts = np.flatnonzero(self._is_first)
        for place in np.flatnonzero(~self._is_first).tolist():
            row, first = self._rows[place], self._rows[int(firsts[self._which[place]])]
            name, path = row["name"], row["path"]
            if "intervals" not in row or path != first["path"]:
                raise UserError(f"{path}: {name} has two alignments in {self._folder}; keep one")
            if row["channel"] != first["channel"]:
                raise two_channels(path, row["intervals"][0][0], name)


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield name and file of each alignment; of a CTM file, what it says of a clip as well.

    The name is the path below the folder, without extension, or what the CTM file calls the clip.
    """
    if not folder.is_dir():
        raise UserError(f"alignments {folder}: no such folder")
    has_files = False
    for path in iterate_files(folder, "**/*.*"):
        extension = path.suffix.lower()
        if extension == ".ctm":
            for name, channel, intervals in read_ctm(path):
                what = {"channel": channel, "intervals": intervals}
                yield {"name": name, "path": str(path), **what}
        elif extension in EXTENSIONS:
            name = path.relative_to(folder).with_suffix("").as_posix()
            yield {"name": name, "path": str(path)}
        has_files = has_files or extension in EXTENSIONS
    if not has_files:
        raise UserError(
            f"alignments {folder}: holds no file of {', '.join(EXTENSIONS)}; name the folder that "
            "the aligner wrote"
        )


def _end(path: PurePosixPath, num_parts: int) -> str:
    return "/".join(path.parts[-num_parts:])


def _of_clip(clip: PurePosixPath, names: Sequence[str], *, is_alone: bool) -> str:
    """Return the alignment of a clip among those of its name: the one with most of its path."""
    shared = {name: _shared_end(clip, PurePosixPath(name)) for name in names}
    best = [name for name in names if shared[name] == max(shared.values())]
    if len(best) > 1 or (shared[best[0]] < 2 and not (is_alone and len(names) == 1)):
        raise UserError(
            f"alignments: {best[0]} could be of several clips called {clip.name}; put the files "
            "into folders named like those of their clips"
        )
    return best[0]


def _shared_end(one: PurePosixPath, other: PurePosixPath) -> int:
    """Return how many parts at the ends of two paths are alike."""
    pairs = list(zip(reversed(one.parts), reversed(other.parts), strict=False))
    return next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _checked(row: Row, aligned: Aligned | None, left_out: LeftOut) -> list[Word]:
    """Return the words of a row: in its clip, and spelled as in its text."""
    if aligned is None:
        left_out.add("clips without an alignment", row["id"])
        return []
    words = list(aligned.words)
    length = row.get("duration_s")
    if length is not None:
        late = [word for word in words if word.end_s > length + TOLERANCE_S]
        if late:
            raise UserError(
                f"{aligned.where}: {late[0].text!r} ends at {late[0].end_s:g} s, and the clip "
                f"{row['audio']} lasts {length:g} s; align the clips themselves"
            )
        words = [Word(w.text, w.start_s, min(w.end_s, length)) for w in words]
    if row.get("text"):
        words = spelled(words, row["text"])
        if not words:
            left_out.add("clips whose text has other words than the alignment", aligned.where)
    elif any(word.text.casefold() in UNKNOWN for word in words):
        left_out.add("clips with unknown words and no text", aligned.where)
        return []
    return [word for word in words if word.end_s > word.start_s]


def spelled(words: Sequence[Word], text: str) -> list[Word]:
    """Return aligned words as a text spells them; nothing if the text has other words.

    Letters and digits are compared, whatever their case. Where one side splits a word that the
    other does not (`well-known`, `they 're`), the parts are taken together. A word that the aligner
    does not have stands for any one.
    """
    spoken = [(token, normalized(token)) for token in text.split() if normalized(token)]
    made: list[Word] = []
    place = 0
    while place < len(words):
        if not spoken:
            return []
        token, letters = spoken.pop(0)
        first = last = words[place]
        place += 1
        if first.text.casefold() not in UNKNOWN:
            heard = normalized(first.text)
            while heard != letters:
                if letters.startswith(heard) and place < len(words):
                    last = words[place]
                    heard += normalized(last.text)
                    place += 1
                elif heard.startswith(letters) and spoken:
                    more, further = spoken.pop(0)
                    token, letters = f"{token} {more}", letters + further
                else:
                    return []
        made.append(Word(token, first.start_s, last.end_s))
    return [] if spoken else made
