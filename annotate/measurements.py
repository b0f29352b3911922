"""The annotation step: measures every clip of a manifest and writes `prosody` into its rows."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotate.stages import report_failures
from configs.errors import UserError
from data.audio import AudioError, read_with_note
from data.files import Row, append_row, iterate_rows, read_appended, write_rows
from data.headers import warn_of_channels
from data.manifest import ManifestError
from data.progress import reported
from data.prosody.levels import Clip, calibrate, describe, is_nobody
from data.prosody.measure import VERSION, Prosody, measure, with_transcript
from data.prosody.stress import Word, read_words
from data.records import Example
from data.workers import WorkerMap, worker_map

logger = logging.getLogger(__name__)


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


_cached: frozenset[str] = frozenset()
"""In a worker process: hashes of the clips that need no measuring."""


def annotate(
    manifest: Path,
    examples: Sequence[Example],
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
        examples: Its rows, as `data.manifest.read_manifest` returns them.
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
    cache_path = output.with_name(f"{output.name}.cache.jsonl")
    cache = _read_cache(cache_path)
    num_cached = len(cache)
    words = {
        example.audio: _words(manifest, row)
        for example, row in zip(examples, iterate_rows(manifest), strict=True)
    }
    tasks = (
        _Task(str(audio_root / path), aligned, min_duration_s, max_duration_s)
        for path, aligned in words.items()
    )
    results = clip_map(_measure_file, tasks, num_workers, _prepare, audio_root, frozenset(cache))
    results = reported(results, len(words), "measured {} of {} clips")
    results = dict(zip(words, _into_cache(results, cache, cache_path), strict=True))
    warn_of_channels([f"{audio}: {r.note}" for audio, r in results.items() if r.note])

    def rows_and_clips() -> Iterator[tuple[dict[str, Any], Clip | None]]:
        # Read anew each time: what stays in memory is one measurement for each distinct clip.
        for example, row in zip(examples, iterate_rows(manifest), strict=True):
            yield row, _clip(example, row, results[example.audio], cache)

    cuts = calibrate(clip for _, clip in rows_and_clips() if clip is not None)
    reasons = ((example.id, results[example.audio].problem) for example in examples)
    errors = [{"id": name, "reason": problem} for name, problem in reasons if problem]
    _report(output, errors, len(examples), (clip for _, clip in rows_and_clips()))
    described = (
        {**row, "prosody": clip and describe(clip, cuts)} for row, clip in rows_and_clips()
    )
    write_rows(output, described)
    return Outcome(len(examples), len(cache) - num_cached, len(errors))


def _clip(example: Example, row: Row, result: _Result, cache: Mapping[str, Prosody]) -> Clip | None:
    """Return what is known of a row's voice; None if its clip could not be measured."""
    if result.problem:
        return None
    prosody = with_transcript(cache[result.key], example.transcript)
    return Clip(prosody, example.speaker, example.dataset, row.get("sex"))


def _report(
    output: Path, errors: Sequence[Row], num_rows: int, clips: Iterable[Clip | None]
) -> None:
    """Say which rows have no prosody, and how many no level of pitch."""
    for line in report_failures(output, errors, num_rows):
        logger.info(line)
    num_nobody = sum(clip is not None and is_nobody(clip) for clip in clips)
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


def _read_cache(path: Path) -> dict[str, Prosody]:
    """Return what is cached; a line cut off by a killed run, or of another version, is left out."""
    cache: dict[str, Prosody] = {}
    for entry in read_appended(path):
        if entry["version"] == VERSION:
            stressed = entry["prosody"].pop("stressed_words")
            stressed = None if stressed is None else tuple(stressed)
            cache[entry["sha256"]] = Prosody(**entry["prosody"], stressed_words=stressed)
    return cache


def _into_cache(
    results: Iterable[_Result], cache: dict[str, Prosody], path: Path
) -> Iterator[_Result]:
    """Pass the results on, each new measurement written down first: a killed run loses none."""
    for result in results:
        if result.prosody is not None and result.key not in cache:
            cache[result.key] = result.prosody
            measured = asdict(result.prosody)
            append_row(path, {"sha256": result.key, "version": VERSION, "prosody": measured})
        yield result


def _prepare(audio_root: Path, hashes: frozenset[str]) -> None:
    """In a worker: refuse a machine without the clips, once and not clip by clip."""
    global _cached
    # A file system that is not mounted leaves an empty folder.
    if not audio_root.is_dir() or not any(audio_root.iterdir()):
        raise UserError(
            f"no clips in {audio_root}; every node has to see them under this path: put them on a "
            "file system that all nodes share, or leave the node out"
        )
    _cached = hashes


def _measure_file(task: _Task) -> _Result:
    path = Path(task.path)
    try:
        key = hashlib.sha256(path.read_bytes()).hexdigest()
        if task.words:
            key += "-" + hashlib.sha256(repr(task.words).encode()).hexdigest()[:16]
        if key in _cached:
            return _Result(key, None, "")
        samples, note = read_with_note(
            path, min_duration_s=task.min_duration_s, max_duration_s=task.max_duration_s
        )
    except (AudioError, OSError) as error:
        return _Result("", None, str(error))
    return _Result(key, measure(samples, None, task.words), "", note)
