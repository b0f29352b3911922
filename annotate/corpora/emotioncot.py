"""EmotionCoT: rows of JSON about clips of other corpora, with a reasoning each.

The release has no audio: `audio_path` is taken relative to the folder that the annotation files
stand in. It names neither speakers nor splits; IEMOCAP, Expresso and EARS have the speaker in the
clip's name, which is read from there, so that one person does not get into two splits.

Source: https://huggingface.co/datasets/ddwang2000/EmotionCoT;
https://github.com/dingdongwang/EmotionThinker, `EmotionCoT/pipeline`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate.corpora.annotations import read_rows
from annotate.corpora.base import Clips, CorpusClip, finish, lacks, relative, require_folder
from annotate.corpora.clips import in_any_case, is_junk, where_it_fits
from configs.errors import UserError

FIELDS = {
    "audio": ("audio_path", "audio"),
    "text": ("transcription", "text", "transcript"),
    "emotion": ("emotion", "gt", "label"),
    "gender": ("gender", "gender_new"),
    "age_level": ("age_level", "age_group"),
    "intonation": ("intonation", "contour_shape"),
    "stressed_words": ("stressed_words", "stress"),
    "reasoning": ("cot_analysis", "reasoning"),
}
"""Field -> its names in the release and its pipeline; the first that is set counts."""
KEPT = ("pitch_level", "energy_level", "speed_level", "intonation", "stressed_words", "age_level")
"""Annotations that go into the row as they are; they come from models and are noisy."""
SEXES = {"female": "female", "male": "male"}

_SIDE_FILES = (".errors.jsonl", ".thresholds.json")
_THINK = re.compile(r"<think>(.*?)(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"<answer>.*?(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_IEMOCAP = re.compile(r"(Ses0[1-5])[FM]_(?:impro|script)\w*_([FM])\d{3}")
_EXPRESSO = re.compile(r"(ex0[1-4])_[a-z]+")
_EARS = re.compile(r"(?:^|[/_-])(p\d{3})[/_-]")


def read_emotioncot(root: Path) -> Clips:
    """Return the clips of all `.jsonl` and `.json` files of the folder, the label in lower case.

    Raises:
        UserError: No such file, a file that is not JSON, or a row without path, emotion or clip.
    """
    require_folder(root, "EmotionCoT")
    files = _annotation_files(root)
    if not files:
        near = where_it_fits(root, lambda folder: bool(_annotation_files(folder)))
        raise UserError(
            f"{root}: no .jsonl or .json file; put EmotionCoT's annotations there{near}"
        )
    clips = Clips()
    problems: list[str] = []
    for file in files:
        for where, row in read_rows(file):
            facts = {
                field: next((row[name] for name in names if row.get(name)), None)
                for field, names in FIELDS.items()
            }
            problem = _problem(facts, root)
            if problem:
                problems.append(f"{where}: {problem}")
            else:
                clips.append(_clip(row, facts, root))
    return finish("EmotionCoT", root, clips, problems)


def _annotation_files(folder: Path) -> list[Path]:
    files = [path for path in sorted(folder.glob("*.json*")) if path.suffix in (".json", ".jsonl")]
    return [p for p in files if not (is_junk(p.name) or p.name.endswith(_SIDE_FILES))]


def strip_tags(reasoning: str) -> str:
    """Return the reasoning alone: inside `<think>` if there is one, and never the answer."""
    think = _THINK.search(reasoning)
    inside = think[1] if think else _ANSWER.sub("", reasoning)
    return _TAG.sub("", inside).strip()


def _problem(facts: Mapping[str, Any], root: Path) -> str | None:
    """Return what is wrong with a row."""
    for name in ("audio", "emotion"):
        if not isinstance(facts[name], str):
            return f"{name} is {facts[name]!r}; expected a text in {' or '.join(FIELDS[name])}"
    for name in ("text", "gender", "reasoning"):
        if facts[name] is not None and not isinstance(facts[name], str):
            return f"{name} is {facts[name]!r}; expected a text"
    audio = Path(facts["audio"])
    if audio.is_absolute() or ".." in audio.parts:
        return f"audio {audio} leaves {root}; write its path relative to that folder"
    path = in_any_case(root / audio)
    if not path.is_file():
        remedy = "get the corpus that it is from, or remove the row"
        return lacks(path, f"no clip {path}; {remedy}")
    return None


def _clip(row: Mapping[str, Any], facts: Mapping[str, Any], root: Path) -> CorpusClip:
    audio = Path(facts["audio"])
    speaker, session = _speaker(audio)
    extra = {name: {**row, **facts}.get(name) for name in KEPT}
    reasoning = strip_tags(facts["reasoning"] or "")
    # The corpus that the clip is from: levels such as "loud" have a meaning only within one.
    extra |= {"reasoning": reasoning or None, "dataset": row.get("dataset")}
    return CorpusClip(
        id=audio.with_suffix("").as_posix(),
        audio=relative(in_any_case(root / audio), root),
        raw_label=facts["emotion"].strip().lower(),
        speaker=row.get("speaker") or speaker,
        session=session,
        text=facts["text"],
        sex=SEXES.get((facts["gender"] or "").lower()),
        lang="en",
        extra={name: value for name, value in extra.items() if value is not None},
    )


def _speaker(audio: Path) -> tuple[str | None, str | None]:
    """Return speaker and session, where the clip's own corpus writes them in its name."""
    iemocap = _IEMOCAP.search(audio.stem)
    if iemocap:
        return f"{iemocap[1]}{iemocap[2]}", iemocap[1]
    other = _EXPRESSO.match(audio.stem) or _EARS.search(audio.as_posix())
    return (other[1] if other else None), None
