"""Everything that is wrong or odd in a corpus, found before a run meets it.

A problem stops a run, or would train it on something else than the manifest says; a warning is
worth a look. Nothing is repaired.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from data.audio import AudioError, probe, read_with_note
from data.files import Row, file_sha256
from data.labels import alike_labels
from data.progress import reported
from data.records import FloatArray
from data.stored import HashMap, StoredRows, distinct, text_hash
from data.workers import thread_map

PROBLEMS = {
    "clip": "cannot be used",
    "changed": "is not the file that the manifest describes",
    "split": "a split that cannot be trained on",
}
"""Kinds of findings that make a check fail."""

WARNINGS = {
    "quiet": "never louder than -40 dB of full scale",
    "clipping": "samples at full scale",
    "offset": "the wave is not centred on zero",
    "channels": "a silent channel, or channels of opposite sign",
    "duplicate": "the same file twice in a split",
    "labels": "labels that read alike and count as several",
}
"""Kinds of findings that are counted."""

QUIET_PEAK = 0.01
"""Largest distance from the mean of a clip that is quiet: -40 dB of full scale."""

FULL_SCALE = 0.999
"""Samples from here on are at full scale."""

CLIPPED_FRAC = 0.001
"""Share of samples at full scale from which a clip is clipped. A clip that was only scaled to full
scale has a few at its loudest peaks."""

OFFSET = 0.01
"""Mean of a clip from which it has an offset."""

DURATION_TOLERANCE_S = 0.01
"""How far a clip's length may be from its row's `duration_s`."""

MAX_EXAMPLES = 3
"""Warnings of a kind that are described; the rest is counted."""

_MEND = "the file changed since the manifest was written; restore it, or write the manifest again"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong or odd, in one row or in a whole split."""

    kind: str
    """One of `PROBLEMS` or `WARNINGS`."""
    id: str | None
    """The row; None if it is about a split."""
    audio: str | None
    """Path of its clip, relative to the audio root."""
    message: str
    """What was found and what to do."""

    @property
    def is_problem(self) -> bool:
        """Whether it makes a check fail."""
        return self.kind in PROBLEMS


@dataclass(frozen=True, slots=True)
class _File:
    """What one file turned out to be."""

    problem: str
    """Why it cannot be used; empty if it can."""
    oddities: Sequence[Sequence[str]]
    """Kind and message of each warning."""
    duration_s: float | None
    sha256: str | None
    """None if it cannot be opened."""


def check_clips_fully(
    rows: Sequence[Row],
    audio_root: Path,
    *,
    min_duration_s: float,
    max_duration_s: float,
    num_workers: int,
) -> list[Finding]:
    """Decode every clip and return what is wrong or odd about each row, in the order of the rows.

    Args:
        rows: As `data.manifest.read_leniently` yields them. `sha256` and `duration_s` (in seconds)
            are compared with the file where a row has them. A clip that several rows share is read
            once.
        audio_root: Folder that the clips' paths are relative to.
        min_duration_s: Shortest clip.
        max_duration_s: Longest clip.
        num_workers: Threads.
    """

    def inspect(audio: str) -> _File:
        return _inspect(audio_root / audio, min_duration_s, max_duration_s)

    numbers, is_first = distinct(row["audio"] for row in rows)
    clips = (row["audio"] for row in compress(rows, is_first))
    inspected = reported(
        thread_map(inspect, clips, num_workers), int(is_first.sum()), "decoded {} of {} clips"
    )
    files = StoredRows.spooled(map(asdict, inspected))
    findings: list[Finding] = []
    first = HashMap()  # of a split and a file -> place of the row
    for place, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        file = _File(**files[int(number)])
        faults = [*_faults(row, file), *file.oddities]
        key = text_hash(f"{row.get('split')!r} {file.sha256}")
        earlier = first.get(key) if file.sha256 else None
        if earlier is not None:
            where = f"in split {row['split']!r}" if "split" in row else "without a split"
            like = rows[earlier]["id"]
            faults.append(("duplicate", f"is the same file as {like!r}, both {where}"))
        elif file.sha256:
            first.put(key, place)
        findings += [Finding(kind, row["id"], row["audio"], text) for kind, text in faults]
    return findings


