"""Clips below a folder: found whatever the case of their extension, and never twice unsaid."""

from __future__ import annotations

import os
import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from configs.errors import UserError
from data.links import why_absent
from data.records import IntArray

READ = frozenset(
    (
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"),
        *(".au", ".snd", ".w64", ".rf64", ".sph", ".nist"),
    )
)
"""Extensions of the formats that `data.audio` reads, in lower case."""

NOT_READ = frozenset(
    (
        *(".m4a", ".aac", ".mp4", ".wma", ".webm", ".avi", ".mkv", ".mov", ".amr", ".3gp", ".caf"),
        *(".mka", ".ac3", ".ape", ".wv"),
    )
)
"""Extensions of other sound and video: of a clip that has to be converted first."""

JUNK_FOLDERS = frozenset(("__MACOSX", ".git", ".AppleDouble", "@eaDir", ".Trashes"))
"""Folders that systems leave behind; nothing in them is anybody's clip."""

MAX_LOOKED_AT = 2_000
"""Folders that a search for the right root looks at."""

MAX_DEPTH = 3
"""How far below or above the root it looks."""


class LeftOut:
    """What a reader found and did not take, counted by reason, to be said aloud."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.counts: dict[str, int] = {}
        """Reason -> how many."""
        self._first: dict[str, str] = {}

    def add(self, reason: str, what: object) -> None:
        """Count one more of a reason; `what` (a file, `FILE:LINE`) is shown if it is the first."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self._first.setdefault(reason, str(what))

    def lines(self) -> list[str]:
        """Return `left out: NUMBER: REASON, such as EXAMPLE`, one line a reason."""
        return [
            f"left out: {number}: {reason}, such as {self._first[reason]}"
            for reason, number in self.counts.items()
        ]


def is_junk(name: str) -> bool:
    """Return whether a file is what macOS leaves beside the real ones, or hidden."""
    return name.startswith(".")


def find_clips(root: Path, glob: str, left_out: LeftOut) -> Iterator[Path]:
    """Yield the clips below a folder that a pattern names, in the order of their folders and names.

    Links to files and folders are followed, each folder once. What macOS leaves behind is skipped.
    Counted as left out: clips in other places, in hidden folders, in formats that are not looked
    for, links that lead nowhere or to a folder that was seen before.

    Args:
        root: Where to look.
        glob: Pattern of the path below the root, as of `Path.glob`, with forward slashes. It ends
            with the extension, which fits in any case, or with `.*`: everything that is read.
        left_out: Where it is counted.

    Raises:
        UserError: A folder cannot be listed.
    """
    stem, dot, extension = glob.rpartition(".")
    wanted = READ if extension == "*" else frozenset((dot + extension.lower(),))
    place = re.compile(_regex(stem))
    for path, is_hidden in _walk(root, root.as_posix(), left_out):
        suffix = path.suffix.lower()
        below = path.relative_to(root).as_posix()
        if suffix not in wanted:
            if suffix in READ | NOT_READ and not any(
                path.with_suffix(end).exists() for end in {*wanted, *map(str.upper, wanted)}
            ):
                how = "" if suffix in READ else "; convert them to WAV or FLAC"
                left_out.add(f"{suffix[1:]} files, which are not read here{how}", path)
        elif is_hidden:
            left_out.add("clips in hidden folders", path)
        elif place.fullmatch(below[: -len(suffix)]):
            yield path
        else:
            left_out.add(f"clips in other places than {glob}", path)


def find_files(root: Path, glob: str) -> list[Path]:
    """Return the files below a folder that a pattern of `find_clips` names, in order.

    Links to folders are followed, each folder once, as they are for clips; nothing hidden is found.

    Raises:
        UserError: A folder cannot be listed.
    """
    return sorted(iterate_files(root, glob))


def iterate_files(root: Path, glob: str) -> Iterator[Path]:
    """Yield what `find_files` returns, one in memory at a time."""
    place = re.compile(_regex(glob), re.IGNORECASE)
    for path, is_hidden in _walk(root, root.as_posix(), LeftOut()):
        if not is_hidden and place.fullmatch(path.relative_to(root).as_posix()):
            yield path


def in_any_case(path: Path) -> Path:
    """Return a file as it is there: with its extension in another case if that is what exists."""
    ends = (path.suffix, path.suffix.upper(), path.suffix.lower(), path.suffix.capitalize())
    return next((p for end in ends if (p := path.with_suffix(end)).is_file()), path)


def count_unnamed(root: Path, glob: str, named: Container[str], left_out: LeftOut) -> None:
    """Count the clips that a pattern finds (see `find_clips`) and that no table of theirs names."""
    for path in find_clips(root, glob, left_out):
        if path.relative_to(root).as_posix() not in named:
            left_out.add("clips that no table names", path)


