"""A store of checkpoints that a kill, a full disk or a flipped bit cannot ruin.

A checkpoint is written into a hidden folder, every file is hashed and synced to disk, and one
rename makes it visible. Before a checkpoint is used, every hash is computed again. The store knows
nothing of what the files hold: the learner writes them into the folder that it is given.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from data.files import full_disk
from trainer.sealed import (
    STATE_NAME,
    STEP_NAME,
    Checkpoint,
    CheckpointError,
    CheckpointFullError,
    naming,
    read_json,
    seal,
    sync_named,
    verify,
    write_json,
)

logger = logging.getLogger(__name__)

_LEFTOVER_NAME = re.compile(r"\.step_\d{6,}\.tmp-.+")

FILES_TIMEOUT_S = 120.0
"""Longest wait for files of other nodes; NFS caches a folder's entries for up to 60 s."""

POLL_S = 0.5


class Best(NamedTuple):
    """What makes a checkpoint the best one."""

    metric: str
    """Key of a metric in the row of the checkpoint's step."""
    is_higher: bool
    """Whether higher values are better."""

    def __str__(self) -> str:
        """Return the metric and which of its values are better, for people."""
        return f"{self.metric} ({'highest' if self.is_higher else 'lowest'})"


class CheckpointStore:
    """The checkpoints of one run. Only the process that holds the run folder's lock opens it."""

    def __init__(self, root: Path, keep_last: int, best: Best | None = None) -> None:
        """Open the store, create its folder, and remove what a killed writer left behind.

        Args:
            keep_last: newest checkpoints that pruning leaves, at least 1.
            best: by what one more is left; None = none.

        Raises:
            CheckpointError: the folder cannot be created or read.
        """
        assert keep_last >= 1
        self.root = root
        self.keep_last = keep_last
        self.best = best
        with naming(root):
            root.mkdir(mode=0o755, parents=True, exist_ok=True)
            leftovers = [path for path in root.iterdir() if _LEFTOVER_NAME.fullmatch(path.name)]
        for path in leftovers:
            _delete(path)
        sync_named(root.parent)

    def begin(self, step: int) -> Path:
        """Return a new empty folder for the files of `step`; all ranks write into it.

        Raises:
            CheckpointError: the folder cannot be created.
        """
        folder = self._staging(step)
        self.discard(step)
        with naming(folder):
            folder.mkdir(mode=0o755)
        return folder

    @contextmanager
    def writing(self, step: int) -> Iterator[Path]:
        """Give a folder as `begin` does, and remove it unless the block publishes it.

        Raises:
            CheckpointFullError: the disk has no room, whatever kind of error said so: libraries
                have their own. If it has none for a checkpoint of the last one's size, the block
                is not entered.
        """
        needed = checkpoint_bytes(self.root)
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise CheckpointFullError(
                f"{self.root}: the disk is full: a checkpoint needs {needed:,} bytes, {free:,} are "
                "free",
                has_begun=False,
            )
        folder = self.begin(step)
        try:
            yield folder
        except CheckpointFullError:
            raise
        except (RuntimeError, OSError) as error:
            full = full_disk(folder) if folder.is_dir() else None
            if full is None:
                raise
            raise CheckpointFullError(str(full)) from error
        finally:
            self.discard(step)

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
            write_json(staging / STATE_NAME, state)
            seal(staging, step)
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
        with naming(target):
            staging.rename(target)
        sync_named(self.root)
        return target

    def _prune(self, step: int) -> None:
        best = self.best_path()
        older = [path for number, path in _steps(self.root) if number < step]
        for path in older[: max(0, len(older) - (self.keep_last - 1))]:
            if path == best:
                continue
            try:
                self._hide_and_delete(path)
            except CheckpointError as err:
                logger.warning(f"old checkpoint could not be removed: {err}")

    def best_path(self) -> Path | None:
        """Return the best checkpoint, the first of equals; None if none has a value."""
        if self.best is None:
            return None
        sign = 1.0 if self.best.is_higher else -1.0
        values: list[tuple[float, int, Path]] = []
        for number, path in _steps(self.root):
            try:
                score = read_json(path / STATE_NAME).get("score") or {}
            except CheckpointError:  # a bad one is not the best
                continue
            if score.get("metric") == self.best.metric and score.get("value") is not None:
                values.append((sign * float(score["value"]), -number, path))
        return max(values)[2] if values else None

    def _hide_and_delete(self, path: Path) -> None:
        # Hidden by a rename first: a kill in the middle must not leave half a checkpoint.
        hidden = self.root / f".{path.name}.tmp-old-{os.getpid()}"
        with naming(path):
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


def _delete(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as err:
        logger.warning(f"could not be removed: {err}")


def _folder_name(step: int) -> str:
    return f"step_{step:06d}"


def _steps(root: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of every published checkpoint, oldest first."""
    if not root.is_dir():
        return []
    matches = ((STEP_NAME.fullmatch(entry.name), entry) for entry in root.iterdir())
    return sorted((int(match.group(1)), entry) for match, entry in matches if match)


def newest_step(root: Path) -> int | None:
    """Return the step of the newest checkpoint, which is not read; None without one."""
    return max((step for step, _ in _steps(root)), default=None)


def checkpoint_bytes(root: Path) -> int:
    """Return the size of the newest checkpoint below a folder, in bytes; 0 without one."""
    newest = [path for _, path in _steps(root)][-1:]
    return sum(p.stat().st_size for path in newest for p in path.rglob("*") if p.is_file())
