"""MSP-Podcast: `Labels/labels_consensus.csv` over the clips of `Audios`, one row a clip.

The label is the raters' majority, as a letter: A anger, C contempt, D disgust, F fear, H happiness,
N neutral, S sadness, U surprise, O another emotion, X no agreement.

Source: Lotfian and Busso (2019), doi:10.1109/TAFFC.2017.2736999; the readme of release 1.12.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from annotate.corpora.base import Clips, CorpusClip, finish, lacks, relative, require_folder
from annotate.corpora.clips import LeftOut, count_unnamed, in_any_case, where_it_fits
from annotate.corpora.texts import read_csv, read_text
from configs.errors import UserError

SPLITS = {"Train": "train", "Development": "eval", "Test1": "test", "Test2": "test"}
"""Its sets -> ours; `split_set` of a row tells the two test sets apart."""
HIDDEN = "Test3"
"""Set whose labels and speakers are not released; where it is listed, it is left out."""
ATTRIBUTES = {"EmoAct": "arousal", "EmoVal": "valence", "EmoDom": "dominance"}
"""Column -> name in the row; means over the raters, 1 to 7."""
SEXES = {"Female": "female", "Male": "male"}

_LABELS = ("Labels/labels_consensus.csv", "Labels/labels_concensus.csv")
_AUDIO = ("Audios", "Audio")
_COLUMNS = {"FileName", "EmoClass", "SpkrID", "Gender", "Split_Set", *ATTRIBUTES}


def read_msp_podcast(root: Path) -> Clips:
    """Return the labelled clips with the split of the corpus, and transcripts where it has them.

    Raises:
        UserError: No labels or audio, other columns, a value that the corpus does not have, or a
            row without its clip.
    """
    require_folder(root, "MSP-Podcast")
    table = _first(root, _LABELS)
    audio = _first(root, _AUDIO)
    clips = Clips()
    problems: list[str] = []
    left_out = LeftOut()
    listed: set[str] = set()
    for number, row in read_csv(table, _COLUMNS, remedy="use the file of release 1.8 or later"):
        path = in_any_case(audio / row["FileName"])
        listed.add(path.name)
        if row["Split_Set"] == HIDDEN:
            left_out.add(f"rows of {HIDDEN}, whose labels are not released", f"{table}:{number}")
            continue
        problem = _problem(row, path)
        if problem:
            problems.append(f"{table}:{number}: {problem}")
            continue
        try:
            clips.append(_clip(row, path, root))
        except UserError as error:  # a transcript
            problems.append(str(error))
    count_unnamed(audio, "*.wav", listed, left_out)
    return finish("MSP-Podcast", root, clips, problems, left_out)


def _first(root: Path, names: tuple[str, ...]) -> Path:
    """Return the first that exists: older releases spell both names differently."""
    for name in names:
        if (root / name).exists():
            return root / name
    near = where_it_fits(root, lambda folder: any((folder / name).exists() for name in names))
    raise UserError(
        f"{root / names[0]}: no such file or folder; MSP-Podcast has it as distributed "
        f"(docs/corpora.md shows its layout){near}"
    )


def _problem(row: Mapping[str, str], path: Path) -> str | None:
    """Return what is wrong with a row."""
    if row["Split_Set"] not in SPLITS:
        return f"Split_Set is {row['Split_Set']!r}; expected {', '.join(SPLITS)} or {HIDDEN}"
    if not path.is_file():
        return lacks(path, f"no clip {path}; unpack the audio of the same release")
    for name in ATTRIBUTES:
        if _number(row[name]) is None:
            return f"{name} is {row[name]!r}; expected a number from 1 to 7"
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _clip(row: Mapping[str, str], path: Path, root: Path) -> CorpusClip:
    transcript = root / "Transcripts" / f"{path.stem}.txt"
    text = read_text(transcript).strip() if transcript.is_file() else ""
    attributes = {name: _number(row[column]) for column, name in ATTRIBUTES.items()}
    return CorpusClip(
        id=path.stem,
        audio=relative(path, root),
        raw_label=row["EmoClass"],
        speaker=None if row["SpkrID"].casefold() == "unknown" else row["SpkrID"],
        text=text or None,
        split=SPLITS[row["Split_Set"]],
        sex=SEXES.get(row["Gender"]),
        lang="en",
        extra={**attributes, "split_set": row["Split_Set"]},
    )
