"""CREMA-D: `AudioWAV/1001_DFA_ANG_XX.wav`: actor, sentence, intended emotion, intensity.

The label is the emotion that the actor was asked for; what listeners heard
(`processedResults/summaryTable.csv`) often differs and is not read.

Source: Cao et al. (2014), doi:10.1109/TAFFC.2014.2336244;
https://github.com/CheyneyComputerScience/CREMA-D, issues 6 and 8 for the files with defects.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from annotate.corpora.base import (
    CorpusClip,
    finish,
    relative,
    require_file,
    require_folder,
)
from configs.errors import UserError

EMOTIONS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")
INTENSITIES = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = {
    "DFA": "Don't forget a jacket.",
    "IEO": "It's eleven o'clock.",
    "IOM": "I'm on my way to the meeting.",
    "ITH": "I think I have a doctor's appointment.",
    "ITS": "I think I've seen this before.",
    "IWL": "I would like a new alarm clock.",
    "IWW": "I wonder what this is about.",
    "MTI": "Maybe tomorrow it will be cold.",
    "TAI": "The airplane is almost full.",
    "TIE": "That is exactly what happened.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
DEFECTIVE = {
    "1064_IEO_DIS_MD": "a minute long, with the sentence in every emotion",
    "1064_TIE_SAD_XX": "cut off",
    "1076_MTI_NEU_XX": "cut off",
    "1076_MTI_SAD_XX": "silent",
}
"""Clips that are left out -> why."""

# Older copies hold 1040_ITH_SAD_X.wav for 1040_ITH_SAD_XX.wav.
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_(LO|MD|HI|XX?)")
_LFS_POINTER = b"version https://git-lfs"


def read_crema_d(root: Path) -> list[CorpusClip]:
    """Return the clips of `AudioWAV`, without those known to be defective.

    Raises:
        UserError: No `AudioWAV` or `VideoDemographics.csv`, or a WAV file whose name is not the
            corpus's or that git-lfs has yet to fetch.
    """
    folder = require_folder(root, "CREMA-D", "AudioWAV")
    sexes = _read_sexes(require_file(root, "CREMA-D", "VideoDemographics.csv"))
    clips: list[CorpusClip] = []
    problems: list[str] = []
    for path in sorted(folder.glob("*.wav")):
        if path.name.startswith("._"):  # left by macOS beside the real files
            continue
        name = _NAME.fullmatch(path.stem)
        if name is None or name[2] not in SENTENCES or name[3] not in EMOTIONS:
            problems.append(f"{path}: not a CREMA-D name (like 1001_DFA_ANG_XX.wav)")
            continue
        if name[1] not in sexes:
            problems.append(f"{path}: actor {name[1]} is not in VideoDemographics.csv")
            continue
        if _is_lfs_pointer(path):
            problems.append(f"{path}: a git-lfs pointer, no sound; run `git lfs pull` in {root}")
            continue
        intensity = name[4].ljust(2, "X")
        clip_id = f"{name[1]}_{name[2]}_{name[3]}_{intensity}"
        if clip_id in DEFECTIVE:
            continue
        clips.append(
            CorpusClip(
                id=clip_id,
                audio=relative(path, root),
                raw_label=name[3],
                speaker=name[1],
                text=SENTENCES[name[2]],
                sex=sexes[name[1]],
                lang="en",
                extra={"intensity": INTENSITIES[intensity]},
            )
        )
    return finish("CREMA-D", root, clips, problems)


def _read_sexes(path: Path) -> dict[str, str]:
    """Return actor -> `female` or `male`."""
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines()))
        sexes = {row["ActorID"]: row["Sex"].lower() for row in rows}
    except (UnicodeDecodeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: not CREMA-D's table of actors ({error!r}); it has the columns ActorID and Sex"
        ) from error
    wrong = sorted(actor for actor, sex in sexes.items() if sex not in ("female", "male"))
    if wrong:
        raise UserError(f"{path}: actor {wrong[0]}: expected Sex to be Female or Male")
    return sexes


def _is_lfs_pointer(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER
