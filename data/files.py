"""Files that are there whole or not at all, and JSON Lines."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Error numbers of a full disk, a used-up quota and a limit on the size of files."""

PROBE_BYTES = 2**20

Row = Mapping[str, Any]
"""An object of a JSON Lines file."""


class DiskFullError(OSError):
    """There is no room left; the message says where, why, and how much is free."""

    def __str__(self) -> str:
        """Return the path and what is the matter, without the error's number."""
        return f"{self.filename}: {self.strerror}"

    @classmethod
    def of(cls, path: Path, number: int, needed: int = 0) -> DiskFullError:
        """Make the error of a path.

        Args:
            number: Error number, one of `FULL`.
            needed: Bytes that were to be written; 0 = unknown.
        """
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        needs = f"needs {needed:,} bytes, " if needed else ""
        what = "the disk is full"
        if number == errno.EFBIG:
            what += " or a limit on the size of files (ulimit -f) is reached"
        elif number == errno.EDQUOT:
            what += " for this user (quota)"
        return cls(number, f"{os.strerror(number)}: {what} ({needs}{free:,} are free)", str(path))


def named_error(path: Path, error: OSError, needed: int = 0) -> OSError:
    """Return an error that names a path; a `DiskFullError` where the disk is full."""
    if isinstance(error, DiskFullError):
        return error
    if error.errno in FULL:
        return DiskFullError.of(path, error.errno, needed)
    return type(error)(error.errno, error.strerror, str(path))


def full_disk(folder: Path, needed: int = PROBE_BYTES) -> DiskFullError | None:
    """Return the error of a folder in which there is no room for a file of some bytes, else None.

    For libraries that report a full disk as an error of another kind. What they were writing should
    still be there.
    """
    largest = max((p.stat().st_size for p in folder.rglob("*") if p.is_file()), default=0)
    needed += largest
    probe = folder / f".probe-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, needed)
    except OSError as error:
        if error.errno in FULL:
            return DiskFullError.of(folder, error.errno, needed)
    finally:
        probe.unlink(missing_ok=True)
    return None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file whose content replaces `path` at the end of the block, synced to disk.

    Readers, and a kill at any moment, see the old content or the new; an error keeps the old.

    Raises:
        DiskFullError: There is no room for it.
        OSError: The file, which the error names, cannot be written for another reason.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise named_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by a text in UTF-8; see `replacing`."""
    with replacing(path) as file:
        file.write(text.encode())


def overwrite(path: Path, text: str) -> None:
    """Write a short text over a file in its own blocks, which needs no room on a full disk.

    A kill in the middle may leave a mixture; `write_atomically` is the first choice.

    Raises:
        DiskFullError: There is no room even so, as under a limit on the size of files. The file
            holds a part of the text; write a shorter one.
    """
    try:
        with path.open("r+b", buffering=0) as file:
            _write_whole(file, text.encode())
            file.truncate()
            os.fsync(file.fileno())
    except OSError as error:
        raise named_error(path, error) from error


def _write_whole(file: FileIO, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += file.write(content[written:])


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
    digest = hashlib.sha256()
    # For clips of some 100 kB, an unbuffered read is a tenth faster than hashlib.file_digest.
    with path.open("rb", buffering=0) as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def iterate_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file that was checked before, or that we wrote; blank lines go.

    One row is in memory at a time. A file that is replaced meanwhile is read to its old end.
    """
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return what `iterate_rows` yields."""
    return list(iterate_rows(path))


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one object a line; see `replacing`."""
    with replacing(path) as file:
        file.writelines(json_lines(rows))


def json_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield one object a line, as `write_rows` writes them."""
    return (f"{json.dumps(row)}\n".encode() for row in rows)


def append_row(path: Path, row: Mapping[str, Any]) -> int:
    """Write an object on a line of its own at the end, also after a line that a kill cut off.

    The line is there whole or not at all, unless the process is killed in the middle.

    Returns:
        The byte at which the line starts.

    Raises:
        DiskFullError: There is no room for it.
        OSError: The file, which the error names, cannot be written for another reason.
    """
    line = f"{json.dumps(row)}\n".encode()
    try:
        with path.open("ab+", buffering=0) as file:
            end = file.tell()
            if end:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            try:
                _write_whole(file, line)
            except OSError:
                file.truncate(end)
                raise
            return end + line.startswith(b"\n")
    except OSError as error:
        raise named_error(path, error, len(line)) from error


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
    return [row for _, row in iterate_appended(path)]


def iterate_appended(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of `read_appended`, one in memory at a time, each after its first byte."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = 0
        for line in file:
            with suppress(json.JSONDecodeError):
                yield start, json.loads(line)
            start += len(line)
