"""The annotation step: measures every clip of a manifest and writes `prosody` into its rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import compress, tee
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotate.stages import report_failures
from configs.errors import UserError
from data.audio import AudioError, read_with_note
from data.files import Row, write_rows
from data.headers import warn_of_channels
from data.manifest import CheckedManifest, ManifestError
from data.progress import reported
from data.prosody.levels import Clip, calibrate, describe, is_nobody
from data.prosody.measure import VERSION, Prosody, measure, with_transcript
from data.prosody.stress import Word, read_words
from data.records import Example, IntArray
from data.stored import Journal, StoredRows, distinct, text_hash
from data.workers import WorkerMap, worker_map

logger = logging.getLogger(__name__)

NOT_MEASURED = -1
"""Stands for the place of a measurement that there is not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a manifest."""

    num_clips: int
    """Its rows."""
    num_measured: int
    """Clips that were read and measured now; the others came from the cache or failed."""
    num_failed: int
    """Rows whose clip could not be measured; they stand in the errors file."""


@dataclass(frozen=True, slots=True)
class _Task:
    path: str
    audio: str
    """The path as the row has it."""
    words: tuple[Word, ...]
    min_duration_s: float
    max_duration_s: float

    def __str__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class _Result:
    key: str
    """Hash of the file, and of the alignment if there is one; empty if it could not be read."""
    prosody: Prosody | None
    """None if it is in the cache, or failed."""
    problem: str
    """Why it failed; empty if it did not."""
    note: str = ""
    """What is odd about the channels of a clip that was measured now; empty if nothing is."""


_cached: NDArray[np.uint64] = np.zeros(0, np.uint64)
"""In a worker process: hashes of the keys of clips that need no measuring, ascending."""


def annotate(
    manifest: Path,
    examples: Sequence[Example] | CheckedManifest,
    output: Path,
    *,
    audio_root: Path,
    min_duration_s: float,
    max_duration_s: float,
    num_workers: int,
    clip_map: WorkerMap = worker_map,
) -> Outcome:
    """Measure the clips and write a manifest whose rows have `prosody`.

    Beside the output lie `OUTPUT.cache.jsonl`, measurements by the clip's SHA-256 that a second or
    resumed run takes instead of measuring again, and, if any clip failed, `OUTPUT.errors.jsonl`.

    Args:
        manifest: The file that the examples were read from.
        examples: Its rows, checked. They are read a few times; of each, some numbers are in memory.
        output: File to write, complete or not at all; may be the manifest itself. Fields other than
            `prosody` stay as they are; an old `prosody` is replaced as a whole, and is null where
            the clip failed.
        audio_root: Folder that the clips' paths are relative to.
        min_duration_s, max_duration_s: Shortest and longest clip.
        num_workers: Processes that measure; with 1, this one does.
        clip_map: What spreads the clips over processes, of this machine or of a cluster.

    Raises:
        UserError: More than half of the clips cannot be measured, or a process does not see them.
    """
    cache = _Cache(output.with_name(f"{output.name}.cache.jsonl"))
    voices = _Voices(manifest, examples, cache)
    tasks = (
        _Task(str(audio_root / audio), audio, words, min_duration_s, max_duration_s)
        for audio, words in voices.clips()
    )
    measuring, waiting = tee(tasks)
    hashes = cache.places.hashes()
    results = clip_map(_measure_file, measuring, num_workers, _prepare, audio_root, hashes)
    results = reported(results, voices.num_clips, "measured {} of {} clips")
    warn_of_channels(voices.take(zip(waiting, results, strict=True)))
    cuts = calibrate(voices.measured())
    errors = voices.errors()
    _report(output, errors, len(examples), voices.num_nobody)
    described = (
        {**row, "prosody": voice and describe(voice, cuts)} for row, voice in voices.of_rows()
    )
    write_rows(output, described)
    return Outcome(len(examples), cache.num_new, len(errors))


class _Voices:
    """What is known of the clips of some rows: of each, where its measurement is."""

    def __init__(
        self, manifest: Path, examples: Sequence[Example] | CheckedManifest, cache: _Cache
    ) -> None:
        self._manifest = manifest
        self._examples = examples
        self._rows = StoredRows.of(manifest)
        self._cache = cache

        def names() -> Iterator[str]:
            for example, row in zip(examples, self._rows, strict=True):
                _words(manifest, row)  # refused before anything is measured
                yield example.audio

        self._numbers, self._is_first = distinct(names())
        """Of each row, the number of its clip, in the order in which they come first."""
        self.num_clips = int(self._is_first.sum())
        self._starts = np.full(self.num_clips, NOT_MEASURED)
        self._problems: dict[int, str] = {}
        self.num_nobody = 0

    def clips(self) -> Iterator[tuple[str, tuple[Word, ...]]]:
        """Yield the path of each clip, and its words as the last of its rows has them."""
        last: IntArray = np.zeros(self.num_clips, np.int64)
        last[self._numbers] = np.arange(len(self._numbers))
        firsts = compress(self._examples, self._is_first)
        for example, place in zip(firsts, last, strict=True):
            yield example.audio, _words(self._manifest, self._rows[int(place)])

    def take(self, results: Iterable[tuple[_Task, _Result]]) -> list[str]:
        """Remember what became of the clips, and return what is odd about their channels."""
        notes: list[str] = []
        for number, (task, result) in enumerate(results):
            if result.problem:
                self._problems[number] = result.problem
            else:
                self._starts[number] = self._cache.start_of(task, result)
            if result.note:
                notes.append(f"{task.audio}: {result.note}")
        return notes

    def of_rows(self) -> Iterator[tuple[dict[str, Any], Clip | None]]:
        """Yield each row, and its clip unless that could not be measured."""
        for example, row, number in zip(self._examples, self._rows, self._numbers, strict=True):
            start = int(self._starts[number])
            if start == NOT_MEASURED:
                yield row, None
            else:
                prosody = with_transcript(self._cache.prosody(start), example.transcript)
                yield row, Clip(prosody, example.speaker, example.dataset, row.get("sex"))

    def measured(self) -> Iterator[Clip]:
        """Yield the clips of all rows, and count those of nobody."""
        for _, clip in self.of_rows():
            if clip is not None:
                self.num_nobody += is_nobody(clip)
                yield clip

    def errors(self) -> list[dict[str, str]]:
        """Return `id` and `reason` of the rows whose clip could not be measured."""
        rows = zip(self._examples, self._numbers, strict=True) if self._problems else ()
        named = ((example.id, self._problems.get(int(number))) for example, number in rows)
        return [{"id": name, "reason": problem} for name, problem in named if problem]


def _report(output: Path, errors: Sequence[Row], num_rows: int, num_nobody: int) -> None:
    """Say which rows have no prosody, and how many no level of pitch."""
    for line in report_failures(output, errors, num_rows):
        logger.info(line)
    if num_nobody:
        logger.info(
            f"{num_nobody} clips have no level of pitch: neither speaker nor sex is known, and "
            "beside a whole data set `high` would mean a woman"
        )


def _words(manifest: Path, row: Row) -> tuple[Word, ...]:
    try:
        return read_words(row.get("words"))
    except ValueError as error:
        raise ManifestError(f"{manifest}: row {row.get('id')!r}: {error}") from error


class _Cache(Journal):
    """Measurements by the hash of the clip; those of another version count for nothing."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, lambda row: row["sha256"] if row["version"] == VERSION else "")
        self.num_new = 0
        """Measurements that were not there before."""

    def start_of(self, task: _Task, result: _Result) -> int:
        """Return where a measurement begins, a new one written down first: a kill loses none.

        Raises:
            UserError: Two clips have one hash, which no two of a billion have by chance.
        """
        entry = self.find(result.key)
        if entry is not None:
            return entry[0]
        if result.prosody is None:
            raise UserError(f"{task.path}: is taken for another clip in {self.path}; remove that")
        self.num_new += 1
        measured = asdict(result.prosody)
        return self.add({"sha256": result.key, "version": VERSION, "prosody": measured})

    def prosody(self, start: int) -> Prosody:
        """Return the measurement that begins at a byte."""
        measured = self.at(start)["prosody"]
        stressed = measured.pop("stressed_words")
        stressed = None if stressed is None else tuple(stressed)
        return Prosody(**measured, stressed_words=stressed)


