"""Three renditions of one utterance in a row, and the question which is higher, louder or faster.

All three, the unchanged one as well, are taken apart and put together again in the same way: else
the sound of that would tell which is the original, and with it the order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import permutations, tee
from pathlib import Path
from typing import Any

from annotate.tasks.base import Row, required_text, row_rng, task_row
from configs.errors import UserError
from data.audio import AudioError, read_audio, wav_bytes
from data.files import replacing
from data.manifest import answer
from data.manifest_row import fill_choices
from data.progress import reported
from data.prosody.renditions import Change, analyse, join, render
from data.workers import worker_map

PITCHES_ST = (-4.0, 0.0, 4.0)
"""Pitch of the three renditions, in semitones from the clip's own, ascending."""
ENERGIES_DB = (-8.0, 0.0, 8.0)
"""Their energy, in dB from the clip's own, ascending."""
RATES = (0.75, 1.0, 1.33)
"""Their rate as a factor of the clip's own, ascending."""
PAUSE_S = 0.3
"""Silence between two renditions, in seconds."""
MIN_VOICED_FRAC = 0.3
"""Voiced share of the speech below which a change of pitch is not heard well enough."""
VERSION = 1
"""Raised whenever the same clip and setting give other samples, so that old files are not used."""

STEPS: Mapping[str, tuple[Change, ...]] = {
    "pitch": tuple(Change(pitch_st=value) for value in PITCHES_ST),
    "energy": tuple(Change(energy_db=value) for value in ENERGIES_DB),
    "rate": tuple(Change(rate=value) for value in RATES),
}
"""Attribute -> the three renditions, from the lowest or slowest."""

ORDERS = tuple(", ".join(map(str, order)) for order in permutations((1, 2, 3)))
"""The six answers: the numbers of the renditions as heard, the lowest or slowest first."""

QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "pitch": (
        "You hear one sentence three times, with pauses. Order them from the lowest to the highest "
        "pitch. Choose from: {choices}.",
        "The clip holds three versions of an utterance that differ in pitch. Which order runs from "
        "lowest to highest: {choices}?",
    ),
    "energy": (
        "You hear one sentence three times, with pauses. Order them from the softest to the "
        "loudest. Choose from: {choices}.",
        "The clip holds three versions of an utterance that differ in energy. Which order runs "
        "from lowest to highest: {choices}?",
    ),
    "rate": (
        "You hear one sentence three times, with pauses. Order them from the slowest to the "
        "fastest. Choose from: {choices}.",
        "The clip holds three versions of an utterance that differ in speaking rate. Which order "
        "runs from slowest to fastest: {choices}?",
    ),
}
"""Attribute -> phrasings of the question."""

_MEASURED = {"pitch": "f0_median_hz", "energy": "energy_dbfs", "rate": "nuclei_per_s"}


@dataclass(slots=True)
class Compared:
    """What became of the clips."""

    rows: Any
    """As they were stored: rows of the tasks `compare_ATTRIBUTE`, in the order of the clips."""
    failed: list[dict[str, str]]
    """`id` and `reason` of each clip that could not be read."""
    num_written: int
    """Files made now; the others were there already."""


@dataclass(frozen=True, slots=True)
class _Item:
    """One question about a clip: the renditions in the order in which they are heard."""

    attribute: str
    heard: tuple[int, ...]
    """Indices into STEPS."""


@dataclass(frozen=True, slots=True)
class _Job:
    """All questions about one clip: it is taken apart once."""

    path: str
    folder: str
    max_duration_s: float
    items: tuple[_Item, ...]


@dataclass(frozen=True, slots=True)
class _Done:
    names: tuple[str, ...]
    """File of each item below the folder; none if it failed."""
    num_written: int
    problem: str
    """Why it failed; empty if it did not."""


