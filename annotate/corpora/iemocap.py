"""IEMOCAP: `Session1/dialog` says what is in each clip of `Session1/sentences/wav`.

Labels are the majority of the annotators (`xxx`: there is none) in `EmoEvaluation`, words are in
`transcriptions`. A clip such as Ses01F_impro01_M003 is the third turn of the man in a dialogue of
session 1; the F before the dialogue says who wore the markers, not who speaks.

Source: Busso et al. (2008), doi:10.1007/s10579-008-9076-6; https://sail.usc.edu/iemocap.
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.base import Clips, CorpusClip, finish, lacks, relative, require_folder
from annotate.corpora.clips import LeftOut, count_unnamed, in_any_case
from annotate.corpora.texts import read_lines

NUM_SESSIONS = 5
EMOTIONS = ("ang", "dis", "exc", "fea", "fru", "hap", "neu", "oth", "sad", "sur", "xxx")
SEXES = {"F": "female", "M": "male"}

# [START - END] NAME LABEL [VALENCE, ACTIVATION, DOMINANCE], separated by tabs.
_TURN = re.compile(
    r"\[[\d.]+ - [\d.]+\]\s+(\S+)\s+(\w+)\s+\[(-?[\d.]+), *(-?[\d.]+), *(-?[\d.]+)\]\s*"
)
_NAME = re.compile(r"(Ses(\d\d)[FM]_(impro|script)\w+)_([FM])\d{3}")
_WORDS = re.compile(r"(\S+) +\[[^\]]*\]: *(.*)")
_ANY_BYTE = ("cp1252", "latin-1")
"""The annotators' remarks between the turns are not all ASCII; Latin-1 reads any byte."""
_STYLES = {"impro": "improvised", "script": "scripted"}


def read_iemocap(root: Path) -> Clips:
    """Return the turns of all five sessions that `EmoEvaluation` labels.

    `extra` holds `style` and the annotators' mean `valence`, `activation` and `dominance`, each
    from 1 to 5.

    Raises:
        UserError: A session or one of its folders is not there, a label file cannot be read,
            or a labelled turn has no WAV file.
    """
    clips = Clips()
    problems: list[str] = []
    left_out = LeftOut()
    for number in range(1, NUM_SESSIONS + 1):
        session = f"Session{number}"
        labels = require_folder(root, "IEMOCAP", session, "dialog", "EmoEvaluation")
        words = require_folder(root, "IEMOCAP", session, "dialog", "transcriptions")
        audio = require_folder(root, "IEMOCAP", session, "sentences", "wav")
        for path in sorted(labels.glob("Ses*.txt")):
            texts = _read_words(words / path.name, problems)
            clips.extend(_read_dialogue(path, audio, root, texts, problems))
        named = {clip.audio.removeprefix(relative(audio, root) + "/") for clip in clips}
        count_unnamed(audio, "**/*.wav", named, left_out)
    return finish("IEMOCAP", root, clips, problems, left_out)


def _read_dialogue(
    path: Path, audio: Path, root: Path, texts: dict[str, str], problems: list[str]
) -> list[CorpusClip]:
    """Return the turns of one label file; what is wrong goes into `problems`."""
    clips: list[CorpusClip] = []
    for line_number, line in read_lines(path, encodings=_ANY_BYTE):
        if not line.startswith("["):
            continue
        turn = _TURN.fullmatch(line)
        name = _NAME.fullmatch(turn[1]) if turn else None
        if turn is None or name is None or name[1] != path.stem or turn[2] not in EMOTIONS:
            problems.append(
                f"{path}:{line_number}: not a turn of {path.stem}; expected "
                f"`[START - END] {path.stem}_F000 LABEL [V, A, D]`, LABEL one of "
                f"{', '.join(EMOTIONS)}"
            )
            continue
        file = in_any_case(audio / path.stem / f"{turn[1]}.wav")
        if not file.is_file():
            why = lacks(file, f"no {file}; unpack the corpus again")
            problems.append(f"{path}:{line_number}: {why}")
            continue
        clips.append(
            CorpusClip(
                id=turn[1],
                audio=relative(file, root),
                raw_label=turn[2],
                speaker=f"Ses{name[2]}{name[4]}",
                session=f"Ses{name[2]}",
                text=texts.get(turn[1]),
                sex=SEXES[name[4]],
                lang="en",
                extra={
                    "style": _STYLES[name[3]],
                    "valence": float(turn[3]),
                    "activation": float(turn[4]),
                    "dominance": float(turn[5]),
                },
            )
        )
    return clips


def _read_words(path: Path, problems: list[str]) -> dict[str, str]:
    """Return turn -> what is said in it."""
    if not path.is_file():
        problems.append(f"{path}: no such file; each dialogue has its transcription")
        return {}
    lines = read_lines(path, encodings=_ANY_BYTE)
    said = [match for _, line in lines if (match := _WORDS.fullmatch(line.strip()))]
    return {match[1]: match[2] for match in said if match[2]}
