"""Rows of any source as clips of a corpus: what they may hold, what is missing, what is refused."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.corpora.base import Clips, CorpusClip, finish
from annotate.corpora.clips import LeftOut
from annotate.sources.paths import ClipPaths, MissingClipError, PathError
from annotate.sources.written import WrittenClips
from configs.annotate_schema import SourceConfig
from configs.errors import UserError
from data.audio import AudioError, probe
from data.progress import reported

logger = logging.getLogger(__name__)

SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("eval", "evaluation", "dev", "development", "valid", "val"), "eval"),
    "validation": "eval",
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""What splits are called elsewhere -> ours."""

SEXES = {
    **dict.fromkeys(("female", "f", "woman"), "female"),
    **dict.fromkeys(("male", "m", "man"), "male"),
}
"""Words for the sex of a speaker -> ours."""

LANGUAGES = {
    **dict.fromkeys(("en", "eng", "english"), "en"),
    **dict.fromkeys(("zh", "zho", "chi", "cmn", "chinese", "mandarin"), "zh"),
    **dict.fromkeys(("de", "deu", "ger", "german"), "de"),
    **dict.fromkeys(("fr", "fra", "fre", "french"), "fr"),
    **dict.fromkeys(("es", "spa", "spanish"), "es"),
    **dict.fromkeys(("it", "ita", "italian"), "it"),
    **dict.fromkeys(("ja", "jpn", "japanese"), "ja"),
    **dict.fromkeys(("ko", "kor", "korean"), "ko"),
    **dict.fromkeys(("ru", "rus", "russian"), "ru"),
    **dict.fromkeys(("ar", "ara", "arabic"), "ar"),
    **dict.fromkeys(("pt", "por", "portuguese"), "pt"),
    **dict.fromkeys(("fa", "fas", "per", "persian"), "fa"),
    **dict.fromkeys(("tr", "tur", "turkish"), "tr"),
    **dict.fromkeys(("ur", "urd", "urdu"), "ur"),
}
"""Names and other codes of languages -> ISO 639-1; two letters stand for themselves."""

NOTHING = frozenset(("", "nan", "null", "none", "n/a", "na", "unknown", "unspecified"))
"""What stands in cells of speaker, session, split, sex and language that are not known."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a source, by our names of its fields (`columns.USUAL`)."""

    where: str
    """`FILE:LINE`, for messages."""
    fields: Mapping[str, Any]
    """Values as the source has them."""
    base: Path
    """Folder that its path of a clip may be relative to."""
    content: bytes | None = None
    """The clip's file itself, if the source holds it; `audio` is its name then."""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further facts that go into the row."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """A source as clips."""

    name: str
    """Of the data set; ids of rows begin with it."""
    root: Path
    """Folder that the clips' paths are relative to."""
    clips: Clips
    """Sorted by id."""


def source_name(config: SourceConfig, root: Path) -> str:
    """Return the name of a source's data set."""
    return config.name or root.resolve().name or "data"


def gather(
    records: Iterable[Record],
    config: SourceConfig,
    root: Path,
    written: WrittenClips,
    left_out: LeftOut,
    *,
    follow_links: bool = False,
) -> Gathered:
    """Return the clips of a source; what is missing in them is said.

    They are kept in a file without a name. If the source holds clips itself, or parts of
    recordings, all of its clips are written into a folder of their own, which becomes their root.
    Links below the root may lead out of it with `follow_links`.

    Raises:
        UserError: Whatever is wrong in the rows, by file and line.
    """
    name = source_name(config, root)
    paths = ClipPaths(root, follow_links=follow_links)
    clips = Clips(written.folder.parent)
    problems: list[str] = []
    for record in reported(records, 0, "read {} rows"):
        try:
            clips.append(_clip(record, paths, written))
        except MissingClipError as error:
            _missing(config, problems, left_out, "rows whose clip is not there", record, f"{error}")
        except _NoLabelError:
            _missing(config, problems, left_out, "rows without a label", record, "has no label")
        except PathError as error:
            problems.append(f"{record.where}: {error}")
    if not clips and not problems:
        reasons = "".join(f"; {line}" for line in left_out.lines())
        raise UserError(f"{root}: no row of the source names a clip{reasons}")
    if written.names and not problems:
        for clip in clips:
            written.copy(paths.root, clip.audio)
        root = written.folder
        logger.info(f"{root}: {len(clips)} clips are written; they are read from there")
    clips = finish(name, root, clips, problems, left_out)
    facts = ("speaker", "session", "sex", "lang", "text", "split")
    counts = Counter(name for clip in clips for name in facts if getattr(clip, name) is not None)
    for fact in facts:
        if counts[fact]:
            logger.info(f"{fact}: {counts[fact]} of {len(clips)} clips")
    lacking = [fact for fact in ("speaker", "text") if not counts[fact]]
    if lacking:
        logger.info(f"no clip has a {' or a '.join(lacking)}")
    return Gathered(name, root, clips)


