"""MSP-IMPROV: one file of labels over the clips of six sessions of two actors.

    Evalution.txt (spelled so in the release)
        UTD-IMPROV-S01A-F01-S-FM01.avi; N; A:3.0; V:3.5; D:3.0; N:4.0;
    Audio/session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav

A name holds sentence and target emotion, speaker, and how it was said: read (R), the target
sentence improvised (T), the other turns of the improvisation (S), between the recordings (P).
Labels are the raters' majority: A anger, H happiness, N neutral, S sadness, O other, X none.

Source: Busso et al. (2017), doi:10.1109/TAFFC.2016.2515617.
"""

from __future__ import annotations

import re
from pathlib import Path

from annotate.corpora.base import Clips, CorpusClip, finish, relative, require_folder
from annotate.corpora.clips import LeftOut, find_clips, find_files, where_it_fits
from annotate.corpora.texts import read_lines, read_text
from configs.errors import UserError

LABELS = ("Evalution.txt", "Evaluation.txt")
STYLES = {"R": "read", "T": "target", "S": "improvised", "P": "natural"}
SEXES = {"F": "female", "M": "male"}
ATTRIBUTES = {"A": "arousal", "V": "valence", "D": "dominance", "N": "naturalness"}
"""Letter -> name in the row; means over the raters, 1 to 5."""

_NAME = re.compile(r"S\d{2}[AHNS]-(([FM])(\d{2}))-([PRST])-[FM]{2}\d+")
_TURN = re.compile(r"UTD-IMPROV-(\S+?)(?:\.avi)?;\s*(\w+)\s*;(.*)")
_MEAN = re.compile(r"([AVDN]):\s*(\d+(?:\.\d+)?)")


def read_msp_improv(root: Path) -> Clips:
    """Return the labelled turns, with their words where there are transcriptions.

    Raises:
        UserError: No labels or audio, a line that is no turn, or a turn without its clip.
    """
    require_folder(root, "MSP-IMPROV")
    table = next((root / name for name in LABELS if (root / name).is_file()), None)
    if table is None:
        near = where_it_fits(root, lambda folder: any((folder / n).is_file() for n in LABELS))
        raise UserError(
            f"{root / LABELS[0]}: no such file; MSP-IMPROV has it as distributed "
            f"(docs/corpora.md shows its layout){near}"
        )
    left_out, problems = LeftOut(), list[str]()
    files = {path.stem: path for path in find_clips(root, "**/MSP-IMPROV-*.wav", left_out)}
    words = {
        path.stem.replace("UTD-", "MSP-"): path for path in find_files(root, "**/*IMPROV-S*.txt")
    }
    clips = Clips()
    for number, line in read_lines(table):
        # Below each turn are its single raters' lines, which begin with theirs.
        if not line.startswith("UTD-IMPROV-"):
            continue
        turn = _TURN.match(line)
        name = _NAME.fullmatch(turn[1]) if turn else None
        if turn is None or name is None or turn[2] not in "AHNSOX":
            problems.append(
                f"{table}:{number}: no turn; expected `UTD-IMPROV-S01A-F01-S-FM01.avi; LABEL; "
                "A:1.0; ...`, LABEL one of A, H, N, S, O, X"
            )
            continue
        stem = f"MSP-IMPROV-{turn[1]}"
        path = files.pop(stem, None)
        if path is None:
            problems.append(f"{table}:{number}: no clip {stem}.wav below {root}; unpack the audio")
            continue
        text = read_text(words[stem], encodings=("cp1252",)) if stem in words else ""
        means = {ATTRIBUTES[key]: float(mean) for key, mean in _MEAN.findall(turn[3])}
        clips.append(
            CorpusClip(
                id=stem,
                audio=relative(path, root),
                raw_label=turn[2],
                speaker=name[1],
                session=f"Ses{name[3]}",
                text=" ".join(text.split()) or None,
                sex=SEXES[name[2]],
                lang="en",
                extra={"style": STYLES[name[4]], **means},
            )
        )
    for path in files.values():
        left_out.add(f"clips that {table.name} does not name", path)
    return finish("MSP-IMPROV", root, clips, problems, left_out)
