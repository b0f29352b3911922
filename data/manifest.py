"""Manifests: JSON Lines files that list clips and what is known about them (see docs/data.md).

Everything is checked before a run starts, and problems are reported together: nobody debugs 30,000
rows one at a time.
"""

from __future__ import annotations

import json
import os
import shlex
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from configs.errors import UserError
from data.links import ClipRoot
from data.manifest_row import ALIASES, RowReader
from data.records import Example
from data.row_clips import clips_in, is_unicode, target_of
from data.spelling import spelled_on_disk
from data.workers import worker_map

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")

_MAGIC = {
    b"PAR1": "a Parquet file",
    b"PK\3\4": "a spreadsheet or another ZIP archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet of old Excel",
}
"""First bytes of files -> what they are."""

_SEPARATORS = {
    "\t": "a table with tabs (TSV)",
    ";": "a table with semicolons (CSV)",
    ",": "a table with commas (CSV)",
}
"""What stands in each of the first lines -> what that makes the file."""

PART_BYTES = 2**22
"""A manifest is read in parts of this size, whose lines are in memory one at a time."""

LARGE_BYTES = 2**26
"""A manifest above this size is worth the start of other processes."""

MAX_LISTED = 20
"""Problems that one error message lists; the rest is counted."""

TEXTS = ("id", "audio", "label", "split", "speaker", "session", "text", "sha256")
"""Fields that `read_leniently` makes text of."""

OTHER_CLIPS = "other_clips"
"""Field in which `read_leniently` puts the clips that a row has besides the one it is about."""


class ManifestError(UserError):
    """A manifest that cannot be used; the message lists its problems by file and line."""


def first_of(problems: Sequence[str]) -> str:
    """Return the first `MAX_LISTED` problems, one a line; the rest is counted."""
    more = len(problems) - MAX_LISTED
    return "\n".join([*problems[:MAX_LISTED], *([f"... and {more} more"] if more > 0 else [])])


def answer(label: str) -> str:
    """Return the answer to a question with choices: the label in its tags, no reasoning."""
    return f"<answer>{label}</answer>"


def read_manifest(
    path: str | Path,
    *,
    audio_root: str | Path,
    choices: Sequence[str],
    question_template: str,
    follow_links: bool = False,
    num_workers: int = 1,
) -> list[Example]:
    """Return the rows of a manifest, all of them checked.

    The clips' files are looked up but not opened; `data.headers.read_headers` opens them.

    Args:
        path: JSON Lines file in UTF-8, with or without a byte-order mark; empty lines are skipped.
        audio_root: folder that the clips' paths are relative to and may not leave.
        choices: labels that a row may have; a row's own `choices` must be among them.
        question_template: question of the rows that carry none; `{choices}` is filled per row.
        follow_links: whether links below the root may lead out of it.
        num_workers: processes that read a file of more than `LARGE_BYTES`.

    Raises:
        ManifestError: the first problems as `file:line: what, what to do`, and their number.
    """
    root = Path(audio_root)
    if not root.is_dir():
        raise ManifestError(f"{root}: audio root is not a folder; fix data.audio_root")
    refuse_tables(path, root)
    how = ClipRoot(root, follow_links=follow_links), tuple(choices), question_template
    read_part = partial(_read_part, Path(path), how)
    examples: list[Example] = []
    problems: list[str] = []
    lines_by_id: dict[str, int] = {}
    before = 0
    try:
        size = os.path.getsize(path)
        for part in worker_map(
            read_part,
            [(start, start + PART_BYTES) for start in range(0, size, PART_BYTES)],
            num_workers if size > LARGE_BYTES else 1,
        ):
            faults = part.faults
            for number, example in zip(part.numbers, part.examples, strict=True):
                first = lines_by_id.setdefault(example.id, before + number)
                if first != before + number:
                    twice = f"id {example.id!r} is already on line {first}; ids must be unique"
                    faults.append((number, twice))
            faults.sort(key=lambda fault: fault[0])
            problems.extend(f"{path}:{before + number}: {what}" for number, what in faults)
            examples += part.examples
            before += part.num_lines
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; fix data.manifest") from error
    if problems:
        raise ManifestError(f"{path}: {len(problems)} problem(s) found\n{first_of(problems)}")
    if not examples:
        raise ManifestError(f"{path}: holds no rows; write one JSON object per line")
    return examples


