"""Files that are there whole or not at all, and JSON Lines."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

Row = Mapping[str, Any]
"""An object of a JSON Lines file."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file whose content replaces `path` at the end of the block, synced to disk.

    Readers, and a kill at any moment, see the old content or the new; an error keeps the old.

    Raises:
        OSError: The file, which the error names, cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by a text in UTF-8; see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def sync(path: Path) -> None:
    """Make a file or folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file that was checked before, or that we wrote; blank lines go."""
    content = path.read_text(encoding="utf-8-sig")
    return [json.loads(line) for line in content.split("\n") if line.strip()]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one object a line; see `replacing`."""
    with replacing(path) as file:
        file.writelines(f"{json.dumps(row)}\n".encode() for row in rows)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Write an object on a line of its own at the end, also after a line that a kill cut off."""
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.write(f"{json.dumps(row)}\n".encode())


def whole_lines(path: Path) -> list[str]:
    """Return the lines of a file that is appended to, without a last one that was cut off.

    A file that does not exist has none.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as file:
        return [line for line in file if line.endswith("\n")]


def read_appended(path: Path) -> list[dict[str, Any]]:
    """Return the rows that `append_row` wrote; a line that a kill cut off is left out.

    A file that does not exist has none.
    """
    rows: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    for line in lines:
        with suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows
