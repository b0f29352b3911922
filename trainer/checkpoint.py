"""A store of checkpoints that a kill, a full disk or a flipped bit cannot ruin.

A checkpoint is written into a hidden folder, every file is hashed and synced to disk, and one
rename makes it visible. Before a checkpoint is used, every hash is computed again. The store knows
nothing of what the files hold: the learner writes them into the folder that it is given.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from data.files import sync

logger = logging.getLogger(__name__)

STATE_NAME = "state.json"
MANIFEST_NAME = "MANIFEST.json"
_STEP_NAME = re.compile(r"step_(\d{6,})")
_LEFTOVER_NAME = re.compile(r"\.step_\d{6,}\.tmp-.+")
_NUM_HASH_THREADS = 4

FILES_TIMEOUT_S = 120.0
"""Longest wait for files of other nodes; NFS caches a folder's entries for up to 60 s."""

POLL_S = 0.5


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or must not be used; the message names the file."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose files were verified."""

    step: int
    """Loop steps that were done when it was written."""
    path: Path
    """Its folder, with the files that the learner wrote."""
    state: Mapping[str, Any]
    """What the loop handed to `publish`."""


class CheckpointStore:
    """The checkpoints of one run. Only the process that holds the run folder's lock opens it."""

    def __init__(self, root: Path, keep_last: int) -> None:
        """Open the store, create its folder, and remove what a killed writer left behind.

        Args:
            keep_last: newest checkpoints that pruning leaves, at least 1.

        Raises:
            CheckpointError: the folder cannot be created or read.
        """
        assert keep_last >= 1
        self.root = root
        self.keep_last = keep_last
        with _naming(root):
            root.mkdir(mode=0o755, parents=True, exist_ok=True)
            leftovers = [path for path in root.iterdir() if _LEFTOVER_NAME.fullmatch(path.name)]
        for path in leftovers:
            _delete(path)
        _sync(root.parent)

    def begin(self, step: int) -> Path:
        """Return a new empty folder for the files of `step`; all ranks write into it.

        Raises:
            CheckpointError: the folder cannot be created.
        """
        folder = self._staging(step)
        self.discard(step)
        with _naming(folder):
            folder.mkdir(mode=0o755)
        return folder

    def publish(
        self, step: int, state: Mapping[str, Any], files: Mapping[str, int] | None = None
    ) -> Path:
        """Make what was written since `begin(step)` a checkpoint, and return its folder.

        Old checkpoints are pruned. A good checkpoint of this step that exists already is kept as it
        is; a bad one is replaced. If anything fails, the new files are removed and older
        checkpoints stay.

        Args:
            state: JSON data of the loop: counters, data cursor, schedule, random generators.
            files: path below the folder -> bytes of what other nodes wrote there. They are waited
                for: a shared file system may show them here some seconds later.

        Raises:
            CheckpointError: a file cannot be written or synced (disk full, quota), or could not be
                trusted on resume (wrong owner, a link).
        """
        staging = self._staging(step)
        assert staging.is_dir(), f"begin({step}) comes before publish({step})"
        try:
            _await_files(staging, files or {})
            _write_json(staging / STATE_NAME, state)
            _seal(staging, step)
            target = self._put_in_place(staging, step)
        finally:
            self.discard(step)
        self._prune(step)
        return target

    def discard(self, step: int) -> None:
        """Remove what was written since `begin(step)`; nothing happens after `publish(step)`.

        Call it when the learner failed to write its files. Files that cannot be removed cost a
        warning.
        """
        if self._staging(step).exists():
            _delete(self._staging(step))

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint whose files verify, or None in a store without any.

        A bad one is skipped with a line that says why.

        Raises:
            CheckpointError: there are checkpoints and none is usable; starting over silently would
                throw the run away.
        """
        return latest_checkpoint(self.root)

    def _staging(self, step: int) -> Path:
        return self.root / f".{_folder_name(step)}.tmp-{os.getpid()}"

    def _put_in_place(self, staging: Path, step: int) -> Path:
        target = self.root / _folder_name(step)
        if target.exists():
            try:
                verify(target)
            except CheckpointError as err:
                logger.info(f"replacing a bad checkpoint: {err}")
                self._hide_and_delete(target)
            else:
                return target
        with _naming(target):
            staging.rename(target)
        _sync(self.root)
        return target

    def _prune(self, step: int) -> None:
        older = [path for number, path in _steps(self.root) if number < step]
        for path in older[: max(0, len(older) - (self.keep_last - 1))]:
            try:
                self._hide_and_delete(path)
            except CheckpointError as err:
                logger.warning(f"old checkpoint could not be removed: {err}")

    def _hide_and_delete(self, path: Path) -> None:
        # Hidden by a rename first: a kill in the middle must not leave half a checkpoint.
        hidden = self.root / f".{path.name}.tmp-old-{os.getpid()}"
        with _naming(path):
            path.rename(hidden)
        _delete(hidden)


def latest_checkpoint(root: Path) -> Checkpoint | None:
    """Return the newest verified checkpoint below `root`, which need not exist; nothing is changed.

    Raises:
        CheckpointError: there are checkpoints and none is usable.
    """
    reasons: list[str] = []
    for _, path in reversed(_steps(root)):
        try:
            return verify(path)
        except CheckpointError as err:
            reasons.append(str(err))
            logger.warning(f"checkpoint skipped: {err}")
    if reasons:
        raise CheckpointError(
            f"{root}: none of {len(reasons)} checkpoints is usable; delete them to start over: "
            + "; ".join(reasons)
        )
    return None


def verify(path: Path) -> Checkpoint:
    """Return the checkpoint in `path` after checking all its files against its manifest.

    Every file must be listed, have the listed size and sha256, be a regular file of this user that
    not everyone may write, and lie inside the folder.

    Raises:
        CheckpointError: the first thing that is wrong, with the file's path.
    """
    match = _STEP_NAME.fullmatch(path.name)
    if not match:
        raise CheckpointError(f"{path}: not a checkpoint; the name must be like step_000010")
    _check_trusted(path)
    present = _files_below(path)
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
    state = _read_json(path / STATE_NAME)
    return Checkpoint(step=int(match.group(1)), path=path, state=state)


def _await_files(folder: Path, expected: Mapping[str, int]) -> None:
    """Wait until this node sees the files of all nodes in full."""
    deadline = time.monotonic() + FILES_TIMEOUT_S
    while missing := [name for name, size in expected.items() if _size(folder / name) != size]:
        if time.monotonic() > deadline:
            raise CheckpointError(
                f"{folder / missing[0]}: written by a learner rank, but not seen here in "
                f"{FILES_TIMEOUT_S:g} s (and {len(missing) - 1} others); output_dir must be on a "
                "file system that all nodes share"
            )
        time.sleep(POLL_S)


def _size(path: Path) -> int:
    """Return the bytes of a file, -1 if there is none."""
    return path.stat().st_size if path.exists() else -1


def _seal(folder: Path, step: int) -> None:
    """Hash and sync everything in `folder` and write its manifest."""
    for directory, _, names in os.walk(folder):
        for entry in (Path(directory), *(Path(directory, name) for name in names)):
            with _naming(entry):
                # A permissive umask must not make our own checkpoint untrusted on resume.
                if not entry.is_symlink():
                    entry.chmod(entry.stat().st_mode & 0o7775)
    sizes = _files_below(folder)
    digests = _hashes(folder, sizes)
    files = {name: {"sha256": digests[name], "size": sizes[name]} for name in sorted(sizes)}
    _write_json(folder / MANIFEST_NAME, {"format": 1, "step": step, "files": files})
    for directory, _, names in os.walk(folder, topdown=False):
        for name in names:
            _sync(Path(directory, name))
        _sync(Path(directory))


def _files_below(folder: Path) -> dict[str, int]:
    """Return relative path -> size of every file; refuse links and foreign files."""
    sizes: dict[str, int] = {}
    for directory, folders, names in os.walk(folder):
        for name in folders:
            _check_trusted(Path(directory, name))
        for name in names:
            path = Path(directory, name)
            sizes[path.relative_to(folder).as_posix()] = _check_trusted(path).st_size
    return sizes


def _check_trusted(path: Path) -> os.stat_result:
    """Return the status of a plain file or folder that only its owner, this user, controls."""
    with _naming(path):
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
    manifest = _read_json(path / MANIFEST_NAME)
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
    with _naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    try:
        text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise CheckpointError(f"{path}: the state is not JSON data: {err}") from err
    with _naming(path):
        path.write_text(text + "\n", encoding="utf-8")
        path.chmod(0o644)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        with _naming(path):
            value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as err:
        raise CheckpointError(f"{path}: not JSON: {err}") from err
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: holds a {type(value).__name__} instead of an object")
    return value


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as err:
        logger.warning(f"could not be removed: {err}")


def _sync(path: Path) -> None:
    with _naming(path):
        sync(path)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn an OSError into a CheckpointError that names `path`."""
    try:
        yield
    except OSError as err:
        raise CheckpointError(f"{err.filename or path}: {err.strerror or err}") from err


def _folder_name(step: int) -> str:
    return f"step_{step:06d}"


def _steps(root: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of every published checkpoint, oldest first."""
    if not root.is_dir():
        return []
    matches = ((_STEP_NAME.fullmatch(entry.name), entry) for entry in root.iterdir())
    return sorted((int(match.group(1)), entry) for match, entry in matches if match)