def _faults(row: Row, file: _File) -> Iterator[tuple[str, str]]:
    """Yield kind and message of what is wrong with a row's file."""
    if file.problem:
        yield "clip", file.problem
    sha256, duration_s = row.get("sha256"), row.get("duration_s")
    if file.sha256 and sha256 is not None and sha256 != file.sha256:
        sums = f"has SHA-256 {file.sha256[:12]}... and the row says {sha256[:12]}..."
        yield "changed", f"{sums}: {_MEND}"
    if duration_s is not None and file.duration_s is not None:
        is_number = isinstance(duration_s, int | float) and not isinstance(duration_s, bool)
        if not is_number or abs(duration_s - file.duration_s) > DURATION_TOLERANCE_S:
            lengths = f"lasts {file.duration_s:.3f} s and the row's duration_s is {duration_s!r}"
            yield "changed", f"{lengths}: {_MEND}"


def _inspect(path: Path, min_duration_s: float, max_duration_s: float) -> _File:
    problem, duration_s, sha256 = "", None, None
    oddities: tuple[tuple[str, str], ...] = ()
    try:
        duration_s = probe(path).duration_s
        samples, note = read_with_note(
            path, min_duration_s=min_duration_s, max_duration_s=max_duration_s
        )
        oddities = (*_oddities(samples), *([("channels", note)] if note else []))
    except AudioError as error:
        problem = str(error)
    try:
        sha256 = file_sha256(path) if path.is_file() else None  # to read a pipe would never end
    except OSError as error:
        problem = problem or f"{path}: {error.strerror}; make it readable"
    return _File(problem, oddities, duration_s, sha256)


def _oddities(samples: FloatArray) -> Iterator[tuple[str, str]]:
    """Yield kind and message of what is odd about the samples that a model would hear."""
    offset = float(samples.mean(dtype=np.float64))
    peak = float(np.abs(samples - offset).max())
    at_full_scale = float((np.abs(samples) >= FULL_SCALE).mean())
    if peak < QUIET_PEAK:
        yield "quiet", f"peaks at {20 * np.log10(peak):.0f} dB of full scale; listen to it"
    if at_full_scale >= CLIPPED_FRAC:
        yield "clipping", f"{at_full_scale:.1%} of its samples are at full scale"
    if abs(offset) >= OFFSET:
        yield "offset", f"its mean is {offset:+.3f} of full scale"


def check_labels(rows: Sequence[Row]) -> list[Finding]:
    """Return which labels, of the rows without a `target`, a person would take for one."""
    labels = {row["label"]: row for row in rows if "label" in row and "target" not in row}
    return [Finding("labels", None, None, warning) for warning in alike_labels(labels)]


def check_train_split(rows: Sequence[Row], split: str, prompts_per_step: int) -> list[Finding]:
    """Return why a run could not train on a split, or would learn nothing from it."""
    labels = Counter(row.get("label") for row in rows if row.get("split") == split)
    num_rows = labels.total()
    messages: list[str] = []
    if not labels:
        splits = sorted({row["split"] for row in rows if "split" in row})
        there = f"there are: {', '.join(splits)}" if splits else "no row has a split"
        messages.append(f"no row is of split {split!r} ({there}); set data.train_split")
    elif num_rows < prompts_per_step:
        messages.append(
            f"split {split!r} has {num_rows} rows and a step needs {prompts_per_step} "
            "prompts; lower train.prompts_per_step or add rows"
        )
    if len(labels) == 1:
        messages.append(
            f"every row of split {split!r} is labelled {next(iter(labels))!r}: one answer would "
            "always be right; add clips of other labels"
        )
    return [Finding("split", None, None, message) for message in messages]


def describe_findings(findings: Sequence[Finding]) -> list[str]:
    """Return the findings as lines to print: all problems, of each kind of warning a few."""
    lines: list[str] = []
    for finding in findings:
        if finding.is_problem:
            where = "" if finding.id is None else f"{finding.id!r}: "
            lines.append(f"problem   {PROBLEMS[finding.kind]}: {where}{finding.message}")
    for kind, meaning in WARNINGS.items():
        alike = [finding for finding in findings if finding.kind == kind]
        if alike:
            lines.append(f"warning   {kind}: {len(alike)} ({meaning})")
        lines += [
            f"            {'' if f.id is None else f'{f.id!r} '}{f.message}"
            for f in alike[:MAX_EXAMPLES]
        ]
        if len(alike) > MAX_EXAMPLES:
            lines.append(f"            ... and {len(alike) - MAX_EXAMPLES} more")
    return lines