def _walk(
    folder: Path, top: str, left_out: LeftOut, seen: set[str] | None = None, hidden: bool = False
) -> Iterator[tuple[Path, bool]]:
    """Yield the files below a folder, and whether they lie in a hidden one."""
    seen = seen if seen is not None else {os.path.realpath(folder)}
    names: list[str] = []
    folders, no_files = set[str](), set[str]()  # of a million files, their names are in memory
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                names.append(entry.name)
                if entry.is_dir():
                    folders.add(entry.name)
                elif not entry.is_file():
                    no_files.add(entry.name)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; make the folder readable") from error
    for name in sorted(names):
        path = folder / name
        if name in folders:
            if name in JUNK_FOLDERS:
                continue
            real = os.path.realpath(path)
            if real in seen:
                left_out.add("links to folders that are read under another name", path)
                continue
            seen.add(real)
            yield from _walk(path, top, left_out, seen, hidden or name.startswith("."))
        elif is_junk(name):
            continue
        elif name not in no_files:
            yield path, hidden
        elif path.suffix.lower() in READ:
            why = why_absent(os.path.abspath(path))
            left_out.add("links that lead to no file", f"{path} {why}" if why else path)


def _regex(glob: str) -> str:
    """Return a regular expression for a glob of `**/`, `*`, `?` and `[...]`."""
    parts = re.split(r"(\*\*/|\*|\?|\[[^\]]*\])", glob)
    meanings = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        meanings.get(part, part if part.startswith("[") else re.escape(part)) for part in parts
    )


def doubled_folders(root: Path, clips: Callable[[], Iterable[str]]) -> list[tuple[str, str, int]]:
    """Return the folders that hold a copy of what they are in, as archives often unpack.

    A copy has the same names in the same folders, the same sizes, and the same bytes in one file
    of each folder.

    Args:
        root: Folder of the corpus.
        clips: Yields the paths below it, with forward slashes, each time anew; of each, a hash is
            in memory.

    Returns:
        Folder, the copy inside it, and how many clips both have.
    """
    hashes: dict[tuple[str, ...], array[int]] = defaultdict(lambda: array("q"))
    for clip in clips():
        *folder, name = clip.split("/")
        hashes[tuple(folder)].append(hash(name))

    @cache
    def distinct(folder: tuple[str, ...]) -> IntArray:
        return np.unique(np.array(hashes[folder], np.int64))

    copies: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
    for inner in hashes:
        # The outer folder has the same path without some folders in the middle: the innermost of
        # these, for `data/data/a` is a copy in `data`.
        for start, end in sorted(combinations(range(len(inner) + 1), 2), reverse=True):
            outer = inner[:start] + inner[end:]
            if outer in hashes and np.array_equal(distinct(outer), distinct(inner)):
                below = "".join(f"{part}/" for part in inner)
                inside = {
                    clip.removeprefix(below)
                    for clip in clips()
                    if clip.startswith(below) and "/" not in clip.removeprefix(below)
                }
                if _same_files(root, outer, inner, inside):
                    key = inner[:start], inner[:end]
                    copies[key] = copies.get(key, 0) + len(inside)
                    break
    return [("/".join(outer), "/".join(inner), n) for (outer, inner), n in copies.items()]


def _same_files(
    root: Path, one: tuple[str, ...], other: tuple[str, ...], names: Iterable[str]
) -> bool:
    pairs = [(root.joinpath(*one, name), root.joinpath(*other, name)) for name in sorted(names)]
    try:
        if any(a.stat().st_size != b.stat().st_size for a, b in pairs):
            return False
        return pairs[0][0].read_bytes() == pairs[0][1].read_bytes()
    except OSError:
        return False


def where_it_fits(root: Path, fits: Callable[[Path], bool]) -> str:
    """Return `; FOLDER fits: give it as root`, for a root one or a few folders too high or low.

    Args:
        root: The folder that does not fit.
        fits: Whether a folder looks like the corpus.

    Returns:
        Empty if no folder near it fits.
    """
    level, looked_at, roots = [root], 0, list[Path]()
    for _ in range(MAX_DEPTH):
        below: list[Path] = []
        for folder in level:
            try:
                below += sorted(
                    path
                    for path in folder.iterdir()
                    if path.is_dir() and not path.name.startswith(".")
                )
            except OSError:
                continue
        below = below[: MAX_LOOKED_AT - looked_at]
        looked_at += len(below)
        roots = [folder for folder in below if folder.name not in JUNK_FOLDERS and fits(folder)]
        if roots:
            break
        level = below
    roots = roots or [folder for folder in root.absolute().parents[:MAX_DEPTH] if fits(folder)][:1]
    if not roots:
        return ""
    named = " and ".join(map(str, roots[:3]))
    if len(roots) > 1:
        return f"; {named}{' and others' if len(roots) > 3 else ''} fit: give one of them as root"
    return f"; {named} fits: give root={named}"
