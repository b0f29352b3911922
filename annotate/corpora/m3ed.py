"""M3ED: `annotation.json` over the utterances of Chinese TV series, cut as in EmoBox.

    annotation.json             SERIES -> DIALOGUE -> {SpeakerInfo: {A: {Name, Gender}, ...},
                                Dialog: {UTTERANCE: {Text, Speaker, EmoAnnotation, ...}}}
    splitInfo/movie_list_train.txt, _val.txt, _test.txt
    modality_speech/A_UTTERANCE.wav

The label is `final_main_emo`, the main emotion that the annotators settled on. The split parts
series, and with them actors of one name.

Source: Zhao et al. (2022), doi:10.18653/v1/2022.acl-long.391; https://github.com/AIM3-RUC/RUCM3ED.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from annotate.corpora.annotations import read_object
from annotate.corpora.base import Clips, CorpusClip, finish, relative, require_file, require_folder
from annotate.corpora.clips import LeftOut, find_clips
from annotate.corpora.texts import read_lines

SPLITS = {"train": "train", "val": "eval", "test": "test"}


def read_m3ed(root: Path) -> Clips:
    """Return the utterances, with series as session, the speaker's name and sex, and the text.

    Raises:
        UserError: A file is missing or of another form, a series in no split, or an utterance
            without its clip.
    """
    annotations = require_file(root, "M3ED", "annotation.json")
    audio = require_folder(root, "M3ED", "modality_speech")
    splits: dict[str, str] = {}
    for name, split in SPLITS.items():
        listed = require_file(root, "M3ED", "splitInfo", f"movie_list_{name}.txt")
        splits |= {line.strip(): split for _, line in read_lines(listed)}
    left_out, problems, clips = LeftOut(), list[str](), Clips()
    files = {path.stem: path for path in find_clips(audio, "*.wav", left_out)}
    for series, dialogues in read_object(annotations).items():
        if series not in splits:
            problems.append(f"{annotations}: {series}: in no splitInfo/movie_list_*.txt; add it")
            continue
        for dialogue, content in dialogues.items():
            try:
                for name, said in content["Dialog"].items():
                    path = files.pop(f"{said['Speaker']}_{name}", None)
                    if path is None:
                        problems.append(f"{annotations}: {name}: no clip in {audio}; unpack it")
                        continue
                    info = content["SpeakerInfo"][said["Speaker"]]
                    clip = _clip(name, said, info, series)
                    clips.append(
                        CorpusClip(audio=relative(path, root), split=splits[series], **clip)
                    )
            except (KeyError, TypeError, AttributeError) as error:
                problems.append(f"{annotations}: {series}, {dialogue}: not as released ({error!r})")
    for path in files.values():
        left_out.add("clips that annotation.json does not name", path)
    return finish("M3ED", root, clips, problems, left_out)


def _clip(name: str, said: Any, info: Any, series: str) -> dict[str, Any]:
    sex = str(info.get("Gender", "")).strip().lower()
    return {
        "id": name,
        "raw_label": said["EmoAnnotation"]["final_main_emo"],
        "speaker": f"{series}_{info['Name']}" if info.get("Name") else None,
        "session": series,
        "text": " ".join(said["Text"].split()) or None,
        "sex": sex if sex in ("female", "male") else None,
        "lang": "zh",
    }
