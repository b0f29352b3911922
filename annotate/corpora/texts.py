"""Text files of corpora and of users: whatever encoding and line ends they have, or refused."""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from configs.errors import UserError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks; those of UTF-32 begin like those of UTF-16."""

MIN_HANZI = 8
"""Characters from which a text without a mark may be taken for Chinese."""

PAGES = ("cp1252", "cp1250", "cp1254", "cp1257")
"""Western, Central European, Turkish and Baltic text of Windows, which nothing tells apart."""

_SAME = frozenset(
    code
    for code in range(0x80, 0x100)
    if len(meanings := {bytes((code,)).decode(page, "replace") for page in PAGES}) == 1
    and meanings != {"\ufffd"}
)
"""Bytes that mean the same in all of them: quotes, dashes, `ä`, `é`, `ö`, `ü`, `ß` and a few."""

_USUAL_MARKS = frozenset("“”\u2018\u2019\u2013—…\u00a0")
"""What a text of Windows-1252 may hold besides letters; other marks are letters elsewhere."""

_ENGLISH = re.compile(
    r"\b(?:\w+n\u2019t|\w+\u2019(?:re|ve|ll)|I\u2019[md]"
    r"|(?:it|that|he|she|what|there|let|who|here|where|how)\u2019s)\b",
    re.IGNORECASE,
)
"""Words whose apostrophe is one for sure."""

_ODD_MARKS = re.compile(r"[^\W\d_][“\u2018…\u2013—]|[”\u2013—][^\W\d_]")
"""Where marks of Windows-1252 are rather letters of Mac or DOS text, as in `sch”n`, `voil…`."""

_COMMON_HANZI = frozenset("的不一这他她你个来到说好吗吧就么没要会很都什也大天生气快被把和让给为")
"""Characters that hardly a Chinese text is without; Cyrillic letters in pairs do not look so."""

MAX_CONTROLS = 0.05
"""Share of control characters from which something is no text, such as UTF-16 without a mark."""

_HIGH = re.compile(rb"[\x80-\xff]+")
_CONTROLS = bytes(code for code in range(32) if not chr(code).isspace())


def read_text(path: Path, *, encodings: Sequence[str] = (), remedy: str = "") -> str:
    """Return what a text file holds.

    Tried are, in this order: what a byte-order mark says, UTF-16 where there are NUL bytes, UTF-8,
    and then the encodings that are given. Without these it is Windows-1252 or GB18030, if the bytes
    look like one of the two and not like the other; anything else is refused rather than guessed.

    Args:
        path: The file.
        encodings: What it is in if it is not in Unicode, where a corpus or its user says so.
        remedy: What to do with one that cannot be read; empty = save it as UTF-8.

    Raises:
        UserError: It cannot be opened, or its encoding is not known; with the line at which it
            stops being UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); {remedy or 'make it readable'}"
        ) from error
    marked = next((name for mark, name in MARKS if content.startswith(mark)), "")
    if not marked and b"\0" in content:
        marked = _unmarked_utf_16(content)
        if not marked:
            raise UserError(
                f"{path}:{content.count(10, 0, content.index(0)) + 1}: holds a NUL byte and is not "
                f"UTF-16 for sure; {remedy or 'save the file as UTF-8'}"
            )
    try:
        text = content.decode(marked or "utf-8")
        controls = sum(c < " " and not c.isspace() for c in text)
        if controls <= MAX_CONTROLS * len(text):
            return text
        place, reason = 1, "control characters"
    except UnicodeDecodeError as error:
        place = content.count(b"\n", 0, error.start) + 1
        reason = error.reason
    if not marked:
        for encoding in encodings or _likely(content):
            try:
                text = content.decode(encoding)
            except (UnicodeDecodeError, LookupError):
                continue
            if not _is_garbage(text):
                return text
    tried = (
        ", ".join(("Unicode", *encodings)) if encodings else "Unicode, and nothing else for sure"
    )
    raise UserError(
        f"{path}:{place}: the file is not in {marked or 'UTF-8'} ({reason}; tried {tried}); "
        f"{remedy or f'convert it: iconv -f ITS_ENCODING -t UTF-8 {path.name}'}"
    )


def open_text(
    path: Path, *, encodings: Sequence[str] = (), remedy: str = "", newline: str = ""
) -> TextIO:
    """Open what `read_text` returns: UTF-8 is read as it is taken, all else is in memory at once.

    Lines end where the `newline` of `open` says; their ends stay as they are.
    """
    if _is_plain(path):
        return path.open(encoding="utf-8-sig", newline=newline)
    return io.StringIO(read_text(path, encodings=encodings, remedy=remedy), newline=newline)


