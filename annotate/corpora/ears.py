"""EARS: `p001/emo_anger_sentences.wav`: speaker, and a name that says what was asked for.

Read are the emotional tasks, `emo_EMOTION_sentences` (read) and `emo_EMOTION_freeform` (own words),
and the whispered readings. Two emotions are misspelled in the names: `embarassment`, `extasy`.

Source: Richter et al. (2024), arXiv:2406.06185; https://github.com/facebookresearch/ears_dataset
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.annotations import read_object
from annotate.corpora.base import CorpusClip, finish, relative, require_file, require_folder

SEXES = {"female": "female", "male": "male"}

_SPEAKER = re.compile(r"p\d{3}")
_EMOTION = re.compile(r"emo_([a-z]+)_(?:sentences|freeform)")
_WHISPER = re.compile(r"(?:rainbow|sentences)_\d\d_whisper")


def read_ears(root: Path) -> list[CorpusClip]:
    """Return the emotional and whispered clips, with what was read; other tasks are left out.

    Raises:
        UserError: No `speaker_statistics.json`, `transcripts.json` or speaker's folder, a speaker
            or a text that those do not have, or an `emo_` file with another name.
    """
    require_folder(root, "EARS")
    speakers = read_object(require_file(root, "EARS", "speaker_statistics.json"))
    texts = read_object(require_file(root, "EARS", "transcripts.json"))
    clips: list[CorpusClip] = []
    problems: list[str] = []
    for folder in sorted(path for path in root.iterdir() if _SPEAKER.fullmatch(path.name)):
        if folder.name not in speakers:
            problems.append(f"{folder}: not in speaker_statistics.json; download that again")
            continue
        for path in sorted(folder.glob("*.wav")):
            emotion = _EMOTION.fullmatch(path.stem)
            if emotion is None and path.stem.startswith("emo_"):
                problems.append(f"{path}: not an EARS name (emo_EMOTION_sentences or _freeform)")
            if emotion is None and not _WHISPER.fullmatch(path.stem):
                continue
            text = texts.get(path.stem)
            if text is None and not path.stem.endswith("_freeform"):
                problems.append(f"{path}: not in transcripts.json; download that again")
                continue
            clips.append(
                CorpusClip(
                    id=f"{folder.name}-{path.stem}",
                    audio=relative(path, root),
                    raw_label=emotion[1] if emotion else "whisper",
                    speaker=folder.name,
                    text=text,
                    sex=SEXES.get(speakers[folder.name].get("gender")),
                    lang="en",
                    extra={"task": path.stem.rsplit("_", 1)[1] if emotion else "sentences"},
                )
            )
    return finish("EARS", root, clips, problems)
