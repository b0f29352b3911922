"""The files of a data pipeline, and the stages that write them, each done once."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import UserError
from data.files import Row, file_sha256, write_atomically, write_rows

logger = logging.getLogger(__name__)

MAX_REASONS = 5
"""Reasons of lost clips that are told one by one; the rest is counted."""


class Files:
    """What lies in the output folder."""

    def __init__(self, folder: Path) -> None:
        """Name the files; none has to be there."""
        self.folder = folder
        self.corpus = folder / "corpus.jsonl"
        """Rows as the corpus gives them."""
        self.facts = folder / "corpus.jsonl.cache.jsonl"
        """Duration and hash of every clip, by its name, size and time."""
        self.clips = folder / "clips"
        """Clips that a source holds itself, or parts of its recordings."""
        self.prosody = folder / "prosody.jsonl"
        """Rows with measurements."""
        self.manifest = folder / "manifest.jsonl"
        """Rows with measurements and reasoning."""
        self.journal = folder / "reasoning.attempts.jsonl"
        """Every attempt at a reasoning text."""
        self.review = folder / "review.html"
        """The sheet for people."""
        self.sft = folder / "sft.jsonl"
        """The file for supervised fine-tuning."""
        self.judge = folder / "judge.jsonl"
        """The file for judge training."""

    def probe(self, task: str) -> Path:
        """Held-out questions of a task."""
        return self.folder / "probes" / f"{task}.jsonl"


class UnfinishedError(Exception):
    """A stage that the same command goes on with; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a pipeline."""

    output: Path
    """The file that it writes; it names the stage."""
    inputs: Mapping[str, Any]
    """Everything that shapes the file: settings as JSON, files as Path."""
    make: Callable[[], None]
    """Writes the file. Raises UnfinishedError."""

    def digest(self) -> str:
        """Return a hash of the settings and of what the input files hold."""
        inputs = {
            name: (file_sha256(value) if value.exists() else "")
            if isinstance(value, Path)
            else value
            for name, value in self.inputs.items()
        }
        return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def run_stages(stages: Iterable[Stage], record: Path, *, dry_run: bool) -> bool:
    """Run one stage after another; a file that was made from the same inputs before is kept.

    The record, a JSON file, remembers these. A dry run only says what it would write.

    Returns:
        Whether all are complete.
    """
    done = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for stage in stages:
        name, digest = stage.output.name, stage.digest()
        if stage.output.exists() and done.get(name) == digest:
            logger.info(f"{name}: done before")
        elif dry_run:
            logger.info(f"{name}: would be written")
        else:
            try:
                stage.make()
            except UnfinishedError as error:
                logger.info(f"{error}; run the same command again to go on")
                return False
            done[name] = digest
            write_atomically(record, json.dumps(done, indent=1) + "\n")
    return True


def digest_of_tree(root: Path, *, leave_out: Path) -> str:
    """Return a digest of names, sizes and times of all files below a folder, but for one folder.

    Links are followed, each folder once, and count with the place that they lead to: of two files
    in a store, sizes and times may be the same.
    """
    digest = hashlib.sha256()
    seen = {os.path.realpath(root), os.path.realpath(leave_out)}
    for folder, below, names in os.walk(root, followlinks=True):
        new: list[str] = []
        for name in sorted(below):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if os.path.islink(path):
                digest.update(f"{path} -> {real}\n".encode("utf-8", "surrogateescape"))
            if real not in seen:
                seen.add(real)
                new.append(name)
        below[:] = new
        for name in sorted(names):
            line = _file_line(os.path.join(folder, name))
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _file_line(path: str) -> str:
    leads_to, facts = "", os.lstat(path)
    if stat.S_ISLNK(facts.st_mode):
        leads_to = f"{os.path.realpath(path)}/"
        try:
            facts = os.stat(path)
        except OSError:
            return f"{path}/{leads_to}absent\n"
    return f"{path}/{leads_to}{facts.st_size}/{facts.st_mtime_ns}\n"


def write_errors(output: Path, errors: Iterable[Row]) -> Path:
    """Write `id` and `reason` of what failed beside a file; without any, remove an earlier list."""
    path = output.with_name(f"{output.name}.errors.jsonl")
    write_rows(path, errors)
    if not path.stat().st_size:
        path.unlink()
    return path


def report_failures(output: Path, failed: Sequence[Row], num_clips: int) -> list[str]:
    """Write what failed beside a file, and return how much it is: a line a reason, most first.

    Args:
        output: File that the clips would have gone into.
        failed: `id` and `reason` of each clip that cannot be used.
        num_clips: How many there are, those included.

    Raises:
        UserError: More than half of the clips are lost.
    """
    path = write_errors(output, failed)
    if not failed:
        return []
    alike: dict[str, list[Row]] = {}
    for row in failed:
        # Paths and numbers differ from clip to clip.
        alike.setdefault(re.sub(r"\d[\d.,]*", "N", _without_path(row["reason"])), []).append(row)
    ordered = sorted(alike.values(), key=len, reverse=True)
    lines = [f"cannot be used: {len(failed)} of {num_clips} clips, all of them in {path}"]
    lines += [
        f"  {len(rows)} clips, such as {rows[0]['id']}: {_without_path(rows[0]['reason'])}"
        for rows in ordered[:MAX_REASONS]
    ]
    if len(ordered) > MAX_REASONS:
        rest = sum(map(len, ordered[MAX_REASONS:]))
        lines.append(f"  {rest} clips for {len(ordered) - MAX_REASONS} other reasons")
    if len(failed) > num_clips / 2:
        raise UserError("\n".join(["more than half of the clips are lost", *lines]))
    return lines


def _without_path(reason: str) -> str:
    return re.sub(r"(^|\()[^:()]*/[^:()]*: ", r"\1", reason)
