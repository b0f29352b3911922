"""What every corpus reader returns: the clips of a folder as the corpus itself describes them."""

from __future__ import annotations

import logging
import os
import tempfile
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any, overload

import numpy as np

from annotate.corpora.clips import LeftOut, doubled_folders, where_it_fits
from configs.errors import UserError
from data.files import Row, json_lines
from data.links import why_absent
from data.manifest import first_of
from data.records import IntArray
from data.stored import StoredRows, text_column

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CorpusClip:
    """One utterance, before any label map or split of ours."""

    id: str
    """Unique in its corpus, and stable: made of the corpus's own names."""
    audio: str
    """Path relative to the corpus's folder, with forward slashes."""
    raw_label: str
    """Emotion as the corpus writes it."""
    speaker: str | None
    """Unique in its corpus; None where the corpus does not tell."""
    session: str | None = None
    """Recording session or dialogue, where the corpus has them."""
    text: str | None = None
    """What is said, where the corpus has it."""
    split: str | None = None
    """The corpus's own split: `train`, `eval` or `test`; None if it has none."""
    sex: str | None = None
    """`female` or `male` of the speaker, where the corpus tells."""
    lang: str | None = None
    """Language as an ISO 639-1 code."""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further JSON facts that go into the row as they are, such as `intensity`."""


_FIELDS = tuple(one.name for one in fields(CorpusClip))


class Clips(Sequence[CorpusClip]):
    """The clips of a corpus in a file without a name, each made anew when it is asked for."""

    def __init__(self, folder: Path | None = None) -> None:
        """Start with none; the file lies in a folder, or with other temporary files (TMPDIR)."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._rows: StoredRows | None = None

    def append(self, clip: CorpusClip) -> None:
        """Add one more."""
        row = {name: value for name in _FIELDS if (value := getattr(clip, name)) is not None}
        self._file.writelines(json_lines([row]))
        self._rows = None

    def extend(self, clips: Iterable[CorpusClip]) -> None:
        """Add some more."""
        for clip in clips:
            self.append(clip)

    def sort(self) -> IntArray:
        """Sort them by id, and return the places of those whose id the one before has too."""
        ids = text_column(clip.id for clip in self)
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        self._rows = self._stored().chosen(order)
        return np.flatnonzero(ids[1:] == ids[:-1]) + 1

    def _stored(self) -> StoredRows:
        if self._rows is None:
            self._file.flush()
            self._rows = StoredRows.in_file(self._file)
        return self._rows

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._stored())

    @overload
    def __getitem__(self, index: int) -> CorpusClip: ...
    @overload
    def __getitem__(self, index: slice) -> list[CorpusClip]: ...
    def __getitem__(self, index: int | slice) -> CorpusClip | list[CorpusClip]:
        """Return a clip, or a list of some."""
        if isinstance(index, slice):
            return [_clip(row) for row in self._stored()[index]]
        return _clip(self._stored()[index])

    def __iter__(self) -> Iterator[CorpusClip]:
        """Yield the clips in order, one in memory at a time."""
        return map(_clip, self._stored())


def _clip(row: Row) -> CorpusClip:
    return CorpusClip(**{"speaker": None, **row})


@dataclass(frozen=True, slots=True)
class Corpus:
    """How one corpus is read."""

    read: Callable[[Path], Clips]
    """Folder -> its clips, sorted by id. Raises UserError."""
    split: str
    """Split that is made unless another is asked for: `official`, `session` or `speaker`."""
    overlaps: Mapping[str, str] = field(default_factory=dict[str, str])
    """What its splits share by design (of `annotate.inspect.leaks.KINDS`) -> why."""


def require_folder(root: Path, corpus: str, *parts: str) -> Path:
    """Return a folder below the root, or the root itself.

    Raises:
        UserError: There is none; a folder near the root that has it is named.
    """
    path = root.joinpath(*parts)
    if not path.is_dir():
        near = where_it_fits(root, lambda folder: folder.joinpath(*parts).is_dir()) if parts else ""
        raise UserError(
            f"{path}: no such folder; root must be the folder of {corpus} as it is distributed "
            f"(docs/corpora.md shows its layout){near}"
        )
    return path


