"""Lhotse manifests: recordings with supervisions, or cuts, as JSON Lines, perhaps with gzip.

Source: "Representing a corpus" and "Cuts" of the Lhotse documentation, https://lhotse.readthedocs.io.
"""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from annotate.corpora.clips import LeftOut, find_files
from annotate.sources.columns import choose_columns, describe_columns, renamed
from annotate.sources.gather import Record
from configs.annotate_schema import SourceConfig
from configs.errors import UserError
from data.stored import HashMap, StoredRows, text_hash

logger = logging.getLogger(__name__)

_TIMES = ("start", "duration", "channel", "recording_id")


def read_lhotse(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the supervised parts of recordings; the emotion is a field of theirs or in `custom`.

    Raises:
        UserError: No manifest, one that cannot be read, or sound that is not a file's own:
            commands, addresses, mixed, padded or transformed cuts.
    """
    paths = _manifests(config, root)
    rows = (_row(part.fields) for part in _parts(paths, left_out))
    names = [
        n for n in dict.fromkeys(k for row in rows for k in row) if n not in (*_TIMES, "custom")
    ]
    chosen = choose_columns(str(root), names, config.columns, ("label",))
    for line in describe_columns(chosen, names):
        logger.info(f"{root}: {line}")
    for part in _parts(paths, LeftOut()):
        fields = renamed(_row(part.fields), chosen)
        try:
            start = part.offset + float(part.fields["start"])
            end = start + float(part.fields["duration"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{part.where}: a supervision has no start and duration") from error
        fields |= {"start": start, "end": end, "audio": _file(part.recording, part.where)}
        fields["channel"] = _channel(part.fields.get("channel"), part.recording)
        yield Record(part.where, fields, part.base)


class _Part(NamedTuple):
    """A supervision, and the recording that it is of."""

    where: str
    fields: Mapping[str, Any]
    recording: Mapping[str, Any]
    offset: float
    """Where its times count from, in seconds."""
    base: Path


def _row(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, **(fields.get("custom") or {})}


def _parts(paths: tuple[list[Path], list[Path], list[Path]], left_out: LeftOut) -> Iterator[_Part]:
    cuts, recordings, supervisions = paths
    for path in cuts:
        for where, cut in _rows(path):
            if cut.get("type", "MonoCut") not in ("MonoCut", "MultiCut") or "recording" not in cut:
                raise UserError(
                    f"{where}: a {cut.get('type', 'cut')} is not part of one recording; save the "
                    "clips with save_audios, and give the cuts of these"
                )
            for part in cut.get("supervisions") or ():
                yield _Part(where, part, cut["recording"], float(cut["start"]), path.parent)
            if not cut.get("supervisions"):
                left_out.add("cuts without supervision", where)
    stored = StoredRows.spooled(row for path in recordings for _, row in _rows(path))
    places = HashMap()
    for place, row in enumerate(stored):
        places.put(text_hash(str(row.get("id"))), place)
    for path in supervisions:
        for where, part in _rows(path):
            place = places.get(text_hash(str(part.get("recording_id"))))
            if place is None:
                raise UserError(
                    f"{where}: recording {part.get('recording_id')!r} is in none of "
                    f"{', '.join(map(str, recordings)) or 'the manifests'}"
                )
            yield _Part(where, part, stored[place], 0.0, path.parent)


def _manifests(config: SourceConfig, root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the files of cuts, recordings and supervisions, by their names."""
    paths = [next((p for p in (root / f, Path(f)) if p.is_file()), root / f) for f in config.files]
    for path in paths:
        if not path.is_file():
            raise UserError(f"source.files: {path}: no such file")
    paths = paths or find_files(root, "**/*.jsonl*")
    kinds = [
        [p for p in paths if word in p.name] for word in ("cuts", "recordings", "supervisions")
    ]
    cuts, recordings, supervisions = kinds
    if cuts and supervisions and not config.files:
        raise UserError(f"{root}: holds cuts and supervisions; say which: source.files=[{cuts[0]}]")
    if not cuts and not (recordings and supervisions):
        raise UserError(
            f"{root}: holds no NAME_cuts.jsonl.gz, nor NAME_recordings.jsonl.gz with "
            "NAME_supervisions.jsonl.gz; name them: source.files=[FILE, FILE]"
        )
    return cuts, recordings, supervisions


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise UserError(f"{path}:{number}: is no JSON object")
                    yield f"{path}:{number}", row
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: is no readable manifest ({error}); write it again") from error


def _file(recording: Mapping[str, Any], where: str) -> str:
    sources = recording.get("sources") or ()
    if len(sources) != 1 or sources[0].get("type") != "file":
        kinds = ", ".join(str(source.get("type")) for source in sources) or "nothing"
        raise UserError(
            f"{where}: recording {recording.get('id')!r} is made of {kinds}, not of one file; save "
            "it as a file"
        )
    if recording.get("transforms"):
        raise UserError(
            f"{where}: recording {recording.get('id')!r} is transformed when it is read; save the "
            "clips with save_audios, and give the manifest of these"
        )
    return str(sources[0]["source"])


def _channel(channel: Any, recording: Mapping[str, Any]) -> str | None:
    """Return the channel of a supervision, unless these are all that the recording has."""
    if channel is None:
        return None
    channels = channel if isinstance(channel, list) else [channel]
    there = recording.get("channel_ids") or recording["sources"][0].get("channels") or [0]
    return None if set(channels) == set(there) else ", ".join(map(str, channels))
