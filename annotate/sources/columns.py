"""What the columns of a table mean: as the user says, or guessed from the usual names and said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from configs.errors import UserError

USUAL = {
    "id": ("id", "utt", "utt_id", "utterance_id", "clip_id", "uid", "key"),
    "audio": (
        *("audio", "path", "file", "filename", "file_name", "filepath", "file_path", "fname"),
        *("audio_path", "audio_file", "audio_filepath", "audio_filename", "wav", "wav_path"),
        *("wav_file", "clip", "clip_path"),
    ),
    "label": ("label", "emotion", "emotion_label", "emo", "class", "category", "raw_label"),
    "speaker": (
        *("speaker", "speaker_id", "speakerid", "spk", "spk_id", "spkid"),
        *("actor", "actor_id", "subject", "client_id"),
    ),
    "session": ("session", "session_id", "dialogue", "dialogue_id", "dialog_id"),
    "text": ("text", "transcript", "transcription", "sentence", "utterance"),
    "split": ("split", "subset", "partition", "set"),
    "sex": ("sex", "gender"),
    "lang": ("lang", "language", "locale"),
    "start": ("start", "start_s", "start_time", "begin", "offset"),
    "end": ("end", "end_s", "end_time", "stop"),
    "duration": ("duration", "duration_s", "dur"),
    "channel": ("channel", "channel_id"),
}
"""Field of a clip -> names that columns of it usually have, in lower case with underscores. `start`
and `end`, or `start` and `duration`, in seconds, make it a part of a longer
recording. A `channel` of a file with several is refused."""


def usual_name(column: str) -> str:
    """Return a column's name in the form of `USUAL`."""
    return column.strip().casefold().replace(" ", "_").replace("-", "_")


def choose_columns(
    where: str, names: Iterable[str], given: Mapping[str, str], needed: Iterable[str]
) -> dict[str, str]:
    """Return field -> column of a table.

    Args:
        where: The table, for messages.
        names: Its columns.
        given: Field -> column as the user says; an empty column ignores the field.
        needed: Fields without which the table is of no use.

    Raises:
        UserError: A field or column that does not exist, several columns that may be meant, or no
            column for a field that is needed.
    """
    columns = list(dict.fromkeys(names))
    listed = ", ".join(map(repr, columns))
    for field, column in given.items():
        if field not in USUAL:
            raise UserError(f"source.columns: no field {field!r}; there are {', '.join(USUAL)}")
        if column and column not in columns:
            raise UserError(
                f"{where}: has no column {column!r}, which source.columns names for {field!r}; "
                f"it has {listed}"
            )
    chosen = {field: column for field, column in given.items() if column}
    taken = set(chosen.values())
    for field, usual in USUAL.items():
        if field in given:
            continue
        fits = [name for name in columns if usual_name(name) in usual and name not in taken]
        if len(fits) > 1:
            raise UserError(
                f"{where}: the columns {' and '.join(map(repr, fits))} may both be the {field}; "
                f"say which: source.columns={{{field}: {fits[0]}}}"
            )
        if fits:
            chosen[field] = fits[0]
    for field in needed:
        if field not in chosen:
            raise UserError(
                f"{where}: no column is known to be the {field}; say which: "
                f"source.columns={{{field}: COLUMN}}; it has {listed}"
            )
    return chosen


def describe_columns(chosen: Mapping[str, str], names: Iterable[str]) -> Iterator[str]:
    """Yield what each column is taken for, and which are not used."""
    yield "columns: " + ", ".join(f"{field} = {column!r}" for field, column in chosen.items())
    unused = [name for name in dict.fromkeys(names) if name not in chosen.values()]
    if unused:
        yield "columns that are not used: " + ", ".join(map(repr, unused))


def renamed(row: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return a row's fields by our names."""
    return {field: row.get(column) for field, column in chosen.items()}