def require_file(
    root: Path, corpus: str, *parts: str, fits: Callable[[Path], bool] | None = None
) -> Path:
    """Return a file below the root.

    Args:
        root: Folder of the corpus.
        corpus: Its name, for messages.
        parts: Folders and name of the file.
        fits: Whether a folder looks like the corpus; None = it has the file.

    Raises:
        UserError: There is none; a folder near the root that has it is named.
    """
    path = root.joinpath(*parts)
    if not path.is_file():
        near = where_it_fits(root, fits or (lambda folder: folder.joinpath(*parts).is_file()))
        raise UserError(
            f"{path}: no such file; {corpus} has it as distributed (docs/corpora.md shows its "
            f"layout){near}"
        )
    return path


def relative(path: Path, root: Path) -> str:
    """Return a path below the root as it stands in a manifest."""
    return path.relative_to(root).as_posix()


def lacks(path: Path, otherwise: str) -> str:
    """Return what is said of a clip that is not there: what a link of its name tells, if any.

    Args:
        path: The clip.
        otherwise: What is said where there is no link, nor a store that keeps it.
    """
    why = why_absent(os.path.abspath(path))
    return f"{path} {why}" if why else otherwise


def finish(
    corpus: str,
    root: Path,
    clips: Clips,
    problems: Sequence[str],
    left_out: LeftOut | None = None,
    *,
    fits: Callable[[Path], bool] | None = None,
) -> Clips:
    """Return the clips sorted by id, or refuse the folder with everything that is wrong in it.

    Problems read `FILE[:LINE]: what; what to do`. What was left out is printed.

    Args:
        corpus: Its name, for messages.
        root: Its folder.
        clips: What was read.
        problems: What is wrong.
        left_out: What was not taken.
        fits: Whether a folder looks like the corpus: near a root without clips, one is searched.

    Raises:
        UserError: There are problems, no clips, or two clips with one id.
    """
    problems = [*problems, *_twice(root, clips, clips.sort())]
    for line in left_out.lines() if left_out else ():
        logger.warning(f"{root}: {line}")
    if problems:
        raise UserError(f"{root}: {len(problems)} problem(s) as {corpus}\n{first_of(problems)}")
    if not clips:
        near = where_it_fits(root, fits) if fits else ""
        raise UserError(
            f"{root}: holds no clip of {corpus}; docs/corpora.md shows the layout that is read"
            f"{near}"
        )
    return clips


def _twice(root: Path, clips: Clips, again: IntArray) -> Iterator[str]:
    """Yield what is there twice: a folder inside itself, folders with the same clips, clips.

    Args:
        root: Folder of the corpus.
        clips: Sorted.
        again: What `Clips.sort` returned.
    """
    copies = doubled_folders(root, lambda: (clip.audio for clip in clips))
    for outer, inner, number in copies:
        yield (
            f"{root / outer} and {root / inner} hold the same {number} clips: a copy inside the "
            f"folder; move {root / inner} away"
        )
    files: dict[str, list[str]] = defaultdict(list)
    for place in np.union1d(again - 1, again).tolist():
        clip = clips[place]
        if not any(clip.audio.startswith(f"{inner}/") for _, inner, _ in copies):
            files[clip.id].append(clip.audio)
    pairs: dict[tuple[Path, Path], list[tuple[str, str]]] = defaultdict(list)
    for one, *others in files.values():
        for other in others:
            pairs[_where_they_part(root, one, other)].append((one, other))
    for (folder, other_folder), same in pairs.items():
        one, other = same[0]
        if len(same) == 1 or folder == other_folder:
            for one, other in same:
                yield f"{root / one} and {root / other} are the same utterance; remove one"
        else:
            yield (
                f"{folder} and {other_folder} hold {len(same)} clips of the same names, such as "
                f"{one} and {other}; move one of the folders away"
            )


def _where_they_part(root: Path, one: str, other: str) -> tuple[Path, Path]:
    """Return the folders of two files without the folders at their ends that are alike."""
    first, second = PurePosixPath(one).parent, PurePosixPath(other).parent
    while first != second and first.name == second.name and first.name:
        first, second = first.parent, second.parent
    return root / first, root / second
