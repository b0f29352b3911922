"""Tables of clips: CSV, TSV, JSON, JSON Lines and Parquet, one row a clip."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from annotate.corpora.clips import LeftOut
from annotate.corpora.texts import open_text, read_csv, read_lines, read_text
from annotate.sources.arrow import ARROW, open_arrow
from annotate.sources.columns import choose_columns, describe_columns, renamed
from annotate.sources.gather import SPLITS, Record
from configs.annotate_schema import SourceConfig
from configs.errors import UserError

logger = logging.getLogger(__name__)

CSV = (".csv", ".tsv", ".tab")
JSON = (".json", ".jsonl", ".ndjson")

CHATS = frozenset(("messages", "conversations", "audios"))
"""Columns of rows that `corpus=chat` reads."""

PART = 2**16
"""Characters of a JSON list that are read at once."""

_SPACES = " \t\r\n"
_FOLLOWING = {"": "[", "[": "]", "item": ",]"}
"""What was read of a list -> the marks that may follow."""

_NO_TABLES = frozenset(
    ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
)
"""Files beside tables that are none."""


def read_tables(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the rows of the tables that `source.files` names, or of the only one in the root.

    Raises:
        UserError: No such table, several that may be meant, or columns that are not known.
    """
    for path in table_files(config, root, (*CSV, *JSON, *ARROW)):
        yield from read_table(path, config, split_of(path))


def table_files(config: SourceConfig, root: Path, ends: Sequence[str]) -> list[Path]:
    """Return the files of a source: those that are named, else the only one there is in the root.

    Several are taken together if their names say that they are splits, as `train.csv`, `test.csv`.

    Raises:
        UserError: One that does not exist or has another extension, or none, or several.
    """
    if config.files:
        return [_named_file(name, root, ends) for name in config.files]
    paths = sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in ends
        and path.name not in _NO_TABLES
        and not path.name.startswith(".")
        and path.is_file()
    )
    if not paths:
        raise UserError(
            f"{root}: holds no {', '.join(ends)} file; name it: source.files=[FILE], and give as "
            "root the folder that the clips are in"
        )
    if len(paths) > 1 and not all(split_of(path) for path in paths):
        raise UserError(
            f"{root}: holds {', '.join(path.name for path in paths[:10])}; say which: "
            f"source.files=[{paths[0].name}]"
        )
    return paths


def _named_file(name: str, root: Path, ends: Sequence[str]) -> Path:
    path = next((path for path in (root / name, Path(name)) if path.is_file()), None)
    if path is None:
        raise UserError(f"source.files: {name}: no such file, in the root {root} or from here")
    if path.suffix.lower() not in ends:
        raise UserError(f"source.files: {name}: is none of {', '.join(ends)}")
    return path


def split_of(path: Path) -> str | None:
    """Return the split that a file's name says, as `train.csv` or `test-00000-of-00002.parquet`."""
    word = path.stem.split("-")[0].split(".")[0].casefold()
    return word if word in SPLITS else None


def read_table(path: Path, config: SourceConfig, split: str | None) -> Iterator[Record]:
    """Yield the rows of one table.

    Args:
        path: The table.
        config: How it is read.
        split: Of its rows, where no column tells.

    Raises:
        UserError: It cannot be read, or its columns are not known.
    """
    names_of: Mapping[str, Sequence[str]] = {}
    guessed: dict[str, str] = {}
    if path.suffix.lower() in ARROW:
        table = open_arrow(path)
        columns, rows, names_of = table.columns, table.rows(), table.label_names
        if table.audio:
            guessed = {"audio": table.audio}
    elif path.suffix.lower() in CSV:
        rows = read_csv(path, delimiter=_delimiter(path, config), encodings=_encodings(config))
        first = next(rows, None)
        if first is None:
            raise UserError(f"{path}: has names of columns and no rows")
        columns, rows = list(first[1]), chain([first], rows)
    else:
        columns, rows = columns_of(read_json(path, config)), read_json(path, config)
    if "audios" in columns and CHATS & set(columns):
        raise UserError(f"{path}: holds rows of a chat; read them with corpus=chat")
    chosen = choose_columns(str(path), columns, {**guessed, **config.columns}, ("audio", "label"))
    for line in describe_columns(chosen, columns):
        logger.info(f"{path}: {line}")
    split = None if "split" in {*chosen, *config.columns} else split
    if split:
        logger.info(f"{path}: split {SPLITS[split]}, by its name or folder")
    label_names = names_of.get(chosen["label"], ())
    for number, row in rows:
        fields = renamed(row, chosen)
        if split:
            fields["split"] = split
        if label_names:
            fields["label"] = _named_label(f"{path}:{number}", fields["label"], label_names)
        content = None
        if isinstance(fields["audio"], dict):
            held: dict[str, Any] = fields["audio"]
            content, fields["audio"] = held.get("bytes"), held.get("path")
        elif isinstance(fields["audio"], bytes):
            content, fields["audio"] = fields["audio"], None
        if content is not None and not isinstance(content, bytes):
            raise UserError(f"{path}:{number}: the bytes of its clip are no bytes")
        yield Record(f"{path}:{number}", fields, path.parent, content)