def _is_plain(path: Path) -> bool:
    """Return whether a file is UTF-8 for sure, with or without a mark, by a look at its parts."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    num_characters = num_controls = 0
    try:
        with path.open("rb") as file:
            while part := file.read(2**20):
                if b"\0" in part:
                    return False
                num_characters += len(decoder.decode(part))
                num_controls += len(part) - len(part.translate(None, _CONTROLS))
        decoder.decode(b"", final=True)
    except (OSError, UnicodeDecodeError):
        return False
    return num_controls <= MAX_CONTROLS * num_characters


def read_lines(
    path: Path, *, encodings: Sequence[str] = (), remedy: str = ""
) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of each line that is not blank, of whatever line ends.

    Lines end at line feeds and carriage returns alone, not at the other characters at which
    `str.splitlines` cuts. See `read_text` for the arguments and errors.
    """
    with open_text(path, encodings=encodings, remedy=remedy) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def read_csv(
    path: Path,
    columns: Collection[str] = (),
    *,
    delimiter: str = ",",
    encodings: Sequence[str] = (),
    remedy: str = "unpack it again",
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the last line, from 1, and the fields of each row of a table with a line of names.

    Fields that a short row does not have are empty; blank lines are skipped.

    Args:
        path: The table.
        columns: Names that it must have.
        delimiter: What stands between two fields.
        encodings: See `read_text`.
        remedy: What to do with a file that is no such table.

    Raises:
        UserError: It cannot be read, has a column twice, none of a name that it must have, a row
            with more fields than names, or quotes that do not end.
    """
    with open_text(path, encodings=encodings, remedy=remedy) as file:
        # A field may be long, such as a reasoning; the default limit is 131072 characters.
        csv.field_size_limit(max(csv.field_size_limit(), path.stat().st_size))
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        names: list[str] = []
        try:
            for row in reader:
                if not any(field.strip() for field in row):
                    continue
                if not names:
                    names = [name.strip() for name in row]
                    _check_names(path, names, columns, remedy)
                    continue
                if len(row) > len(names) and not any(map(str.strip, row[len(names) :])):
                    del row[len(names) :]  # commas at the end, as spreadsheets write them
                if len(row) > len(names):
                    raise UserError(
                        f"{path}:{reader.line_num}: has {len(row)} fields and the table has "
                        f"{len(names)} columns; put fields that hold {delimiter!r} in quotes"
                    )
                row += [""] * (len(names) - len(row))
                yield reader.line_num, dict(zip(names, row, strict=True))
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num}: is no CSV ({error}); {remedy}") from error
        if not names:
            raise UserError(f"{path}: is empty; {remedy}")


def _check_names(path: Path, names: Sequence[str], columns: Collection[str], remedy: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    if twice:
        raise UserError(f"{path}:1: has the column {twice[0]!r} twice; rename one")
    missing = sorted(set(columns) - set(names))
    if missing:
        raise UserError(f"{path}:1: has no column {', '.join(missing)}; {remedy}")


def _unmarked_utf_16(content: bytes) -> str:
    """Return which UTF-16 bytes with NUL among them are; empty if that is not sure."""
    # Of letters and line ends, the high byte is NUL: it comes second in little endian.
    second, first = content[1::2].count(0), content[::2].count(0)
    most, rest = max(first, second), min(first, second)
    try:
        content.decode("utf-8")
        least = 0.4  # ASCII with a NUL too many would else become characters that nobody wrote
    except UnicodeDecodeError:
        least = 0.12  # a few characters of each line are ASCII
    sure = rest <= 0.01 * most and most >= least * len(content) and len(content) % 2 == 0
    return ("utf-16-le" if second > first else "utf-16-be") if sure else ""


def _is_garbage(text: str) -> bool:
    """Return whether a text holds characters that no text has: the encoding is another one."""
    return any(
        unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs") and c not in "\t\r\n\v\f\x1a"
        for c in set(text)
    )


def _likely(content: bytes) -> tuple[str, ...]:
    """Return the encoding that bytes outside Unicode are in; nothing where two are possible."""
    likely = [
        name
        for name, looks in (("cp1252", _is_western), ("gb18030", _is_chinese))
        if looks(content)
    ]
    return (likely[0],) if len(likely) == 1 else ()


def _is_western(content: bytes) -> bool:
    """Return whether high bytes mean the same in all of `PAGES`, and give a usual text."""
    runs = _HIGH.findall(content)
    if not _SAME.issuperset(b"".join(runs)):
        return False
    text = content.decode("cp1252")
    alone = sum(len(run) == 1 for run in runs)
    marks = {c for c in text if c > "\x7f" and not c.isalpha()}
    if max(map(len, runs)) > 3 or alone < 0.5 * len(runs) or marks - _USUAL_MARKS:
        return False
    if re.search("[a-zß-ÿ][À-Þ]", text):
        return False
    pairs = all(text.count(left) == text.count(right) for left, right in ("“”", "\u2018\u2019"))
    return bool(_ENGLISH.search(text)) or (pairs and not _ODD_MARKS.search(text))


def _is_chinese(content: bytes) -> bool:
    """Return whether it is a text of common Chinese characters, in no other language of pairs.

    Common characters (GB 2312, level 1) have a first byte of 0xB0 to 0xD7. Korean syllables end at
    0xC8, of the same shape; Japanese has kana; Cyrillic letters in pairs give no common words.
    """
    try:
        text = content.decode("gb18030")
        leads = [c.encode("gb2312")[0] for c in text if c > "\x7f"]
    except UnicodeError:
        return False
    if any("\u3040" <= c <= "\u30ff" for c in text):
        return False
    usual = [c for c in text if c in _COMMON_HANZI]
    if len(set(usual)) < 2 or len(usual) < 0.05 * len(leads):
        return False
    hanzi = [lead for lead in leads if lead >= 0xB0]
    common = sum(lead <= 0xD7 for lead in hanzi)
    beyond = sum(0xC8 < lead <= 0xD7 for lead in hanzi)
    return len(hanzi) >= MIN_HANZI and common >= 0.8 * len(hanzi) and beyond >= 0.1 * len(hanzi)
