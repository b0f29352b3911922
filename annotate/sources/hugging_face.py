"""Hugging Face data sets on disk: what `save_to_disk` wrote, a hub snapshot, or an audio folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotate.corpora.clips import LeftOut, find_files
from annotate.sources.gather import SPLITS, Record
from annotate.sources.tables import read_table, split_of
from configs.annotate_schema import SourceConfig
from configs.errors import UserError


def read_hugging_face(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the rows of all splits.

    Raises:
        UserError: No files of a data set, several revisions, or tables that cannot be read.
    """
    for place in [_named(name, root) for name in config.files] or [root]:
        for path in [place] if place.is_file() else _found(place):
            yield from read_table(path, config, split_of(path) or _split_of_folders(path, place))


def table_paths(config: SourceConfig, root: Path) -> list[Path]:
    """Return the tables of a data set: those that `source.files` names, or of the folder.

    Raises:
        UserError: As `read_hugging_face`.
    """
    places = [_named(name, root) for name in config.files] or [root]
    return [path for at in places for path in ([at] if at.is_file() else _found(at))]


def _named(name: str, root: Path) -> Path:
    path = next((path for path in (root / name, Path(name)) if path.exists()), None)
    if path is None:
        raise UserError(f"source.files: {name}: no such file or folder, in {root} or from here")
    return path


def _found(root: Path) -> list[Path]:
    """Return the tables of a data set's folder."""
    snapshots = sorted(root.glob("snapshots/*/"))
    if len(snapshots) > 1:
        raise UserError(
            f"{root}: holds several revisions; give one as root, such as {snapshots[0]}"
        )
    if snapshots:
        return _found(snapshots[0])
    if (root / "dataset_dict.json").is_file():
        splits = _json(root / "dataset_dict.json").get("splits") or ()
        return [path for split in splits for path in _found(root / str(split))]
    if (root / "state.json").is_file():
        parts = _json(root / "state.json").get("_data_files") or ()
        return [root / Path(str(part["filename"])).name for part in parts]
    tables = find_files(root, "**/*.parquet")
    tables = tables or [
        *find_files(root, "**/metadata.csv"),
        *find_files(root, "**/metadata.jsonl"),
    ]
    if not tables:
        raise UserError(
            f"{root}: holds no dataset_dict.json, state.json, *.parquet, metadata.csv or "
            "metadata.jsonl; give the folder of a data set, or corpus=folders for a folder a label"
        )
    configurations = {path.parent for path in tables if path.suffix == ".parquet"}
    if len(configurations) > 1:
        named = ", ".join(sorted(path.relative_to(root).as_posix() for path in configurations))
        raise UserError(f"{root}: holds tables in {named}; say which: source.files=[FOLDER]")
    return tables


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); save the data set again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: is no JSON object; save the data set again")
    return content


def _split_of_folders(path: Path, root: Path) -> str | None:
    """Return the split that a folder between the data set's and a table says."""
    parts = () if path == root else path.relative_to(root).parts[:-1]
    return next((part.casefold() for part in reversed(parts) if part.casefold() in SPLITS), None)