def comparison_rows(
    rows: Sequence[Row],
    attributes: Sequence[str],
    *,
    audio_root: Path,
    folder: Path,
    max_duration_s: float,
    seed: int,
    num_workers: int,
    store: Callable[[Iterable[dict[str, Any]]], Any] = list,
) -> Compared:
    """Write the joined renditions of each clip and return the questions about them.

    Files are 16-bit WAV, `FOLDER/ATTRIBUTE/HASH.wav`, named by the clip's content and what is done
    to it. Each appears complete or not at all, and one that is there is not made again: a run that
    was killed goes on. About 0.4 s of one core for a clip of 3 s and all three attributes.

    Args:
        rows: Annotated rows of a manifest, read twice. A clip in which the attribute was not
            measured, one that is hardly voiced (for pitch), and one that is too long give no
            question.
        attributes: Of `pitch`, `energy` and `rate`; each clip is asked once about each.
        audio_root: Folder that the paths of the clips are relative to.
        folder: Where to write, below `audio_root`: the new paths are relative to it as well.
        max_duration_s: Longest joined clip.
        seed: Draws the orders and phrasings.
        num_workers: Processes; with 1, this one does the work.
        store: Takes the questions, one at a time, and returns what becomes `Compared.rows`.

    Raises:
        UserError: The folder is not below the audio root.
    """
    # The reader of a manifest resolves links before it compares.
    audio_root, folder = audio_root.resolve(), folder.resolve()
    if not folder.is_relative_to(audio_root):
        raise UserError(
            f"{folder}: not below the audio root {audio_root}, which the paths of all clips are "
            "relative to; write below it, or use an audio root above both"
        )
    for name in attributes:
        (folder / name).mkdir(parents=True, exist_ok=True)
    prefix = folder.relative_to(audio_root)
    compared = Compared([], [], 0)
    jobs = partial(_jobs, rows, attributes, (audio_root, folder), max_duration_s, seed)
    num_jobs = sum(1 for _ in jobs())

    def questions() -> Iterator[dict[str, Any]]:
        altering, waiting = tee(jobs())
        results = worker_map(_make_files, (job for _, job in altering), num_workers)
        results = reported(results, num_jobs, "altered {} of {} clips")
        for (row, job), done in zip(waiting, results, strict=True):
            compared.num_written += done.num_written
            if done.problem:
                compared.failed.append({"id": required_text(row, "id"), "reason": done.problem})
                continue
            for item, name in zip(job.items, done.names, strict=True):
                yield _question(row, item, (prefix / name).as_posix(), seed)

    compared.rows = store(questions())
    return compared


def _jobs(
    rows: Sequence[Row],
    attributes: Sequence[str],
    folders: tuple[Path, Path],
    max_duration_s: float,
    seed: int,
) -> Iterator[tuple[Row, _Job]]:
    """Draw the questions about each clip; `folders` are the audio root and where files go."""
    audio_root, folder = folders
    for row in rows:
        prosody = row.get("prosody") or {}
        fit = [name for name in attributes if _is_fit(prosody, name, max_duration_s)]
        if fit:
            path = str(audio_root / required_text(row, "audio"))
            draws = [row_rng(seed, f"compare_{name}/{row['id']}/order") for name in fit]
            orders = [tuple(draw.permutation(3).tolist()) for draw in draws]
            yield row, _Job(path, str(folder), max_duration_s, tuple(map(_Item, fit, orders)))


def _is_fit(prosody: Mapping[str, Any], attribute: str, max_duration_s: float) -> bool:
    """Whether the clip has what is compared, and fits three times."""
    if prosody.get(_MEASURED[attribute]) is None:
        return False
    if attribute == "pitch" and prosody["voiced_frac"] < MIN_VOICED_FRAC:
        return False
    times = sum(1 / change.rate for change in STEPS[attribute])
    # Durations in a manifest are rounded to 1 ms, those of renditions to a sample.
    return prosody["duration_s"] * times + 2 * PAUSE_S <= max_duration_s - 0.01


def _question(row: Row, item: _Item, audio: str, seed: int) -> dict[str, Any]:
    task = f"compare_{item.attribute}"
    questions = QUESTIONS[item.attribute]
    rng = row_rng(seed, f"{task}/{required_text(row, 'id')}/question")
    label = ", ".join(str(item.heard.index(step) + 1) for step in range(3))
    return task_row(
        row,
        task,
        audio=audio,
        # The orders hold commas.
        question=fill_choices(questions[rng.integers(len(questions))], ["; ".join(ORDERS)]),
        choices=ORDERS,
        label=label,
        target=answer(label),
    )


def _make_files(job: _Job) -> _Done:
    """Make the files of a clip that are not there yet."""
    path, folder = Path(job.path), Path(job.folder)
    try:
        content = path.read_bytes()
        names = tuple(_file_name(content, item) for item in job.items)
        pairs = zip(job.items, names, strict=True)
        todo = [(item, name) for item, name in pairs if not (folder / name).exists()]
        if not todo:
            return _Done(names, 0, "")
        samples = read_audio(path, min_duration_s=0, max_duration_s=job.max_duration_s)
    except (AudioError, OSError) as error:
        return _Done((), 0, str(error))
    voice = analyse(samples)
    for item, name in todo:
        changes = [STEPS[item.attribute][index] for index in item.heard]
        joined = join([render(voice, change) for change in changes], PAUSE_S)
        with replacing(folder / name) as file:
            file.write(wav_bytes(joined))
    return _Done(names, len(todo), "")


def _file_name(content: bytes, item: _Item) -> str:
    changes = [asdict(STEPS[item.attribute][index]) for index in item.heard]
    setting = json.dumps({"version": VERSION, "pause_s": PAUSE_S, "changes": changes})
    digest = hashlib.sha256(content)
    digest.update(setting.encode())
    return f"{item.attribute}/{digest.hexdigest()}.wav"
