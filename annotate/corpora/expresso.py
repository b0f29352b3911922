"""Expresso: `audio_48khz/read/ex01/happy/base/ex01_happy_00001.wav`, the label being the style.

The dialogues ship as two-channel files of minutes, which are no clips. They are read where they
have been cut at the pauses of `VAD_segments.txt` into one-channel files of seconds below
`conversational_vad_segmented`: `ex04-ex02/sad-sympathetic/` and then
`ex04-ex02_sad-sympathetic_001_channel2_segment_1.5_7.25.wav`, where channel 2 is ex02, sympathetic.

Source: Nguyen et al. (2023), arXiv:2308.05725;
https://github.com/facebookresearch/textlesslib/tree/main/examples/expresso/dataset
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from annotate.corpora.base import Clips, CorpusClip, finish, relative, require_file, require_folder
from annotate.corpora.clips import LeftOut, find_clips
from annotate.corpora.texts import read_lines

SEXES = {"ex01": "male", "ex02": "female", "ex03": "male", "ex04": "female"}
SPLITS = {"train": "train", "dev": "eval", "test": "test"}
NOT_SPEECH = "singing"
"""Style that is left out."""

Spans = Mapping[str, list[tuple[str, float, float]]]
"""Name of a file -> the split, start and end in s of the parts that the corpus's lists name."""

_READ = re.compile(r"(ex0[1-4])_([a-z]+)(?:_emphasis|_essentials)?_\d+")
_DIALOGUE = re.compile(
    r"(?P<file>(?P<speakers>ex0[1-4]-ex0[1-4])_(?P<styles>[a-z]+(?:-[a-z]+)?)_\d+)"
    r"_channel(?P<channel>[12])_segment_(?P<start>[\d.]+)_(?P<end>[\d.]+)"
)
_SPAN = re.compile(r"\(([\d.]*)s?,([\d.]*)s?\)")


def read_expresso(root: Path) -> Clips:
    """Return the short read clips with their texts, and the dialogues' segments if there are any.

    Long readings and singing are left out. A segment across the border of two splits has none.

    Raises:
        UserError: No `read` folder, transcriptions or split lists, a line of them that is none,
            a read clip without text, or a WAV file whose name is not the corpus's.
    """
    folder = require_folder(root, "Expresso", "audio_48khz", "read")
    problems: list[str] = []
    texts = _texts(require_file(root, "Expresso", "read_transcriptions.txt"), problems)
    spans = _spans(root)
    clips = Clips()
    left_out = LeftOut()
    for path in find_clips(folder, "*/*/base/*.wav", left_out):
        speaker, style = path.parts[-4:-2]
        name = _READ.fullmatch(path.stem)
        if style == NOT_SPEECH:
            left_out.add(f"clips of {NOT_SPEECH}", path)
            continue
        if name is None or name.groups() != (speaker, style):
            problems.append(f"{path}: not an Expresso name (SPEAKER_STYLE_NUMBER as its folders)")
        elif path.stem not in texts:
            problems.append(f"{path}: not in read_transcriptions.txt; unpack that again")
        else:
            split = _split(spans, path.stem, 0.0, math.inf)
            clips.append(_clip(path, root, speaker, style, split, texts[path.stem]))
    segments = root / "audio_48khz/conversational_vad_segmented"
    for path in find_clips(segments, "**/*.wav", left_out) if segments.is_dir() else ():
        name = _DIALOGUE.fullmatch(path.stem)
        if name is None:
            problems.append(
                f"{path}: not the name of a segment (PAIR_STYLES_NUMBER_channelN_segment_START_END)"
            )
            continue
        channel = int(name["channel"]) - 1
        speaker = name["speakers"].split("-")[channel]
        # One style is both speakers'.
        style = (name["styles"].split("-") * 2)[channel]
        split = _split(spans, name["file"], float(name["start"]), float(name["end"]))
        clips.append(_clip(path, root, speaker, style, split, None, session=name["file"]))
    return finish("Expresso", root, clips, problems, left_out)


def _clip(
    path: Path,
    root: Path,
    speaker: str,
    style: str,
    split: str | None,
    text: str | None,
    session: str | None = None,
) -> CorpusClip:
    return CorpusClip(
        id=path.stem,
        audio=relative(path, root),
        raw_label=style,
        speaker=speaker,
        session=session,
        text=text,
        split=split,
        sex=SEXES[speaker],
        lang="en",
    )


def _texts(path: Path, problems: list[str]) -> dict[str, str]:
    """Return name -> text of the lines `NAME<tab>TEXT`."""
    texts: dict[str, str] = {}
    for number, line in read_lines(path, remedy="unpack the file again"):
        name, tab, text = line.partition("\t")
        if tab:
            texts[name] = text.strip()
        else:
            problems.append(f"{path}:{number}: not NAME<tab>TEXT; unpack the file again")
    return texts


def _spans(root: Path) -> Spans:
    """Return what the three lists say: `NAME`, or `NAME<tab>(START,END)` for a part of it."""
    spans: dict[str, list[tuple[str, float, float]]] = {}
    for listed, split in SPLITS.items():
        path = require_file(root, "Expresso", "splits", f"{listed}.txt")
        for _, line in read_lines(path, remedy="unpack it again"):
            if line.startswith("#"):
                continue
            name, _, parts = line.partition("\t")
            for start, end in _SPAN.findall(parts) or [("", "")]:
                span = (split, float(start or 0), float(end or math.inf))
                spans.setdefault(name, []).append(span)
    return spans


def _split(spans: Spans, name: str, start: float, end: float) -> str | None:
    """Return the split that holds the whole of a part of a file."""
    for split, first, last in spans.get(name, ()):
        if first <= start and end <= last:
            return split
    return None
