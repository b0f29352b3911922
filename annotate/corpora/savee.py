"""SAVEE: `AudioData/DC/a01.wav`, emotion and sentence in the file's name, speaker in the folder's.

The copy that circulates as one folder, `ALL/DC_a01.wav`, is read too. The sentences are not part
of the release, so clips come without text.

Source: Haq and Jackson (2010), Machine Audition, chapter 17; http://kahlan.eps.surrey.ac.uk/savee.
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.base import CorpusClip, finish, relative, require_folder

EMOTIONS = {
    "a": "anger",
    "d": "disgust",
    "f": "fear",
    "h": "happiness",
    "n": "neutral",
    "sa": "sadness",
    "su": "surprise",
}
SPEAKERS = ("DC", "JE", "JK", "KL")

# `sa` and `su` come before the single letters: there is no code `s`.
_NAME = re.compile(r"(?:([A-Z]{2})_)?(sa|su|a|d|f|h|n)(\d{2})")


def read_savee(root: Path) -> list[CorpusClip]:
    """Return the clips of the four speakers, all male.

    Raises:
        UserError: A WAV file whose name or folder is not the corpus's, or none at all.
    """
    require_folder(root, "SAVEE")
    clips: list[CorpusClip] = []
    problems: list[str] = []
    for path in sorted(root.glob("**/*.wav")):
        if path.name.startswith("._"):  # left by macOS beside the real files
            continue
        name = _NAME.fullmatch(path.stem)
        if name is None:
            problems.append(f"{path}: not a SAVEE name (like DC/a01.wav or DC_a01.wav)")
            continue
        speaker = name[1] or path.parent.name
        if speaker not in SPEAKERS:
            problems.append(
                f"{path}: speaker {speaker!r} is not one of {', '.join(SPEAKERS)}; "
                "keep each speaker's files in their folder"
            )
            continue
        clips.append(
            CorpusClip(
                id=f"{speaker}_{name[2]}{name[3]}",
                audio=relative(path, root),
                raw_label=EMOTIONS[name[2]],
                speaker=speaker,
                sex="male",
                lang="en",
            )
        )
    return finish("SAVEE", root, clips, problems)
