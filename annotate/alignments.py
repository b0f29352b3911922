"""Where the words of a clip are: files of forced aligners, as `words` of manifest rows.

    .TextGrid   Praat's, long or short, one a clip: the Montreal Forced Aligner's, MSP-Podcast's
    .wdseg      Sphinx's, one a clip: IEMOCAP's `sentences/ForcedAlignment`
    .ctm        NIST's, any number of clips a file: CLIP CHANNEL START DURATION WORD [CONFIDENCE]

A file belongs to the clip of its name (without extension); in a CTM file, the first field names the
clip. Silences and noises are left out. Where a row has a text, its spelling is taken, and a clip
whose words are others gets none.

Sources: "TextGrid file formats" of Praat's manual; CMU Sphinx's sphinx3_align (frames of 10 ms, the
last one included); the CTM section of NIST's sctk documentation.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from annotate.corpora.clips import LeftOut, find_files
from annotate.corpora.texts import read_lines, read_text
from annotate.inspect.leaks import normalized
from configs.errors import UserError
from data.files import Row
from data.prosody.stress import Word

EXTENSIONS = (".textgrid", ".wdseg", ".ctm")
FRAME_S = 0.01
"""Of a .wdseg file."""
TOLERANCE_S = 0.1
"""By how much an alignment may run over the end of its clip, for rounding; it is cut there."""
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


Read = Callable[[], Aligned]
"""Reads one alignment. Raises UserError."""


def with_words(rows: Sequence[Row], folder: Path, left_out: LeftOut) -> list[dict[str, Any]]:
    """Return new rows, in the same order, with `words` where there is an alignment.

    Args:
        rows: Rows of a manifest; `text` and `duration_s` are looked at where they have them.
        folder: Holds the files, in whatever folders.
        left_out: Counts clips without an alignment or with one of other words, and alignments
            without a clip.

    Raises:
        UserError: No files, one that is malformed or belongs to several clips, words that overlap
            or lie outside their clip, or not one row with words.
    """
    files = _files(folder)
    found, used = dict[int, Aligned](), set[str]()
    by_stem: dict[str, list[str]] = defaultdict(list)
    for name in files:
        by_stem[PurePosixPath(name).name].append(name)
    num_clips = Counter(PurePosixPath(row["audio"]).stem for row in rows)
    for place, row in enumerate(rows):
        clip = PurePosixPath(row["audio"]).with_suffix("")
        names = by_stem.get(clip.name, [])
        if names:
            name = _of_clip(clip, names, is_alone=num_clips[clip.name] == 1)
            used.add(name)
            found[place] = files[name]()
    for name in files.keys() - used:
        left_out.add("alignments without a clip", name)
    complete: list[dict[str, Any]] = []
    for place, row in enumerate(rows):
        words = _checked(row, found.get(place), left_out)
        shown = [{"word": w.text, "start_s": w.start_s, "end_s": w.end_s} for w in words]
        complete.append({**row, "words": shown} if shown else dict(row))
    if not any(row.get("words") for row in complete):
        reasons = "; ".join(left_out.lines())
        raise UserError(f"alignments {folder}: not one clip gets words from it ({reasons})")
    return complete


def _files(folder: Path) -> dict[str, Read]:
    """Return path below the folder, without extension, or name in a CTM file -> what reads it."""
    if not folder.is_dir():
        raise UserError(f"alignments {folder}: no such folder")
    paths = [path for path in find_files(folder, "**/*.*") if path.suffix.lower() in EXTENSIONS]
    if not paths:
        raise UserError(
            f"alignments {folder}: holds no file of {', '.join(EXTENSIONS)}; name the folder that "
            "the aligner wrote"
        )
    found: dict[str, Read] = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        read = {".textgrid": read_text_grid, ".wdseg": read_wdseg}.get(path.suffix.lower())
        new = {name: partial(read, path)} if read else read_ctm(path)
        twice = sorted(found.keys() & new.keys())
        if twice:
            raise UserError(f"{path}: {twice[0]} has two alignments in {folder}; keep one")
        found |= new
    return found


def _of_clip(clip: PurePosixPath, names: Sequence[str], *, is_alone: bool) -> str:
    """Return the alignment of a clip among those of its name: the one with most of its path."""
    shared = {name: _shared_end(clip, PurePosixPath(name)) for name in names}
    best = [name for name in names if shared[name] == max(shared.values())]
    if len(best) > 1 or (shared[best[0]] < 2 and not (is_alone and len(names) == 1)):
        raise UserError(
            f"alignments: {best[0]} could be of several clips called {clip.name}; put the files "
            "into folders named like those of their clips"
        )
    return best[0]


def _shared_end(one: PurePosixPath, other: PurePosixPath) -> int:
    """Return how many parts at the ends of two paths are alike."""
    pairs = list(zip(reversed(one.parts), reversed(other.parts), strict=False))
    return next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))


def _checked(row: Row, aligned: Aligned | None, left_out: LeftOut) -> list[Word]:
    """Return the words of a row: in its clip, and spelled as in its text."""
    if aligned is None:
        left_out.add("clips without an alignment", row["id"])
        return []
    words = list(aligned.words)
    length = row.get("duration_s")
    if length is not None:
        late = [word for word in words if word.end_s > length + TOLERANCE_S]
        if late:
            raise UserError(
                f"{aligned.where}: {late[0].text!r} ends at {late[0].end_s:g} s, and the clip "
                f"{row['audio']} lasts {length:g} s; align the clips themselves"
            )
        words = [Word(w.text, w.start_s, min(w.end_s, length)) for w in words]
    if row.get("text"):
        words = spelled(words, row["text"])
        if not words:
            left_out.add("clips whose text has other words than the alignment", aligned.where)
    elif any(word.text.casefold() in UNKNOWN for word in words):
        left_out.add("clips with unknown words and no text", aligned.where)
        return []
    return [word for word in words if word.end_s > word.start_s]


def spelled(words: Sequence[Word], text: str) -> list[Word]:
    """Return aligned words as a text spells them; nothing if the text has other words.

    Letters and digits are compared, whatever their case. Where one side splits a word that the
    other does not (`well-known`, `they 're`), the parts are taken together. A word that the aligner
    does not have stands for any one.
    """
    spoken = [(token, normalized(token)) for token in text.split() if normalized(token)]
    made: list[Word] = []
    place = 0
    while place < len(words):
        if not spoken:
            return []
        token, letters = spoken.pop(0)
        first = last = words[place]
        place += 1
        if first.text.casefold() not in UNKNOWN:
            heard = normalized(first.text)
            while heard != letters:
                if letters.startswith(heard) and place < len(words):
                    last = words[place]
                    heard += normalized(last.text)
                    place += 1
                elif heard.startswith(letters) and spoken:
                    more, further = spoken.pop(0)
                    token, letters = f"{token} {more}", letters + further
                else:
                    return []
        made.append(Word(token, first.start_s, last.end_s))
    return [] if spoken else made


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
    return _aligned(path, chosen[0][1])


def _tiers(path: Path) -> list[tuple[str, list[tuple[int, str, float, float]]]]:
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
    found: list[tuple[str, list[tuple[int, str, float, float]]]] = []
    for _ in range(int(take("number"))):
        kind, name = take("text"), take("text")
        for _ in ("start", "end"):
            take("number")
        intervals: list[tuple[int, str, float, float]] = []
        for _ in range(int(take("number"))):
            start, first = float(take("number")), line
            end = float(take("number")) if kind == "IntervalTier" else start
            intervals.append((first, take("text"), start, end))
        if kind == "IntervalTier":
            found.append((name, intervals))
    return found


def read_wdseg(path: Path) -> Aligned:
    """Return the words of a .wdseg file: first frame, last frame, score, word.

    Raises:
        UserError: A line is another, or words overlap.
    """
    intervals: list[tuple[int, str, float, float]] = []
    for number, line in read_lines(path, encodings=("cp1252",)):
        fields = line.split()
        if fields[0] == "SFrm" or line.startswith("Total score"):
            continue
        if len(fields) != 4 or not (fields[0].isdecimal() and fields[1].isdecimal()):
            raise UserError(f"{path}:{number}: expected FIRST_FRAME LAST_FRAME SCORE WORD")
        start, end = int(fields[0]) * FRAME_S, (int(fields[1]) + 1) * FRAME_S
        intervals.append((number, fields[3], round(start, 2), round(end, 2)))
    return _aligned(path, intervals)


def read_ctm(path: Path) -> dict[str, Read]:
    """Return clip -> what returns its words, of a CTM file.

    Raises:
        UserError: A line is another, or a clip has two channels.
    """
    clips: dict[str, list[tuple[int, str, float, float]]] = defaultdict(list)
    channels: dict[str, str] = {}
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
        if channels.setdefault(name, channel) != channel:
            raise UserError(f"{path}:{number}: {name} has two channels; align one of them")
        clips[name].append(interval)
    return {name: partial(_aligned, path, intervals) for name, intervals in clips.items()}


def _aligned(path: Path, intervals: Sequence[tuple[int, str, float, float]]) -> Aligned:
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
