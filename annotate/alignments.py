"""Where the words of a clip are: files of forced aligners, as `words` of manifest rows.

    .TextGrid   Praat's, long or short, one a clip: the Montreal Forced Aligner's, MSP-Podcast's
    .wdseg      Sphinx's, one a clip: IEMOCAP's `sentences/ForcedAlignment`
    .ctm        NIST's, any number of clips a file: CLIP CHANNEL START DURATION WORD [CONFIDENCE]

A file belongs to the clip of its name (without extension); in a CTM file, the first field names the
clip. Silences and noises are left out. Where a row has a text, its spelling is taken, and a clip
whose words are others gets none.

Sources: "TextGrid file formats" of Praat's manual; CMU Sphinx's sphinx3_align (frames of 10 ms, the
last one included); the CTM section of NIST's sctk documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from annotate.corpora.clips import LeftOut, iterate_files
from annotate.corpora.texts import read_lines, read_text
from annotate.inspect.leaks import normalized
from configs.errors import UserError
from data.files import Row
from data.prosody.stress import Word
from data.records import IntArray
from data.stored import StoredRows, distinct

EXTENSIONS = (".textgrid", ".wdseg", ".ctm")
FRAME_S = 0.01
"""Of a .wdseg file."""
TOLERANCE_S = 0.1
"""By how much an alignment may run over the end of its clip, for rounding; it is cut there."""
UNKNOWN = frozenset(("<unk>", "unk", "<oov>", "[oov]", "spn"))
"""What stands for a word that the aligner does not have."""
NOT_ALIGNED = -1
"""Stands for the place of an alignment that there is not."""
SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
SILENT = frozenset(("", "sil", "sp", "silence", "<eps>", "<p:>", "<s>", "</s>", "#", "_", "-"))

_NOISE = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+|\{.*\}")
_VARIANT = re.compile(r"\(\d+\)$")
# What Praat reads: free-standing texts, numbers and flags; all else is comment.
_TOKEN = re.compile(
    r'(?:(?<=\s)|^)(?:"(?P<text>(?:[^"]|"")*)"|(?P<number>-?\d[\d.]*(?:[eE][-+]?\d+)?)'
    r"|(?P<flag><\w+>))(?=\s|$)|![^\n]*",
    re.MULTILINE,
)
_WORD_TIER = re.compile(r"(?:.* - )?words?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Aligned:
    """What an aligner says of one clip."""

    words: tuple[Word, ...]
    """Without silences; a word that it does not have is one of `UNKNOWN`."""
    where: str
    """FILE, or FILE:LINE of its first word."""


Interval = tuple[int, str, float, float]
"""Line, text, start and end in seconds."""


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
        names = alignments.of_clip(clip.name)
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
    """What a folder holds, found by the last name of a clip; it stays on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows = StoredRows.spooled(_entries(folder))
        names = (row["name"] for row in self._rows)
        self._which, self._is_first = distinct(names)
        last_names = (PurePosixPath(row["name"]).name for row in self._rows)
        stems = np.fromiter(map(hash, last_names), np.int64)
        self._order = np.argsort(stems, kind="stable")
        self._stems = stems[self._order]
        self._check_parts()

    def of_clip(self, stem: str) -> dict[str, list[int]]:
        """Return the alignments of this last name -> their places."""
        low, high = (int(np.searchsorted(self._stems, hash(stem), side)) for side in SIDES)
        found: dict[str, list[int]] = {}
        for place in self._order[low:high].tolist():
            name = self._rows[place]["name"]
            if PurePosixPath(name).name == stem:
                found.setdefault(name, []).append(place)
        return found

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
            parts = self.of_clip(PurePosixPath(row["name"]).name)[row["name"]]
        intervals = (each for part in parts for each in self._rows[part]["intervals"])
        return _aligned(path, [tuple(each) for each in intervals])

    def _check_parts(self) -> None:
        """Refuse a clip with two files, or with two channels in one."""
        firsts = np.flatnonzero(self._is_first)
        for place in np.flatnonzero(~self._is_first).tolist():
            row, first = self._rows[place], self._rows[int(firsts[self._which[place]])]
            name, path = row["name"], row["path"]
            if "intervals" not in row or path != first["path"]:
                raise UserError(f"{path}: {name} has two alignments in {self._folder}; keep one")
            if row["channel"] != first["channel"]:
                raise _two_channels(path, row["intervals"][0][0], name)


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield name and file of each alignment; of a CTM file, what it says of a clip as well.

    The name is the path below the folder, without extension, or what the CTM file calls the clip.
    """
    if not folder.is_dir():
        raise UserError(f"alignments {folder}: no such folder")
    found = False
    for path in iterate_files(folder, "**/*.*"):
        extension = path.suffix.lower()
        if extension == ".ctm":
            for name, channel, intervals in read_ctm(path):
                what = {"channel": channel, "intervals": intervals}
                yield {"name": name, "path": str(path), **what}
        elif extension in EXTENSIONS:
            name = path.relative_to(folder).with_suffix("").as_posix()
            yield {"name": name, "path": str(path)}
        found = found or extension in EXTENSIONS
    if not found:
        raise UserError(
            f"alignments {folder}: holds no file of {', '.join(EXTENSIONS)}; name the folder that "
            "the aligner wrote"
        )


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


def read_text_grid(path: Path) -> Aligned:
    """Return the words of a TextGrid file: of its tier `words`, or of its only one.

    Raises:
        UserError: It is no TextGrid, has no or several such tiers, or words that overlap.
    """
    tiers = _tiers(path)
    named = [tier for tier in tiers if _WORD_TIER.fullmatch(tier[0])]
    chosen = named if named else tiers
    if len(chosen) != 1:
        names = ", ".join(repr(name) for name, _ in tiers) or "none"
        raise UserError(f"{path}: expected one tier of intervals called 'words'; it has {names}")
    return _aligned(path, chosen[0][1])


def _tiers(path: Path) -> list[tuple[str, list[Interval]]]:
    """Return name and intervals (line, text, start, end) of the tiers of intervals."""
    content = read_text(path)
    tokens = [token for token in _TOKEN.finditer(content) if token.lastgroup]
    place, line = 0, 1

    def take(kind: str) -> str:
        nonlocal place, line
        token = tokens[place] if place < len(tokens) else None
        line = content.count("\n", 0, token.start() if token else len(content)) + 1
        if token is None or token.lastgroup != kind:
            what = f"{token[0]!r:.40}" if token else "the file's end"
            raise UserError(f"{path}:{line}: is no TextGrid: a {kind} is expected, not {what}")
        place += 1
        return token[kind].replace('""', '"')

    if [take("text"), take("text")] != ["ooTextFile", "TextGrid"]:
        raise UserError(f"{path}: is no TextGrid; its first lines have other names")
    for expected in ("number", "number", "flag"):
        take(expected)
    found: list[tuple[str, list[Interval]]] = []
    for _ in range(int(take("number"))):
        kind, name = take("text"), take("text")
        for _ in ("start", "end"):
            take("number")
        intervals: list[Interval] = []
        for _ in range(int(take("number"))):
            start, first = float(take("number")), line
            end = float(take("number")) if kind == "IntervalTier" else start
            intervals.append((first, take("text"), start, end))
        if kind == "IntervalTier":
            found.append((name, intervals))
    return found


def read_wdseg(path: Path) -> Aligned:
    """Return the words of a .wdseg file: first frame, last frame, score, word.

    Raises:
        UserError: A line is another, or words overlap.
    """
    intervals: list[Interval] = []
    for number, line in read_lines(path, encodings=("cp1252",)):
        fields = line.split()
        if fields[0] == "SFrm" or line.startswith("Total score"):
            continue
        if len(fields) != 4 or not (fields[0].isdecimal() and fields[1].isdecimal()):
            raise UserError(f"{path}:{number}: expected FIRST_FRAME LAST_FRAME SCORE WORD")
        start, end = int(fields[0]) * FRAME_S, (int(fields[1]) + 1) * FRAME_S
        intervals.append((number, fields[3], round(start, 2), round(end, 2)))
    return _aligned(path, intervals)


def read_ctm(path: Path) -> Iterator[tuple[str, str, list[Interval]]]:
    """Yield clip, channel and intervals of the lines of a CTM file that follow each other.

    Raises:
        UserError: A line is another, or a clip has two channels.
    """
    for name, lines in groupby(_ctm_lines(path), key=itemgetter(0)):
        channel, intervals = "", list[Interval]()
        for _, own, interval in lines:
            if intervals and own != channel:
                raise _two_channels(path, interval[0], name)
            channel = own
            intervals.append(interval)
        yield name, channel, intervals


def _two_channels(path: Path | str, line: int, name: str) -> UserError:
    return UserError(f"{path}:{line}: {name} has two channels; align one of them")


def _ctm_lines(path: Path) -> Iterator[tuple[str, str, Interval]]:
    for number, line in read_lines(path):
        if line.lstrip().startswith(";;"):
            continue
        fields = line.split()
        try:
            name, channel, start, length, word = fields[:5]
            interval = (number, word, float(start), round(float(start) + float(length), 4))
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: expected CLIP CHANNEL START DURATION WORD [CONFIDENCE]"
            ) from error
        yield name, channel, interval


def _aligned(path: Path, intervals: Sequence[Interval]) -> Aligned:
    """Return the words among intervals (line, text, start, end); refuse times that run back."""
    words: list[Word] = []
    for line, text, start, end in intervals:
        if not 0 <= start <= end or (words and start < words[-1].end_s - FRAME_S / 2):
            raise UserError(
                f"{path}:{line}: {text!r} is from {start:g} to {end:g} s"
                + (f", and the word before ends at {words[-1].end_s:g} s" if words else "")
                + "; align the clip again"
            )
        plain = _VARIANT.sub("", text.strip())
        is_unknown = plain.casefold() in UNKNOWN
        if is_unknown or not (plain.casefold() in SILENT or _NOISE.fullmatch(plain)):
            words.append(Word(plain, start, end))
    first = intervals[0][0] if intervals else 1
    return Aligned(tuple(words), f"{path}:{first}")
