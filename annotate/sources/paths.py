"""Clips as tables name them: absolute, relative to one thing or another, of Windows, or moved."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from pathlib import Path

from annotate.corpora.clips import NOT_READ, READ, in_any_case
from data.links import ClipRoot, why_absent

logger = logging.getLogger(__name__)

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class PathError(ValueError):
    """A path that names no clip below the root; the message says why and what to do."""


class MissingClipError(PathError):
    """A path to which there is no file."""


class ClipPaths:
    """Finds the clips that one source names."""

    def __init__(self, root: Path, *, follow_links: bool = False) -> None:
        """Look below a root; with `follow_links`, links below it may lead out."""
        self.root = Path(os.path.abspath(root))
        self._links = ClipRoot(root, follow_links=follow_links)
        self.moved: str | None = None
        """What absolute paths of another machine begin with, in place of the root."""

    def find(self, audio: str, base: Path) -> str:
        """Return a clip's path below the root, with forward slashes.

        A relative path is one below the root, or else below the folder of the table. An absolute
        path that does not exist here is cut at its start until it fits below the root; what is cut
        has to be the same for all.

        Args:
            audio: As the source names it.
            base: Folder of the table.

        Raises:
            MissingClipError: There is no such file.
            PathError: An address, or a path that leaves the root or may mean two files; a link
                that leads out of the root, unless it may.
        """
        path = self._found(audio, base)
        if problem := self._links.leads_out(path):
            raise PathError(f"{audio!r} {problem}")
        return path

    def _found(self, audio: str, base: Path) -> str:
        if _ADDRESS.match(audio):
            raise PathError(f"{audio!r} is an address; download the clip and name the file")
        if "\0" in audio or "|" in audio[-1:]:
            raise PathError(f"{audio!r} is no path of a file")
        is_plain = "\\" not in audio or _exists(self.root / audio)
        plain = audio if is_plain else audio.replace("\\", "/")
        if plain.startswith("/") or _DRIVE.match(audio):
            return self._absolute(audio, plain)
        places = [self.root / plain]
        below = Path(os.path.abspath(base))
        if below != self.root:
            places.append(below / plain)
        there = {path for place in places if (path := _existing(place))}
        inside = {below for path in there if (below := self._below(path)) is not None}
        if there and not inside:
            raise PathError(f"{audio!r} leads out of the root {self.root}; give a root above it")
        if len(inside) > 1:
            named = " and ".join(sorted(inside))
            raise PathError(f"{audio!r} may be {named}; write it from the root {self.root}")
        if not inside:
            why = next(filter(None, (why_absent(os.path.normpath(path)) for path in places)), "")
            raise MissingClipError(
                f"{audio!r} {why}"
                if why
                else f"{audio!r}: no such file at {' or '.join(map(str, places))}"
            )
        return inside.pop()

    def _absolute(self, audio: str, plain: str) -> str:
        path = _existing(Path(plain))
        if path and (below := self._below(path)) is not None:
            return below
        if path:
            raise PathError(f"{audio!r} is not below the root {self.root}; give a root above it")
        if self.moved is not None:
            starts = [self.moved] if plain.startswith(self.moved) else []
        else:
            starts = [plain[: mark.end()] for mark in re.finditer("/+", plain)]
        for start in starts:
            cut_path = _existing(self.root / plain[len(start) :])
            if cut_path and (below := self._below(cut_path)) is not None:
                if self.moved is None:
                    logger.info(f"paths begin with {start}: taken for the root {self.root}")
                    self.moved = start
                return below
        why = why_absent(os.path.normpath(plain)) if plain.startswith("/") else ""
        raise MissingClipError(
            f"{audio!r} {why}"
            if why
            else f"{audio!r}: no such file, nor its end below the root {self.root}"
        )

    def _below(self, path: Path) -> str | None:
        whole = os.path.normpath(path)
        for root in (str(self.root), self._links.folder):
            if whole.startswith(start := f"{root.rstrip('/')}/"):
                return whole.removeprefix(start)
        # By a link to the root, or to a folder above or below it.
        folder, name = os.path.split(whole)
        real = os.path.join(os.path.realpath(folder), name)
        is_below = real.startswith(f"{self._links.folder.rstrip('/')}/")
        return os.path.relpath(real, self._links.folder) if is_below else None


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _existing(path: Path) -> Path | None:
    """Return a file by its name as it is on disk.

    That may have its extension in another case, another form of Unicode, or the only extension that
    fits a name without one.
    """
    whole = os.path.normpath(path)
    path = Path(whole)
    try:
        if os.path.isfile(whole):  # nearly all are, and the search below costs ten times as much
            return path
        for name in (
            whole,
            unicodedata.normalize("NFC", whole),
            unicodedata.normalize("NFD", whole),
        ):
            if (there := in_any_case(Path(name))).is_file():
                return there
        if path.suffix.lower() not in READ | NOT_READ:
            named = [there for end in READ if (there := Path(whole + end)).is_file()]
            return named[0] if len(named) == 1 else None
    except (OSError, ValueError):
        pass
    return None
