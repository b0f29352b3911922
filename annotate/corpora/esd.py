"""ESD: `0011/Angry/train/0011_000401.wav`, transcripts of a speaker in `0011/0011.txt`.

Speakers 0001 to 0010 speak Mandarin, 0011 to 0020 English. Newer copies have no folders for the
split; there it follows from the number: each emotion has 350 sentences, of which the first 20 are
for evaluation and the next 30 for test.

Source: Zhou et al. (2022), arXiv 2105.14762; https://github.com/HLTSingapore/Emotional-Speech-Data.
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.base import Clips, CorpusClip, finish, relative, require_folder
from annotate.corpora.clips import LeftOut, find_clips
from annotate.corpora.texts import read_lines
from configs.errors import UserError

EMOTIONS = ("Angry", "Happy", "Neutral", "Sad", "Surprise")
SPLITS = {"train": "train", "evaluation": "eval", "test": "test"}
MALE = frozenset({4, 5, 6, 8, 10, 11, 12, 13, 14, 20})
NUM_SPEAKERS = 20
LAST_MANDARIN = 10

_NUM_SENTENCES, _NUM_EVAL, _NUM_TEST = 350, 20, 30
_SPEAKER = re.compile(r"\d{4}")
_NAME = re.compile(r"(\d{4})_(\d{6})")
_LINE = re.compile(r"(\d{4}_\d{6})\s+(?P<text>\S.*?)\s+(?P<emotion>\S+)")
"""A line of a transcript: between its fields are tabs, and in part of the release spaces."""

IN_MANDARIN = ("中立", "生气", "快乐", "伤心", "惊喜")
"""Emotions at the end of a Mandarin line."""


def read_esd(root: Path) -> Clips:
    """Return the clips of all speakers there are, with the official split.

    A few lines of the transcripts are damaged in the release; their clips have no text.

    Raises:
        UserError: A WAV file whose name or folder is not the corpus's, a speaker without
            transcripts or with unreadable ones, or no speaker at all.
    """
    require_folder(root, "ESD")
    clips = Clips()
    problems: list[str] = []
    left_out = LeftOut()
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or not _SPEAKER.fullmatch(folder.name):
            continue
        number = int(folder.name)
        if not 1 <= number <= NUM_SPEAKERS:
            problems.append(f"{folder}: speakers go from 0001 to {NUM_SPEAKERS:04d}; move it away")
            continue
        texts = _read_texts(folder / f"{folder.name}.txt", problems, left_out)
        for path in find_clips(folder, "**/*.wav", left_out):
            place = path.relative_to(folder).parts[:-1]
            wrong = _what_is_wrong(path.stem, folder.name, place)
            if wrong:
                problems.append(f"{path}: {wrong}")
                continue
            if texts and path.stem not in texts:
                left_out.add("texts of clips that the transcripts do not have", path)
            clips.append(
                CorpusClip(
                    id=path.stem,
                    audio=relative(path, root),
                    raw_label=place[0],
                    speaker=folder.name,
                    text=texts.get(path.stem),
                    split=SPLITS[place[1]] if len(place) == 2 else official_split(path.stem),
                    sex="male" if number in MALE else "female",
                    lang="zh" if number <= LAST_MANDARIN else "en",
                )
            )
    return finish("ESD", root, clips, problems, left_out, fits=_looks_like_esd)


def _looks_like_esd(folder: Path) -> bool:
    return any((folder / name / f"{name}.txt").is_file() for name in ("0001", "0011", "0020"))


def official_split(name: str) -> str:
    """Return the split of an utterance such as `0011_000401`: `train`, `eval` or `test`."""
    sentence = (int(name.rpartition("_")[2]) - 1) % _NUM_SENTENCES
    if sentence < _NUM_EVAL:
        return "eval"
    return "test" if sentence < _NUM_EVAL + _NUM_TEST else "train"


def _what_is_wrong(stem: str, speaker: str, place: tuple[str, ...]) -> str | None:
    """Say what keeps a file in the folders `place` of a speaker from being a clip."""
    name = _NAME.fullmatch(stem)
    if name is None:
        return "not an ESD name (like 0011_000401.wav)"
    if name[1] != speaker:
        return f"named for speaker {name[1]}; move it to {name[1]}"
    if len(place) not in (1, 2) or place[0] not in EMOTIONS:
        return f"expected it in {speaker}/EMOTION or {speaker}/EMOTION/SPLIT, EMOTION one of " + (
            ", ".join(EMOTIONS)
        )
    if len(place) == 2 and place[1] not in SPLITS:
        return f"the folder of a split is one of {', '.join(SPLITS)}, not {place[1]}"
    return None


def _read_texts(path: Path, problems: list[str], left_out: LeftOut) -> dict[str, str]:
    """Return utterance -> text, from lines `NAME<tab>TEXT<tab>EMOTION`.

    Each speaker's file has one of four encodings and rarely says which.
    """
    if not path.is_file():
        problems.append(f"{path}: no such file; each speaker has the transcripts in one")
        return {}
    texts: dict[str, str] = {}
    others = ("gb18030",) if int(path.stem) <= LAST_MANDARIN else ("cp1252",)
    try:
        for number, line in read_lines(path, encodings=others, remedy="unpack it again"):
            fields = [field.strip() for field in line.strip().split("\t")]
            match = _LINE.fullmatch(line.strip())
            is_damaged = match is None or (
                len(fields) != 3
                and match["emotion"] not in IN_MANDARIN
                and match["emotion"].capitalize() not in EMOTIONS
            )
            if match is None or is_damaged or (len(fields) == 3 and not fields[1]):
                left_out.add("lines that are not NAME<tab>TEXT<tab>EMOTION", f"{path}:{number}")
            else:
                said = fields[1] if len(fields) == 3 else match["text"]
                texts[match[1]] = " ".join(said.split())
    except UserError as error:
        problems.append(str(error))
    return texts
