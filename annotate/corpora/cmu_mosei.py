"""CMU-MOSEI: scores of six emotions for the sentences of videos, with the sound cut by sentence.

    labels.csv (any CSV file in the root or in Labels)
        video,start_time,end_time,sentiment,happy,sad,anger,surprise,disgust,fear
    Transcript/Segmented/Combined/VIDEO.txt       VIDEO___INDEX___START___END___TEXT
    Audio/Segmented_Audio/train/VIDEO_INDEX.wav   and dev (or valid), test

The label is the emotion of the highest score (0 to 3): `none` where all are 0, which others count
as neutral, and `several` where two share the highest. A video is one person's monologue, but the
corpus does not say whose, and some people have several videos: speakers are unknown.

Source: Zadeh et al. (2018), doi:10.18653/v1/P18-1208; the SDK's page of the data set for the order
and range of scores (https://github.com/CMU-MultiComp-Lab/CMU-MultimodalSDK).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from annotate.corpora.base import Clips, CorpusClip, finish, relative, require_folder
from annotate.corpora.clips import LeftOut, find_clips, find_files
from annotate.corpora.texts import read_csv, read_lines
from configs.errors import UserError

EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
SPLITS = {"train": "train", "dev": "eval", "val": "eval", "valid": "eval", "test": "test"}
TOLERANCE_S = 0.02
"""By how much the times of a table may differ from those of the transcripts, for rounding."""

_COLUMNS = ("video", "start_time", "end_time", *EMOTIONS)


def read_cmu_mosei(root: Path) -> Clips:
    """Return the scored sentences that have sound; `extra` holds the scores.

    Raises:
        UserError: No tables, transcripts or sound, a score that is no number, a sentence that the
            transcripts do not have, or two rows of one sentence.
    """
    transcripts = require_folder(root, "CMU-MOSEI", "Transcript", "Segmented", "Combined")
    audio = require_folder(root, "CMU-MOSEI", "Audio", "Segmented_Audio")
    tables = [*find_files(root, "*.csv"), *find_files(root, "Labels/*.csv")]
    if not tables:
        raise UserError(
            f"{root}: has no CSV file of scores; write them from the labels of the SDK, with the "
            f"columns {', '.join(_COLUMNS)}"
        )
    left_out, problems = LeftOut(), list[str]()
    files = {path.stem: path for path in find_clips(audio, "**/*.wav", left_out)}
    segments: dict[str, list[tuple[str, float, float, str]]] = {}
    clips, scored = Clips(), set[str]()
    for table in tables:
        for number, row in read_csv(table, _COLUMNS, remedy="name its columns as in the docs"):
            where, video = f"{table}:{number}", row["video"]
            try:
                if video not in segments:
                    segments[video] = _segments(transcripts / f"{video}.txt")
                start, end, *scores = (_number(row, column) for column in _COLUMNS[1:])
                index, text = _segment(segments[video], start, end)
            except ValueError as error:
                problems.append(f"{where}: {error}")
                continue
            name = f"{video}_{index}"
            if name in scored:
                problems.append(f"{where}: {name} has scores twice; keep one row")
            elif name not in files:
                left_out.add("scored sentences without sound", where)
            else:
                path = files[name]
                scored.add(name)
                clips.append(
                    CorpusClip(
                        id=name,
                        audio=relative(path, root),
                        raw_label=dominant(dict(zip(EMOTIONS, scores, strict=True))),
                        speaker=None,
                        session=video,
                        text=text or None,
                        split=SPLITS.get(path.parent.name.lower()),
                        lang="en",
                        extra=dict(zip(EMOTIONS, scores, strict=True)),
                    )
                )
    for name in files.keys() - scored:
        left_out.add("clips without scores", files[name])
    return finish("CMU-MOSEI", root, clips, problems, left_out)


def dominant(scores: Mapping[str, float]) -> str:
    """Return the emotion of the highest score; `none` if all are 0, `several` if two share it."""
    highest = max(scores.values())
    best = [emotion for emotion, score in scores.items() if score == highest]
    return "none" if highest <= 0 else best[0] if len(best) == 1 else "several"


def _number(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{column} is {row[column]!r}; expected a number of 0 or more")
    return value


def _segments(path: Path) -> list[tuple[str, float, float, str]]:
    """Return index, start and end in seconds, and text of the sentences of a video."""
    if not path.is_file():
        raise ValueError(f"no transcript {path}; unpack the transcripts")
    segments: list[tuple[str, float, float, str]] = []
    for number, line in read_lines(path, encodings=("cp1252",)):
        parts = line.split("___", 4)
        try:
            segments.append((parts[1], float(parts[2]), float(parts[3]), parts[4].strip()))
        except (IndexError, ValueError) as error:
            raise ValueError(
                f"{path}:{number}: expected VIDEO___INDEX___START___END___TEXT"
            ) from error
    return segments


def _segment(
    segments: list[tuple[str, float, float, str]], start: float, end: float
) -> tuple[str, str]:
    for index, first, last, text in segments:
        if abs(first - start) <= TOLERANCE_S and abs(last - end) <= TOLERANCE_S:
            return index, text
    raise ValueError(f"no sentence from {start:g} to {end:g} s is in the video's transcript")