class CheckedManifest:
    """The rows of a manifest, read anew each time: one part of the file is in memory."""

    def __init__(self, path: Path, how: tuple[ClipRoot, tuple[str, ...], str], size: int) -> None:
        """Use `check_manifest`; `how` is what `RowReader` takes, and `size` the number of rows."""
        self._path = path
        self._how = how
        self._size = size

    def __len__(self) -> int:
        """Return how many there are."""
        return self._size

    def __iter__(self) -> Iterator[Example]:
        """Yield them in order."""
        for part in _parts(self._path, self._how):
            yield from part.examples


def check_manifest(
    path: Path, *, audio_root: str, choices: Sequence[str], follow_links: bool = False
) -> CheckedManifest:
    """Check a manifest as `read_manifest` does, which says what is wrong, in 8 bytes a row.

    Raises:
        ManifestError: As there.
    """
    how = ClipRoot(audio_root, follow_links=follow_links), tuple(choices), ""
    ids = array("q")
    is_sound = os.path.isdir(audio_root) and path.is_file()
    for part in _parts(path, how) if is_sound else ():
        is_sound = is_sound and not part.faults
        ids.extend(hash(example.id) for example in part.examples)
    if not (is_sound and ids and len(np.unique(ids)) == len(ids)):
        read_manifest(
            path,
            audio_root=audio_root,
            choices=choices,
            question_template="",
            follow_links=follow_links,
        )
    return CheckedManifest(path, how, len(ids))


