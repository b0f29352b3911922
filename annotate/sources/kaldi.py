"""Kaldi data folders: `wav.scp` and what stands beside it.

Source: "Data preparation" of the Kaldi documentation, https://kaldi-asr.org/doc/data_prep.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotate.corpora.clips import LeftOut
from annotate.corpora.texts import read_lines
from annotate.sources.gather import SPLITS, Record
from configs.annotate_schema import SourceConfig
from configs.errors import UserError
from data.stored import HashMap, StoredRows, text_hash

LABELS = ("utt2emo", "utt2emotion", "utt2label")
"""Files that may tell the emotion; Kaldi has no name for it."""

_MORE = {"utt2lang": "lang", "utt2session": "session"}


def read_kaldi(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the utterances of the folders that `source.files` names, or of the root.

    Without folders that are named, those below the root that are called as splits are taken.

    Raises:
        UserError: A folder without `wav.scp` or emotions, a command in place of a file, or lines
            that are none of the format.
    """
    folders = [next((p for p in (root / f, Path(f)) if p.is_dir()), root / f) for f in config.files]
    if not folders:
        below = sorted(path.parent for path in root.glob("*/wav.scp"))
        folders = [root]
        if not (root / "wav.scp").is_file() and below:
            folders = below
            if not all(folder.name.casefold() in SPLITS for folder in below):
                named = ", ".join(folder.name for folder in below[:10])
                raise UserError(f"{root}: say which of {named}: source.files=[{below[0].name}]")
    for folder in folders:
        yield from _read_folder(folder, config)


def _read_folder(folder: Path, config: SourceConfig) -> Iterator[Record]:
    wavs = _table(folder, "wav.scp", config, needed=True)
    for recording, (where, path) in wavs.items():
        if path.endswith("|") or path.startswith("|"):
            raise UserError(
                f"{where}: {recording} is made by a command; commands are not run: write its WAV "
                "file, and name the file"
            )
        if ".ark:" in path:
            raise UserError(f"{where}: {recording} lies in an archive; write it as a WAV file")
    name = next((name for name in LABELS if (folder / name).is_file()), LABELS[0])
    facts = {"label": _table(folder, name, config, needed=True)}
    for file, field in (("utt2spk", "speaker"), ("text", "text"), *_MORE.items()):
        facts[field] = _table(folder, file, config)
    sexes = _table(folder, "spk2gender", config)
    channels = _table(folder, "reco2file_and_channel", config)
    split = folder.name.casefold()
    segments = _table(folder, "segments", config)
    for utterance, (where, what) in (segments or wavs).items():
        fields: dict[str, Any] = {"id": utterance}
        recording = utterance
        if segments:
            recording, *times = what.split()
            if len(times) != 2:
                raise UserError(f"{where}: expected UTTERANCE RECORDING START END")
            if recording not in wavs:
                raise UserError(f"{where}: recording {recording} is not in {folder / 'wav.scp'}")
            fields |= {"start": times[0], "end": None if _number(times[1]) == -1 else times[1]}
        fields["audio"] = wavs.get(recording)[1]
        fields |= {field: table.get(utterance)[1] for field, table in facts.items()}
        fields["sex"] = sexes.get(str(fields["speaker"]))[1]
        channel = channels.get(recording)[1]
        if channel is not None:
            fields["channel"] = channel.rpartition(" ")[2]
        if split in SPLITS:
            fields["split"] = split
        yield Record(where, fields, folder)


def _number(text: str) -> float | None:
    """Return a number, or None of what is none."""
    try:
        return float(text)
    except ValueError:
        return None


class _Table:
    """Key -> `FILE:LINE` and the rest of its line, on disk; of each key a hash is in memory."""

    def __init__(self, path: Path, config: SourceConfig) -> None:
        self._rows = StoredRows.spooled(_lined(path, config) if path.is_file() else ())
        self._places = HashMap()
        for place, row in enumerate(self._rows):
            if self.get(row["key"]) != NOTHING:
                raise UserError(f"{row['where']}: {row['key']} is there twice; remove one")
            self._places.put(text_hash(row["key"]), place)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __contains__(self, key: str) -> bool:
        return self.get(key) != NOTHING

    def get(self, key: str) -> tuple[str, str | None]:
        """Return what there is of a key, or `NOTHING`."""
        place = self._places.get(text_hash(key))
        row = {} if place is None else self._rows[place]
        return (row["where"], row["value"]) if row.get("key") == key else NOTHING

    def items(self) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield what there is, in order."""
        return ((row["key"], (row["where"], row["value"])) for row in self._rows)


NOTHING = ("", None)


def _lined(path: Path, config: SourceConfig) -> Iterator[dict[str, str]]:
    for number, line in read_lines(path, encodings=[config.encoding] if config.encoding else []):
        key, *rest = line.split(maxsplit=1)
        yield {"key": key, "where": f"{path}:{number}", "value": rest[0].strip() if rest else ""}


def _table(folder: Path, name: str, config: SourceConfig, *, needed: bool = False) -> _Table:
    path = folder / name
    if needed and not path.is_file():
        also = f" (or {', '.join(LABELS[1:])})" if name in LABELS else ""
        raise UserError(f"{path}: no such file{also}; lines are UTTERANCE VALUE")
    return _Table(path, config)
