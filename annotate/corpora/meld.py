"""MELD: a table of utterances for each split, and clips cut from the series.

The clips ship as video: `dia3_utt5.mp4` in the folder of its split. The sound is read from WAV
files of the same stem beside them. Dialogue numbers start anew in every split.

Source: Poria et al. (2019), arXiv 1810.02508; https://github.com/declare-lab/MELD, issues 27 and 39
for the clips that are missing.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from annotate.corpora.base import (
    Clips,
    CorpusClip,
    finish,
    lacks,
    relative,
    require_file,
    require_folder,
)
from annotate.corpora.clips import LeftOut, count_unnamed, in_any_case
from annotate.corpora.texts import read_csv
from configs.errors import UserError

SPLITS = {
    "train": ("train", "train_splits"),
    "dev": ("eval", "dev_splits_complete"),
    "test": ("test", "output_repeated_splits_test"),
}
"""Name in the tables -> our name, and folder of the clips."""

EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")

KNOWN_MISSING = frozenset({"train/dia125_utt3", "dev/dia110_utt7"})
"""Rows that the release has no usable clip for: one video is broken, one was never there."""

_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
_TO_WAV = "ffmpeg -nostdin -i {source} -vn -ac 1 -ar 16000 {target}"

# The tables in the archive hold quotes and dashes as Windows-1252 bytes read as Latin-1.
_WINDOWS = {code: bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}


def read_meld(root: Path) -> Clips:
    """Return the utterances of all three tables that there is a clip for.

    A split's table and folder lie in `root` or in `root/train`, `root/dev`, `root/test`. The
    session of a clip is its dialogue.

    Raises:
        UserError: A table or folder is not there, a table cannot be read, or an utterance has no
            WAV file; the message shows how to make the WAV files from the videos.
    """
    require_folder(root, "MELD")
    clips = Clips()
    problems: list[str] = []
    left_out = LeftOut()
    for name, (split, folder_name) in SPLITS.items():
        place = _place(root, name, f"{name}_sent_emo.csv")
        table = require_file(root, "MELD", *place, fits=_looks_like_meld)
        folder = require_folder(root, "MELD", *_place(root, name, folder_name))
        rows = _read_table(table)
        if not any(folder.glob("dia*.[wW][aA][vV]")) and any(folder.glob("dia*.mp4")):
            command = _TO_WAV.format(source='"$f"', target='"${f%.mp4}.wav"')
            problems.append(
                f"{folder}: videos, but no WAV files; run: "
                f"cd {shlex.quote(str(folder))} && for f in dia*.mp4; do {command}; done"
            )
            continue
        for number, row in rows:
            stem = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}"
            clip_id = f"{name}/{stem}"
            path = in_any_case(folder / f"{stem}.wav")
            if path.is_file():
                clips.append(_clip(clip_id, relative(path, root), split, row))
            elif clip_id in KNOWN_MISSING:
                left_out.add("rows that the release has no usable clip for", path)
            else:
                problems.append(f"{table}:{number}: {_how_to_get(path)}")
        named = {clip.audio.rpartition("/")[2] for clip in clips if clip.split == split}
        count_unnamed(folder, "*.wav", named, left_out)
    return finish("MELD", root, clips, problems, left_out)


def _looks_like_meld(folder: Path) -> bool:
    return all(
        folder.joinpath(*_place(folder, name, f"{name}_sent_emo.csv")).is_file() for name in SPLITS
    )


def _place(root: Path, split: str, name: str) -> tuple[str, ...]:
    """Return where a table or folder lies: beside the others, or below its split."""
    return (split, name) if (root / split / name).exists() else (name,)


def _clip(clip_id: str, audio: str, split: str, row: dict[str, str]) -> CorpusClip:
    return CorpusClip(
        id=clip_id,
        audio=audio,
        raw_label=row["Emotion"],
        speaker=row["Speaker"].translate(_WINDOWS),
        session=clip_id.rpartition("_")[0],
        text=row["Utterance"].translate(_WINDOWS),
        split=split,
        lang="en",
    )


def _how_to_get(path: Path) -> str:
    video = path.with_suffix(".mp4")
    if not video.is_file():
        return lacks(path, f"no {path} and no video of it; unpack the corpus again")
    command = _TO_WAV.format(source=shlex.quote(str(video)), target=shlex.quote(str(path)))
    return f"no {path}; run: {command}"


def _read_table(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a table, each with the number of its last line."""
    rows: list[tuple[int, dict[str, str]]] = []
    for number, row in read_csv(path, _COLUMNS):
        if not all(row[name] for name in _COLUMNS) or row["Emotion"] not in EMOTIONS:
            raise UserError(
                f"{path}:{number}: expected {', '.join(_COLUMNS)} with one of "
                f"{', '.join(EMOTIONS)}; found {row}"
            )
        rows.append((number, row))
    return rows