def read_leniently(
    path: Path, audio_root: Path, *, follow_links: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield a manifest's rows with all their fields, as far as they can be read.

    `read_manifest` says what is wrong with a manifest. Here, lines that are no object or name no
    clip inside the audio root are left out, a row without an id is called by its line, aliases are
    replaced, null and blank fields are left out, and other `TEXTS` are made text. Of several clips,
    `audio` is the one that the row is about, and `OTHER_CLIPS` the list of the rest. Links below
    the root may lead out of it with `follow_links`.

    Raises:
        OSError: The manifest cannot be opened.
    """
    root = ClipRoot(audio_root, follow_links=follow_links)
    for number, line in _numbered(path, (0, path.stat().st_size)):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(fields, dict):
            continue
        row = without_aliases({key: value for key, value in fields.items() if value is not None})
        row = _with_one_clip(row)
        row |= {name: str(row[name]) for name in TEXTS if name in row}
        row = {key: value for key, value in row.items() if str(value).strip()}
        row.setdefault("id", f"line {number}")
        clips = [row.get("audio", ""), *row.pop(OTHER_CLIPS, ())]
        if all(clip and "\0" not in clip and is_unicode(clip) for clip in clips):
            clips = [spelled_on_disk(root.folder, clip) for clip in clips]
            row["audio"] = clips[0]
            if all(map(root.may_read, clips)):
                yield row | ({OTHER_CLIPS: clips[1:]} if clips[1:] else {})


def _with_one_clip(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose `audio` is one clip, beside `OTHER_CLIPS`; empty if it makes no sense.

    A row that is about none of its clips has the last one in that place.
    """
    row = {key: value for key, value in row.items() if key != OTHER_CLIPS}
    if not isinstance(row.get("audio"), list) and "turns" not in row:
        return row
    try:
        clips = list(map(str, clips_in(row)))
        target = str(target_of(row)) or (clips[-1] if clips else "")
        clips.remove(target)
    except (AttributeError, IndexError, TypeError, ValueError):
        return {**row, "audio": ""}
    return {**row, "audio": target, OTHER_CLIPS: clips}


def clips_of(path: Path) -> Iterator[str]:
    """Yield the clips of a manifest that was checked before; a row of text alone has none."""
    decode = msgspec.json.Decoder(_Clips).decode
    for _, line in _numbered(path, (0, path.stat().st_size)):
        if line.strip():
            yield from clips_in(msgspec.structs.asdict(decode(line)))


def refuse_tables(path: str | Path, audio_root: str | Path) -> None:
    """Refuse a file that is a table of another kind, with the command that reads it.

    Raises:
        ManifestError: It is CSV, TSV, a JSON list, a JSON object of several lines, Parquet
            or a spreadsheet.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(2**14)
    except OSError:
        return  # said by whoever reads it
    kind = _table_kind(head)
    if kind:
        first = "save it as CSV, then " if "spreadsheet" in kind else ""
        is_chat = kind == "a JSON list" and (b'"messages"' in head or b'"conversations"' in head)
        corpus = "chat" if is_chat else "table"
        where = shlex.quote(f"source.files=[{os.path.abspath(path)}]")
        output = "runs/data/NAME"
        raise ManifestError(
            f"{path}: is {kind}; a manifest is JSON Lines, one object a line. {first}run: python "
            f"launch/annotate.py corpus={corpus} root={shlex.quote(str(audio_root))} {where} "
            f"output={output}, which writes one: {output}/manifest.jsonl"
        )


def _table_kind(head: bytes) -> str:
    """Return what the first bytes of a file say that it is; empty for a manifest, or who knows."""
    for mark, kind in _MAGIC.items():
        if head.startswith(mark):
            return kind
    text = head.decode("utf-16" if head[:2] in UTF_16_MARKS else "utf-8", "replace")
    lines = text.removeprefix("\ufeff").lstrip().splitlines()[:3]
    if not lines:
        return ""
    if lines[0].startswith("["):
        return "a JSON list"
    if lines[0].startswith("{"):
        return "JSON over several lines" if lines[0].strip() == "{" and len(lines) > 1 else ""
    for separator, kind in _SEPARATORS.items():
        if all(separator in line and not line.startswith("{") for line in lines):
            return kind
    return ""


class _Clips(msgspec.Struct):
    """What `clips_of` takes from a row."""

    audio: str | list[str] | None = None
    turns: list[dict[str, Any]] | None = None


def without_aliases(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose fields have our names; an alias beside the name that it is for stays."""
    names = {alias: name for name, alias in ALIASES.items() if name not in row}
    return {names.get(key, key): value for key, value in row.items()}


def select_split(examples: Sequence[Example], split: str) -> list[Example]:
    """Return the examples of one split, in order.

    Raises:
        ManifestError: none belongs to it; names the splits that exist.
    """
    chosen = [example for example in examples if example.split == split]
    if not chosen:
        splits = sorted({example.split for example in examples if example.split})
        there = f"it has {', '.join(map(repr, splits))}" if splits else "no row has a 'split'"
        raise ManifestError(f"no row of the manifest belongs to split {split!r}; {there}")
    return chosen


@dataclass(slots=True)
class _Part:
    """Some lines of a manifest; lines are counted from its own first."""

    num_lines: int = 0
    examples: list[Example] = field(default_factory=list[Example])
    numbers: list[int] = field(default_factory=list[int])
    """The line of each example."""
    faults: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """Line, and what is wrong with it."""


def _parts(path: Path, how: tuple[ClipRoot, tuple[str, ...], str]) -> Iterator[_Part]:
    for start in range(0, path.stat().st_size, PART_BYTES):
        yield _read_part(path, how, (start, start + PART_BYTES))


def _read_part(
    path: Path, how: tuple[ClipRoot, tuple[str, ...], str], span: tuple[int, int]
) -> _Part:
    """Read the lines that start in a span of bytes; `how` is what `RowReader` takes."""
    part, reader = _Part(), RowReader(*how)
    for number, line in _numbered(path, span):
        part.num_lines = number
        if not line.strip():
            continue
        example, faults = reader.read(line)
        part.faults += [(number, what) for what in faults]
        if example is not None:
            part.examples.append(example)
            part.numbers.append(number)
    return part


def _numbered(path: Path, span: tuple[int, int]) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that start in a span of bytes, each with its number in it."""
    start, end = span
    with path.open("rb") as file:
        if start:
            # The byte before it is the end of a line, or lies in a line that started before.
            file.seek(start - 1)
            start += len(file.readline()) - 1
        number = 0
        while start < end and (line := file.readline()):
            number += 1
            yield number, line if start else line.removeprefix(BYTE_ORDER_MARK)
            start += len(line)
