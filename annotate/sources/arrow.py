"""Parquet and Arrow files, of Hugging Face data sets and others; read by pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from configs.errors import UserError

ARROW = (".parquet", ".arrow")
BATCH_ROWS = 64
"""Rows in memory at a time: with their clips, some MB."""


@dataclass(frozen=True, slots=True)
class ArrowTable:
    """One file."""

    path: Path
    columns: list[str]
    """Names of its columns."""
    audio: str
    """The column that its metadata calls audio; empty if none or several are."""
    label_names: Mapping[str, Sequence[str]]
    """Column of class numbers -> what the numbers stand for."""

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield number, from 1, and values of each row.

        Raises:
            UserError: The file is damaged.
        """
        number = 0
        try:
            for batch in _batches(self.path):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (OSError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{self.path}: cannot be read after row {number} ({error})") from error


def open_arrow(path: Path) -> ArrowTable:
    """Return what the schema of a file says.

    Raises:
        UserError: The file is none of its kinds.
    """
    try:
        if path.suffix.lower() == ".parquet":
            schema = pyarrow.parquet.read_schema(path)
        else:
            schema = _ipc(path).schema
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is no readable {path.suffix[1:]} file ({error})") from error
    features = _features(schema.metadata or {})
    kinds = {name: str(feature.get("_type")) for name, feature in features.items()}
    audio = [name for name, kind in kinds.items() if kind == "Audio" and name in schema.names]
    label_names = {
        name: [str(text) for text in features[name].get("names") or ()]
        for name, kind in kinds.items()
        if kind == "ClassLabel"
    }
    return ArrowTable(path, list(schema.names), audio[0] if len(audio) == 1 else "", label_names)


def _features(metadata: Mapping[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Return column -> kind, as the metadata of Hugging Face data sets tell; empty without any."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {name: kind for name, kind in features.items() if isinstance(kind, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _batches(path: Path) -> Iterator[Any]:
    if path.suffix.lower() == ".parquet":
        with pyarrow.parquet.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS)
        return
    reader = _ipc(path)
    whole = (
        (reader.get_batch(index) for index in range(reader.num_record_batches))
        if hasattr(reader, "num_record_batches")
        else reader
    )
    for batch in whole:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def _ipc(path: Path) -> Any:
    """Open an Arrow file: as a stream, as `save_to_disk` writes it, or with its index."""
    source = pyarrow.memory_map(str(path))
    try:
        return pyarrow.ipc.open_stream(source)
    except pyarrow.ArrowInvalid:
        source.seek(0)
        return pyarrow.ipc.open_file(source)