def _prepare(audio_root: Path, hashes: NDArray[np.uint64]) -> None:
    """In a worker: refuse a machine without the clips, once and not clip by clip."""
    global _cached
    # A file system that is not mounted leaves an empty folder.
    if not audio_root.is_dir() or not any(audio_root.iterdir()):
        raise UserError(
            f"no clips in {audio_root}; every node has to see them under this path: put them on a "
            "file system that all nodes share, or leave the node out"
        )
    _cached = hashes


def measurement_key(content: bytes, words: tuple[Word, ...]) -> str:
    """Return what a measurement is cached by: a hash of the file, and of its alignment if any."""
    key = hashlib.sha256(content).hexdigest()
    return f"{key}-{hashlib.sha256(repr(words).encode()).hexdigest()[:16]}" if words else key


def _measure_file(task: _Task) -> _Result:
    path = Path(task.path)
    try:
        key = measurement_key(path.read_bytes(), task.words)
        if _is_cached(key):
            return _Result(key, None, "")
        samples, note = read_with_note(
            path, min_duration_s=task.min_duration_s, max_duration_s=task.max_duration_s
        )
    except (AudioError, OSError) as error:
        return _Result("", None, str(error))
    return _Result(key, measure(samples, None, task.words), "", note)


def _is_cached(key: str) -> bool:
    wanted = np.uint64(text_hash(key))
    place = int(np.searchsorted(_cached, wanted))
    return place < len(_cached) and bool(_cached[place] == wanted)
