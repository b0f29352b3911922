"""Files of forced aligners: the words of one clip, or of many.

    .TextGrid   Praat's, long or short, one a clip: the Montreal Forced Aligner's, MSP-Podcast's
    .wdseg      Sphinx's, one a clip: IEMOCAP's `sentences/ForcedAlignment`
    .ctm        NIST's, any number of clips a file: CLIP CHANNEL START DURATION WORD [CONFIDENCE]

Silences and noises are left out.

Sources: "TextGrid file formats" of Praat's manual; CMU Sphinx's sphinx3_align (frames of 10 ms, the
last one included); the CTM section of NIST's sctk documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from annotate.corpora.texts import read_lines, read_text
from configs.errors import UserError
from data.prosody.stress import Word

EXTENSIONS = (".textgrid", ".wdseg", ".ctm")
FRAME_S = 0.01
"""Of a .wdseg file."""
UNKNOWN = frozenset(("<unk>", "unk", "<oov>", "[oov]", "spn"))
"""What stands for a word that the aligner does not have."""
SILENT = frozenset(("", "sil", "sp", "silence", "<eps>", "<p:>", "<s>", "</s>", "#", "_", "-"))

_NOISE = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+|\{.*\}")
_VARIANT = re.compile(r"\(\d+\)$")
# What Praat reads: free-standing texts, numbers and flags; all else is comment.
_TOKEN = re.compile(
    r'(?:(?<=\s)|^)(?:"(?P<text>(?:[^"]|"")*)"|(?P<number>-?\d[\d.]*(?:[eE][-+]?\d+)?)'
    r"|(?P<flag><\w+>))(?=\s|$)|![^\n]*",
    re.MULTILINE,
)
_WORD_TIER = re.compile(r"(?:.* - )?words?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Aligned:
    """What an aligner says of one clip."""

    words: tuple[Word, ...]
    """Without silences; a word that it does not have is one of `UNKNOWN`."""
    where: str
    """FILE, or FILE:LINE of its first word."""


Interval = tuple[int, str, float, float]
"""Line, text, start and end in seconds."""


def read_text_grid(path: Path) -> Aligned:
    """Return the words of a TextGrid file: of its tier `words`, or of its only one.

    Raises:
        UserError: It is no TextGrid, has no or several such tiers, or words that overlap.
    """
    tiers = _tiers(path)
    named = [tier for tier in tiers if _WORD_TIER.fullmatch(tier[0])]
    chosen = named if named else tiers
    if len(chosen) != 1:
        names = ", ".join(repr(name) for name, _ in tiers) or "none"
        raise UserError(f"{path}: expected one tier of intervals called 'words'; it has {names}")
    return aligned_words(path, chosen[0][1])


def _tiers(path: Path) -> list[tuple[str, list[Interval]]]:
    """Return name and intervals (line, text, start, end) of the tiers of intervals."""
    content = read_text(path)
    tokens = [token for token in _TOKEN.finditer(content) if token.lastgroup]
    place, line = 0, 1

    def take(kind: str) -> str:
        nonlocal place, line
        token = tokens[place] if place < len(tokens) else None
        line = content.count("\n", 0, token.start() if token else len(content)) + 1
        if token is None or token.lastgroup != kind:
            what = f"{token[0]!r:.40}" if token else "the file's end"
            raise UserError(f"{path}:{line}: is no TextGrid: a {kind} is expected, not {what}")
        place += 1
        return token[kind].replace('""', '"')

    if [take("text"), take("text")] != ["ooTextFile", "TextGrid"]:
        raise UserError(f"{path}: is no TextGrid; its first lines have other names")
    for expected in ("number", "number", "flag"):
        take(expected)
    tiers: list[tuple[str, list[Interval]]] = []
    for _ in range(int(take("number"))):
        kind, name = take("text"), take("text")
        for _ in ("start", "end"):
            take("number")
        intervals: list[Interval] = []
        for _ in range(int(take("number"))):
            start, first = float(take("number")), line
            end = float(take("number")) if kind == "IntervalTier" else start
            intervals.append((first, take("text"), start, end))
        if kind == "IntervalTier":
            tiers.append((name, intervals))
    return tiers


def read_wdseg(path: Path) -> Aligned:
    """Return the words of a .wdseg file: first frame, last frame, score, word.

    Raises:
        UserError: A line is another, or words overlap.
    """
    intervals: list[Interval] = []
    for number, line in read_lines(path, encodings=("cp1252",)):
        fields = line.split()
        if fields[0] == "SFrm" or line.startswith("Total score"):
            continue
        if len(fields) != 4 or not (fields[0].isdecimal() and fields[1].isdecimal()):
            raise UserError(f"{path}:{number}: expected FIRST_FRAME LAST_FRAME SCORE WORD")
        start, end = int(fields[0]) * FRAME_S, (int(fields[1]) + 1) * FRAME_S
        intervals.append((number, fields[3], round(start, 2), round(end, 2)))
    return aligned_words(path, intervals)


def read_ctm(path: Path) -> Iterator[tuple[str, str, list[Interval]]]:
    """Yield clip, channel and intervals of the lines of a CTM file that follow each other.

    Raises:
        UserError: A line is another, or a clip has two channels.
    """
    for name, lines in groupby(_ctm_lines(path), key=itemgetter(0)):
        channel, intervals = "", list[Interval]()
        for _, line_channel, interval in lines:
            if intervals and line_channel != channel:
                raise two_channels(path, interval[0], name)
            channel = line_channel
            intervals.append(interval)
        yield name, channel, intervals


def two_channels(path: Path | str, line: int, name: str) -> UserError:
    """Return what is said of a clip with a second channel, which begins at a line."""
    return UserError(f"{path}:{line}: {name} has two channels; align one of them")


def _ctm_lines(path: Path) -> Iterator[tuple[str, str, Interval]]:
    for number, line in read_lines(path):
        if line.lstrip().startswith(";;"):
            continue
        fields = line.split()
        try:
            name, channel, start, length, word = fields[:5]
            interval = (number, word, float(start), round(float(start) + float(length), 4))
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: expected CLIP CHANNEL START DURATION WORD [CONFIDENCE]"
            ) from error
        yield name, channel, interval


def aligned_words(path: Path, intervals: Sequence[Interval]) -> Aligned:
    """Return the words among intervals (line, text, start, end); refuse times that run back."""
    words: list[Word] = []
    for line, text, start, end in intervals:
        if not 0 <= start <= end or (words and start < words[-1].end_s - FRAME_S / 2):
            raise UserError(
                f"{path}:{line}: {text!r} is from {start:g} to {end:g} s"
                + (f", and the word before ends at {words[-1].end_s:g} s" if words else "")
                + "; align the clip again"
            )
        plain = _VARIANT.sub("", text.strip())
        is_unknown = plain.casefold() in UNKNOWN
        if is_unknown or not (plain.casefold() in SILENT or _NOISE.fullmatch(plain)):
            words.append(Word(plain, start, end))
    first = intervals[0][0] if intervals else 1
    return Aligned(tuple(words), f"{path}:{first}")
