"""DailyTalk: dialogues of DailyDialog, spoken by two people; `metadata.json` says what is felt.

    metadata.json               DIALOGUE -> TURN -> {speaker, text, emotion, act, topic, ...}
    data/23/0_1_d23.wav         TURN_SPEAKER_dDIALOGUE, and 0_1_d23.txt with the words

The emotions are those of the written dialogue, not of the voice. Both speakers, 0 and 1, are in
nearly every dialogue; which of them is the woman is not said.

Source: Lee et al. (2023), arXiv:2207.01063; https://github.com/keonlee9420/DailyTalk.
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.annotations import read_object
from annotate.corpora.base import Clips, CorpusClip, finish, relative, require_file, require_folder
from annotate.corpora.clips import LeftOut, find_clips
from annotate.corpora.texts import read_text
from configs.errors import UserError

_NAME = re.compile(r"(\d+)_([01])_d(\d+)")


def read_dailytalk(root: Path) -> Clips:
    """Return the turns; `session` is the dialogue.

    Raises:
        UserError: No metadata or clips, a clip of another name, or one without its metadata.
    """
    table = require_file(root, "DailyTalk", "metadata.json")
    require_folder(root, "DailyTalk", "data")
    dialogues = read_object(table)
    left_out, problems, clips = LeftOut(), list[str](), Clips()
    turns = {(dialogue, turn) for dialogue, content in dialogues.items() for turn in content}
    for path in find_clips(root, "data/**/*.wav", left_out):
        name = _NAME.fullmatch(path.stem)
        if name is None:
            problems.append(f"{path}: not a DailyTalk name (TURN_SPEAKER_dDIALOGUE)")
            continue
        turns.discard((name[3], name[1]))
        try:
            facts = dialogues[name[3]][name[1]]
            emotion, speaker = facts["emotion"], str(facts["speaker"])
        except (KeyError, TypeError):
            problems.append(
                f"{path}: {table.name} has no dialogue {name[3]} with a turn {name[1]} that has "
                "an emotion and a speaker"
            )
            continue
        if speaker != name[2]:
            problems.append(f"{path}: named for speaker {name[2]}, {table.name} says {speaker}")
            continue
        words = path.with_suffix(".txt")
        try:
            text = read_text(words) if words.is_file() else facts.get("text") or ""
        except UserError as error:
            problems.append(str(error))
            continue
        clips.append(
            CorpusClip(
                id=path.stem,
                audio=relative(path, root),
                # Written both ways: in DailyDialog, and in the files made from it.
                raw_label="no emotion" if emotion == "none" else emotion,
                speaker=speaker,
                session=f"d{name[3]}",
                text=" ".join(text.split()) or None,
                lang="en",
            )
        )
    for dialogue, turn in sorted(turns):
        left_out.add("turns without a clip", f"dialogue {dialogue}, turn {turn}")
    return finish("DailyTalk", root, clips, problems, left_out)