def _named_label(where: str, value: Any, names: Sequence[str]) -> str | None:
    """Return the name of a number that stands for a class; -1 is none."""
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise UserError(f"{where}: label {value!r} is none of the {len(names)} classes")
    return names[value]


def _encodings(config: SourceConfig) -> list[str]:
    return [config.encoding] if config.encoding else []


def _delimiter(path: Path, config: SourceConfig) -> str:
    """Return what stands between the fields: as it is given, else by the line of names."""
    if config.delimiter:
        return "\t" if config.delimiter in ("\\t", "tab") else config.delimiter
    if path.suffix.lower() != ".csv":
        return "\t"
    head = next((line for _, line in read_lines(path, encodings=_encodings(config))), "")
    counts = {mark: head.count(mark) for mark in (",", ";", "\t", "|")}
    best = max(counts, key=lambda mark: counts[mark])
    if best != "," and counts[best]:
        if counts[","]:
            raise UserError(
                f"{path}:1: the fields may be parted by ',' or {best!r}; say which: "
                "source.delimiter"
            )
        logger.info(f"{path}: fields are parted by {best!r}")
        return best
    return ","


def columns_of(rows: Iterable[tuple[int, Mapping[str, Any]]]) -> list[str]:
    """Return the keys of all rows, each where it comes first."""
    return list(dict.fromkeys(key for _, row in rows for key in row))


def read_json(path: Path, config: SourceConfig) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number, from 1, and row of a JSON list or of JSON Lines, whatever the file's name.

    One part of the file is in memory at a time.

    Raises:
        UserError: It cannot be read, or holds something else.
    """
    is_list = path.suffix.lower() == ".json" and _starts_list(path, config)
    rows = enumerate(_listed(path, config), start=1) if is_list else _lined(path, config)
    number = 0
    for number, row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: is a JSON {type(row).__name__}; a row is an object")
        yield number, row
    if not number:
        raise UserError(f"{path}: holds no rows")


def _starts_list(path: Path, config: SourceConfig) -> bool:
    with open_text(path, encodings=_encodings(config)) as file:
        while (head := file.read(PART)).isspace():
            pass
        return head.lstrip()[:1] == "["


def _listed(path: Path, config: SourceConfig) -> Iterator[Any]:
    try:
        with open_text(path, encodings=_encodings(config)) as file:
            yield from list_items(file)
    except (ValueError, RecursionError):
        try:
            json.loads(read_text(path, encodings=_encodings(config)))  # says where it is wrong
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{path}: is not JSON ({error}); mend it there") from error
        raise


def list_items(file: TextIO) -> Iterator[Any]:
    """Yield the items of a JSON list, a part of whose text is in memory at a time.

    Raises:
        ValueError: It is none.
    """
    decode = json.JSONDecoder().raw_decode
    text, place, is_whole, last = "", 0, False, ""
    while last != "]":
        while text[place : place + 1] and text[place] in _SPACES:
            place += 1
        mark, end, item = text[place : place + 1], place + 1, None
        is_item = last == "," or (last == "[" and mark != "]")
        if is_item:
            try:
                item, end = decode(text, place)
            except json.JSONDecodeError:
                if is_whole:
                    raise
                end = len(text)
        may_go_on = 2 if isinstance(item, int | float) else 0  # 1 of 1e-7
        if end + may_go_on >= len(text) and not is_whole:
            part = file.read(max(PART, len(text) - place))
            text, place, is_whole = text[place:] + part, 0, not part
            continue
        if is_item:
            yield item
        elif not mark or mark not in _FOLLOWING[last]:
            raise ValueError(f"{mark!r} is not what follows")
        last, place = "item" if is_item else mark, end
    if (text[place:] + file.read()).strip(_SPACES):
        raise ValueError("more than a list")


def _lined(path: Path, config: SourceConfig) -> Iterator[tuple[int, Any]]:
    # Cut at line feeds alone, and not at other characters that JSON leaves inside a text.
    with open_text(path, encodings=_encodings(config), newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line.removesuffix("\n"))
            except (json.JSONDecodeError, RecursionError) as error:
                raise UserError(
                    f"{path}:{number}: is not JSON ({error}); write a list of objects, or one "
                    "object a line"
                ) from error
