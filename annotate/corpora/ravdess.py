"""RAVDESS: `Actor_01/03-01-05-01-01-01-01.wav`, everything said by the seven fields of the name.

Fields: modality (01 audio and video, 02 video, 03 audio), channel (01 speech, 02 song), emotion,
intensity, statement, repetition, actor (odd = male).

Source: Livingstone and Russo (2018), doi:10.1371/journal.pone.0196391; Zenodo record 1188976.
"""

from __future__ import annotations

from pathlib import Path

from annotate.corpora.base import CorpusClip, finish, relative, require_folder

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door.", "02": "Dogs are sitting by the door."}


def read_ravdess(root: Path) -> list[CorpusClip]:
    """Return the speech clips of audio-only RAVDESS; song is left out.

    Raises:
        UserError: No `Actor_NN` folder, or a WAV file whose name is not the corpus's.
    """
    require_folder(root, "RAVDESS")
    clips: list[CorpusClip] = []
    problems: list[str] = []
    for path in sorted(root.glob("**/Actor_*/*.wav")):
        fields = path.stem.split("-")
        if (
            len(fields) != 7
            or fields[2] not in EMOTIONS
            or fields[3] not in INTENSITIES
            or fields[4] not in STATEMENTS
            or not fields[6].isdigit()
        ):
            problems.append(f"{path}: not a RAVDESS name (7 fields like 03-01-05-01-01-01-01.wav)")
            continue
        if path.parent.name != f"Actor_{fields[6]}":
            problems.append(f"{path}: named for actor {fields[6]}; move it to Actor_{fields[6]}")
            continue
        if fields[1] != "01":
            continue
        clips.append(
            CorpusClip(
                id=path.stem,
                audio=relative(path, root),
                raw_label=EMOTIONS[fields[2]],
                speaker=fields[6],
                text=STATEMENTS[fields[4]],
                sex="male" if int(fields[6]) % 2 else "female",
                lang="en",
                extra={"intensity": INTENSITIES[fields[3]]},
            )
        )
    return finish("RAVDESS", root, clips, problems)