class _NoLabelError(Exception):
    pass


def _missing(
    config: SourceConfig,
    problems: list[str],
    left_out: LeftOut,
    kind: str,
    record: Record,
    what: str,
) -> None:
    if config.missing == "skip":
        left_out.add(kind, record.where)
    else:
        problems.append(f"{record.where}: {what}; source.missing=skip leaves out {kind}")


def _clip(record: Record, paths: ClipPaths, written: WrittenClips) -> CorpusClip:
    fields = record.fields
    label = _text(fields, "label")
    if label is None:
        raise _NoLabelError
    split = _word(fields, "split", SPLITS)
    name = _text(fields, "id")
    audio = _text(fields, "audio")
    if record.content is not None:
        audio = written.write(audio or "", record.content, split or "")
        stem = audio
    elif audio is None:
        raise MissingClipError("names no clip")
    else:
        audio = stem = paths.find(audio, record.base)
        if _known(fields, "channel") is not None:
            _refuse_channels(paths.root / audio, fields["channel"])
        start, end, length = (_seconds(fields, key) for key in ("start", "end", "duration"))
        if start is not None or end is not None:
            if end is None and length is not None:
                end = (start or 0.0) + length
            audio = stem = written.part(paths.root, audio, start or 0.0, end, name)
    return CorpusClip(
        id=name or stem.rpartition(".")[0],
        audio=audio,
        raw_label=label,
        speaker=_known(fields, "speaker"),
        session=_known(fields, "session"),
        text=_text(fields, "text"),
        split=split,
        sex=_word(fields, "sex", SEXES),
        lang=_language(fields),
        extra=record.extra,
    )


def _refuse_channels(path: Path, channel: Any) -> None:
    try:
        number = probe(path).channels
    except AudioError as error:
        raise PathError(f"{error}") from error
    if number > 1:
        raise PathError(
            f"is channel {channel} of {path}, which has {number}; write each channel as a file, or "
            "leave the column out with source.columns={channel: ''}"
        )


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    """Return a field as text; whole numbers are taken as they are written, 3.0 as 3."""
    value = fields.get(name)
    if isinstance(value, float):
        if value != value:
            return None
        value = int(value) if value.is_integer() else value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PathError(f"its {name} is {value!r}; a text or a number is expected")
    text = str(value).strip()
    return None if text in ("", "nan", "NaN") else text


def _known(fields: Mapping[str, Any], name: str) -> str | None:
    text = _text(fields, name)
    return None if text is None or text.casefold() in NOTHING else text


def _word(fields: Mapping[str, Any], name: str, words: Mapping[str, str]) -> str | None:
    text = _known(fields, name)
    if text is None:
        return None
    if text.casefold() not in words:
        raise PathError(
            f"its {name} {text!r} is not known; write one of {', '.join(words)}, or leave the "
            f"column out with source.columns={{{name}: ''}}"
        )
    return words[text.casefold()]


def _language(fields: Mapping[str, Any]) -> str | None:
    text = _known(fields, "lang")
    if text is None:
        return None
    first = re.split(r"[-_]", text.casefold())[0]
    if re.fullmatch("[a-z]{2}", first):
        return first
    return _word({"lang": first}, "lang", LANGUAGES)


def _seconds(fields: Mapping[str, Any], name: str) -> float | None:
    text = _text(fields, name)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e7:
        raise PathError(
            f"its {name} is {text!r}; a time in seconds is expected, such as 12.34, or leave the "
            f"column out with source.columns={{{name}: ''}}"
        )
    return value
