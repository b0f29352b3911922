"""The files of a data pipeline, and which of them are done."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import write_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Files:
    """What lies in the output folder."""

    folder: Path

    @property
    def corpus(self) -> Path:
        """Rows as the corpus gives them."""
        return self.folder / "corpus.jsonl"

    @property
    def prosody(self) -> Path:
        """Rows with measurements."""
        return self.folder / "prosody.jsonl"

    @property
    def manifest(self) -> Path:
        """Rows with measurements and reasoning."""
        return self.folder / "manifest.jsonl"

    @property
    def journal(self) -> Path:
        """Every attempt at a reasoning text."""
        return self.folder / "reasoning.attempts.jsonl"

    @property
    def review(self) -> Path:
        """The sheet for people."""
        return self.folder / "review.html"

    @property
    def sft(self) -> Path:
        """The file for supervised fine-tuning."""
        return self.folder / "sft.jsonl"

    def probe(self, task: str) -> Path:
        """Held-out questions of a task."""
        return self.folder / "probes" / f"{task}.jsonl"

    @property
    def judge(self) -> Path:
        """The file for judge training."""
        return self.folder / "judge.jsonl"


class Stages:
    """Remembers which stages are done with which settings and inputs."""

    def __init__(self, folder: Path, *, dry_run: bool) -> None:
        self._path = folder / "stages.json"
        self._dry_run = dry_run
        self._done: dict[str, str] = {}
        if self._path.exists():
            self._done = json.loads(self._path.read_text(encoding="utf-8"))

    def run(self, output: Path, inputs: Mapping[str, Any], make: Callable[[], bool]) -> bool:
        """Make a file, unless it was made from the same inputs before.

        Args:
            output: The file; it names the stage.
            inputs: Everything that shapes it: settings as JSON, files as Path.
            make: Writes the file; False if it must be gone on with later.

        Returns:
            Whether the file is complete.
        """
        told = {
            name: _sha256(value) if isinstance(value, Path) else value
            for name, value in inputs.items()
        }
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        if output.exists() and self._done.get(output.name) == digest:
            logger.info(f"{output.name}: done before")
            return True
        if self._dry_run:
            logger.info(f"{output.name}: would be written")
            return True
        if not make():
            return False
        self._done[output.name] = digest
        write_atomically(self._path, json.dumps(self._done, indent=1) + "\n")
        return True


def _sha256(path: Path) -> str:
    """Return the hash of a file; empty if it is not there yet."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
