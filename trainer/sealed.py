"""Files that are sealed with a manifest of hashes, and trusted only if every hash still fits."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data.files import FULL, DiskFullError, sync

STATE_NAME = "state.json"
MANIFEST_NAME = "MANIFEST.json"
STEP_NAME = re.compile(r"step_(\d{6,})")
_NUM_HASH_THREADS = 4


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or must not be used; the message names the file."""


class CheckpointFullError(CheckpointError):
    """There is no room for a checkpoint.

    Args:
        has_begun: whether the learner had begun to write.
    """

    def __init__(self, message: str, has_begun: bool = True) -> None:
        super().__init__(message)
        self.begun = has_begun


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files were verified."""

    step: int
    """Loop steps that were done when it was written."""
    path: Path
    """Its folder, with the files that the learner wrote."""
    state: Mapping[str, Any]
    """What the loop handed to `publish`."""


def verify(path: Path) -> Checkpoint:
    """Return the checkpoint in `path` after checking all its files against its manifest.

    Every file must be listed, have the listed size and sha256, be a regular file of this user that
    not everyone may write, and lie inside the folder.

    Raises:
        CheckpointError: the first thing that is wrong, with the file's path.
    """
    match = STEP_NAME.fullmatch(path.name)
    if not match:
        raise CheckpointError(f"{path}: not a checkpoint; the name must be like step_000010")
    check_trusted(path)
    present = files_below(path)
    listed = _read_manifest(path, int(match.group(1)))
    for name in sorted(present.keys() ^ {*listed, MANIFEST_NAME}):
        problem = "not listed in the manifest" if name in present else "missing"
        raise CheckpointError(f"{path / name}: {problem}")
    for name, (size, _) in listed.items():
        if present[name] != size:
            raise CheckpointError(f"{path / name}: has {present[name]} bytes instead of {size}")
    for name, digest in _hashes(path, listed).items():
        if digest != listed[name][1]:
            raise CheckpointError(f"{path / name}: content changed since it was written (sha256)")
    state = read_json(path / STATE_NAME)
    return Checkpoint(step=int(match.group(1)), path=path, state=state)


def seal(folder: Path, step: int) -> None:
    """Hash and sync everything in `folder` and write its manifest."""
    for directory, _, names in os.walk(folder):
        for entry in (Path(directory), *(Path(directory, name) for name in names)):
            with naming(entry):
                # A permissive umask must not make our own checkpoint untrusted on resume.
                if not entry.is_symlink():
                    entry.chmod(entry.stat().st_mode & 0o7775)
    sizes = files_below(folder)
    digests = _hashes(folder, sizes)
    files = {name: {"sha256": digests[name], "size": sizes[name]} for name in sorted(sizes)}
    write_json(folder / MANIFEST_NAME, {"format": 1, "step": step, "files": files})
    for directory, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_named(Path(directory, name))
        sync_named(Path(directory))


def files_below(folder: Path) -> dict[str, int]:
    """Return relative path -> size of every file; refuse links and foreign files."""
    sizes: dict[str, int] = {}
    for directory, folders, names in os.walk(folder):
        for name in folders:
            check_trusted(Path(directory, name))
        for name in names:
            path = Path(directory, name)
            sizes[path.relative_to(folder).as_posix()] = check_trusted(path).st_size
    return sizes


def check_trusted(path: Path) -> os.stat_result:
    """Return the status of a plain file or folder that only its owner, this user, controls."""
    with naming(path):
        status = path.lstat()
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise CheckpointError(f"{path}: neither a plain file nor a folder")
    if status.st_uid != os.getuid():
        raise CheckpointError(
            f"{path}: belongs to user id {status.st_uid}, this is user id {os.getuid()}"
        )
    if status.st_mode & stat.S_IWOTH:
        raise CheckpointError(f"{path}: everyone may write it; run chmod o-w if nobody did")
    return status


def _read_manifest(path: Path, step: int) -> dict[str, tuple[int, str]]:
    """Return relative path -> (size, sha256) after checking the manifest's own form."""
    manifest = read_json(path / MANIFEST_NAME)
    where = path / MANIFEST_NAME
    if manifest.get("format") != 1 or manifest.get("step") != step:
        raise CheckpointError(f"{where}: not the manifest of step {step}")
    files = manifest.get("files")
    if not isinstance(files, dict) or STATE_NAME not in files:
        raise CheckpointError(f"{where}: lists no {STATE_NAME}")
    listed: dict[str, tuple[int, str]] = {}
    for name, entry in files.items():
        parts = PurePosixPath(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise CheckpointError(f"{where}: {name!r} leads out of the folder")
        if not isinstance(entry, dict) or entry.keys() != {"sha256", "size"}:
            raise CheckpointError(f"{where}: bad entry for {name!r}")
        listed[name] = (entry["size"], entry["sha256"])
    return listed


def _hashes(folder: Path, names: Mapping[str, Any]) -> dict[str, str]:
    """Return relative path -> sha256; hashlib lets go of the GIL, so threads help."""
    with ThreadPoolExecutor(_NUM_HASH_THREADS) as pool:
        digests = pool.map(lambda name: _sha256(folder / name), names)
        return dict(zip(names, digests, strict=True))


def _sha256(path: Path) -> str:
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object; what is not JSON data is refused."""
    try:
        text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise CheckpointError(f"{path}: the state is not JSON data: {err}") from err
    with naming(path):
        path.write_text(text + "\n", encoding="utf-8")
        path.chmod(0o644)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file."""
    try:
        with naming(path):
            value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise CheckpointError(f"{path}: not JSON: {err}") from err
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds a {type(value).__name__} instead of an object")
    return value


def sync_named(path: Path) -> None:
    """Make a file or folder durable; an error names it."""
    with naming(path):
        sync(path)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError into a CheckpointError that names `path`."""
    try:
        yield
    except OSError as err:
        if err.errno in FULL:
            raise CheckpointFullError(str(DiskFullError.of(path, err.errno))) from err
        raise CheckpointError(f"{err.filename or path}: {err.strerror or err}") from err
