"""What every corpus reader returns: the clips of a folder as the corpus itself describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from configs.errors import UserError
from data.manifest import first_of


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


@dataclass(frozen=True, slots=True)
class Corpus:
    """How one corpus is read."""

    read: Callable[[Path], list[CorpusClip]]
    """Folder -> its clips, sorted by id. Raises UserError."""
    split: str
    """Split that is made unless another is asked for: `official`, `session` or `speaker`."""
    overlaps: Mapping[str, str] = field(default_factory=dict[str, str])
    """What its splits share by design (`speaker`, `session`, `transcript`) -> why."""


def require_folder(root: Path, corpus: str, *parts: str) -> Path:
    """Return a folder below the root, or the root itself.

    Raises:
        UserError: There is none.
    """
    path = root.joinpath(*parts)
    if not path.is_dir():
        raise UserError(
            f"{path}: no such folder; root must be the folder of {corpus} as it is distributed "
            f"(docs/corpora.md shows its layout)"
        )
    return path


def require_file(root: Path, corpus: str, *parts: str) -> Path:
    """Return a file below the root.

    Raises:
        UserError: There is none.
    """
    path = root.joinpath(*parts)
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; {corpus} has it as distributed (docs/corpora.md shows its "
            "layout)"
        )
    return path


def relative(path: Path, root: Path) -> str:
    """Return a path below the root as it stands in a manifest."""
    return path.relative_to(root).as_posix()


def finish(
    corpus: str, root: Path, clips: Iterable[CorpusClip], problems: Sequence[str]
) -> list[CorpusClip]:
    """Return the clips sorted by id, or refuse the folder with everything that is wrong in it.

    Problems read `FILE[:LINE]: what; what to do`.

    Raises:
        UserError: There are problems, no clips, or two clips with one id.
    """
    ordered = sorted(clips, key=lambda clip: clip.id)
    twice = sorted({a.id for a, b in pairwise(ordered) if a.id == b.id})
    problems = [*problems, *(f"{root}: two clips are {name!r}; remove one" for name in twice)]
    if problems:
        raise UserError(f"{root}: {len(problems)} problem(s) as {corpus}\n{first_of(problems)}")
    if not ordered:
        raise UserError(
            f"{root}: holds no clip of {corpus}; docs/corpora.md shows the layout that is read"
        )
    return ordered
