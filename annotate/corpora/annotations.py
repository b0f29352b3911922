"""Annotation files that corpora ship as JSON or JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotate.corpora.texts import open_text, read_text
from configs.errors import UserError

_REMEDY = "download it again"


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
        UserError: It cannot be read, or is something else.
    """
    content = _parse(read_text(path, remedy=_REMEDY), str(path))
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a JSON {type(content).__name__}, not an object")
    return content


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield `FILE:LINE` and row of a file with one JSON object a line.

    A file named `.json` is one list of such objects instead; it has `FILE:NUMBER`, from 1.

    Raises:
        UserError: It cannot be read, or a row is not a JSON object.
    """
    if path.suffix == ".json":
        rows = _parse(read_text(path, remedy=_REMEDY), str(path))
        if not isinstance(rows, list):
            raise UserError(f"{path}: holds a JSON {type(rows).__name__}, not a list of rows")
        numbered = ((f"{path}:{number}", row) for number, row in enumerate(rows, start=1))
    else:
        numbered = _lined(path)
    for where, row in numbered:
        if not isinstance(row, dict):
            raise UserError(f"{where}: is a JSON {type(row).__name__}; a row is an object")
        yield where, row


def _lined(path: Path) -> Iterator[tuple[str, Any]]:
    # Cut at line feeds alone, and not at other characters that JSON leaves inside a text.
    with open_text(path, remedy=_REMEDY, newline="\n") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"{path}:{number}", _parse(line, f"{path}:{number}")


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: is not JSON ({error.msg}); {_REMEDY}") from error
