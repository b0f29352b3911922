"""The annotation step: measures every clip of a manifest and writes `prosody` into its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annotate.progress import reported
from data.audio import AudioError, read_audio
from data.files import append_row, read_appended, read_rows, write_rows
from data.manifest import ManifestError
from data.prosody.levels import Clip, calibrate, describe
from data.prosody.measure import VERSION, Prosody, measure, with_transcript
from data.prosody.stress import Word, read_words
from data.records import Example
from data.workers import worker_pool


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


@dataclass(frozen=True, slots=True)
class _Result:
    key: str
    """Hash of the file, and of the alignment if there is one; empty if it could not be read."""
    prosody: Prosody | None
    """None if it is in the cache, or failed."""
    problem: str
    """Why it failed; empty if it did not."""


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
) -> Outcome:
    """Measure the clips and write a manifest whose rows have `prosody`.

    Beside the output lie `OUTPUT.cache.jsonl`, measurements by the clip's SHA-256 that a second or
    resumed run takes instead of measuring again, and, if any clip failed, `OUTPUT.errors.jsonl`.

    Args:
        manifest: the file that the examples were read from.
        examples: its rows, as `data.manifest.read_manifest` returns them.
        output: file to write, complete or not at all; may be the manifest itself. Fields other than
            `prosody` stay as they are; an old `prosody` is replaced as a whole, and is null where
            the clip failed.
        audio_root: folder that the clips' paths are relative to.
        min_duration_s: shortest clip.
        max_duration_s: longest clip.
        num_workers: processes that measure; with 1, this one does.
    """
    rows = read_rows(manifest)
    assert len(rows) == len(examples)
    cache_path = output.with_name(f"{output.name}.cache.jsonl")
    cache = _read_cache(cache_path)
    num_cached = len(cache)
    paths = list(dict.fromkeys(example.audio for example in examples))
    words = {row.get("audio") or row["audio_path"]: _words(manifest, row) for row in rows}
    tasks = [
        _Task(str(audio_root / path), words[path], min_duration_s, max_duration_s) for path in paths
    ]
    measured = _measured(tasks, frozenset(cache), num_workers)
    found = reported(measured, len(tasks), "measured {} of {} clips")
    results = dict(zip(paths, _into_cache(found, cache, cache_path), strict=True))
    problems = {example.id: results[example.audio].problem for example in examples}
    clips = {
        example.id: _clip(example, row.get("sex"), cache[results[example.audio].key])
        for example, row in zip(examples, rows, strict=True)
        if not problems[example.id]
    }
    cuts = calibrate(clips.values())
    for row in rows:
        clip = clips.get(row["id"])
        row["prosody"] = None if clip is None else describe(clip, cuts)
    _write_errors(output.with_name(f"{output.name}.errors.jsonl"), problems)
    write_rows(output, rows)
    return Outcome(len(rows), len(cache) - num_cached, len(rows) - len(clips))


def _clip(example: Example, sex: str | None, prosody: Prosody) -> Clip:
    told = with_transcript(prosody, example.transcript)
    return Clip(told, example.speaker, example.dataset, sex)


def _words(manifest: Path, row: Mapping[str, Any]) -> tuple[Word, ...]:
    try:
        return read_words(row.get("words"))
    except ValueError as error:
        raise ManifestError(f"{manifest}: row {row.get('id')!r}: {error}") from error


def _write_errors(path: Path, problems: Mapping[str, str]) -> None:
    """Write id and reason of each failure; without any, remove what an earlier run wrote."""
    failed = [{"id": name, "reason": reason} for name, reason in problems.items() if reason]
    if failed:
        write_rows(path, failed)
    else:
        path.unlink(missing_ok=True)


def _cache_row(key: str, prosody: Prosody) -> dict[str, Any]:
    return {"sha256": key, "version": VERSION, "prosody": asdict(prosody)}


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
            append_row(path, _cache_row(result.key, result.prosody))
        yield result


def _set_cached(hashes: frozenset[str]) -> None:
    global _cached
    _cached = hashes


def _measured(
    tasks: Sequence[_Task], hashes: frozenset[str], num_workers: int
) -> Iterator[_Result]:
    """Yield the result of each task, in order."""
    if num_workers == 1:
        _set_cached(hashes)
        yield from map(_measure_file, tasks)
        return
    with worker_pool(num_workers, _set_cached, hashes) as pool:
        yield from pool.map(_measure_file, tasks, chunksize=8)


def _measure_file(task: _Task) -> _Result:
    path = Path(task.path)
    try:
        key = hashlib.sha256(path.read_bytes()).hexdigest()
        if task.words:
            key += "-" + hashlib.sha256(repr(task.words).encode()).hexdigest()[:16]
        if key in _cached:
            return _Result(key, None, "")
        samples = read_audio(
            path, min_duration_s=task.min_duration_s, max_duration_s=task.max_duration_s
        )
    except (AudioError, OSError) as error:
        return _Result("", None, str(error))
    return _Result(key, measure(samples, None, task.words), "")
