"""Manifests: JSON Lines files that list clips and what is known about them (see docs/data.md).

Everything is checked before a run starts, and problems are reported together: nobody debugs 30,000
rows one at a time.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import UserError
from configs.rules import PLACEHOLDER
from data.records import Example

MAX_LISTED = 20
"""Problems that one error message lists; the rest is counted."""

ALIASES = {"audio": "audio_path", "label": "emotion", "text": "transcription"}
"""Field -> other name that is accepted for it, as in the EmotionCoT release."""

TEXTS = ("id", "audio", "label", "split", "speaker", "session", "text", "sha256")
"""Fields that `read_leniently` makes text of."""

FOREIGN = {
    "messages": "a chat",
    "conversations": "a chat",
    "conversation": "a chat",
    "chosen": "a preference",
    "rejected": "a preference",
    "audios": "a list of clips",
    "images": "a list of images",
    "videos": "a list of videos",
}
"""Fields of rows that were made for other trainers, which would be ignored -> what they hold."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class ManifestError(UserError):
    """A manifest that cannot be used; the message lists its problems by file and line."""


@dataclass(frozen=True, slots=True)
class _Defaults:
    root: str
    choices: tuple[str, ...]
    question: str


def first_of(problems: Sequence[str]) -> str:
    """Return the first `MAX_LISTED` problems, one a line; the rest is counted."""
    more = len(problems) - MAX_LISTED
    return "\n".join([*problems[:MAX_LISTED], *([f"... and {more} more"] if more > 0 else [])])


def fill_choices(question: str, choices: Sequence[str]) -> str:
    """Return the question with `{choices}` replaced by the labels, separated by commas."""
    return question.replace("{choices}", ", ".join(choices))


def answer(label: str) -> str:
    """Return the answer to a question with choices: the label in its tags, no reasoning."""
    return f"<answer>{label}</answer>"


def read_manifest(
    path: str | Path,
    *,
    audio_root: str | Path,
    choices: Sequence[str],
    question_template: str,
) -> list[Example]:
    """Return the rows of a manifest, all of them checked.

    The clips' files are looked up but not opened; `data.audio.read_headers` opens them.

    Args:
        path: JSON Lines file in UTF-8, with or without a byte-order mark; empty lines are skipped.
        audio_root: folder that the clips' paths are relative to and may not leave.
        choices: labels that a row may have; a row's own `choices` must be among them.
        question_template: question of the rows that carry none; `{choices}` is filled per row.

    Raises:
        ManifestError: the first problems as `file:line: what, what to do`, and their number.
    """
    root = Path(audio_root)
    if not root.is_dir():
        raise ManifestError(f"{root}: audio root is not a folder; fix data.audio_root")
    defaults = _Defaults(os.path.realpath(root), tuple(choices), question_template)
    examples: list[Example] = []
    problems: list[str] = []
    lines_by_id: dict[str, int] = {}
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}; fix data.manifest") from error
    for number, line in _numbered(content):
        example, faults = _read_row(line, defaults)
        if example is not None and example.id in lines_by_id:
            first = lines_by_id[example.id]
            faults.append(f"id {example.id!r} is already on line {first}; ids must be unique")
        if example is not None:
            lines_by_id.setdefault(example.id, number)
            examples.append(example)
        problems.extend(f"{path}:{number}: {what}" for what in faults)
    if problems:
        raise ManifestError(f"{path}: {len(problems)} problem(s) found\n{first_of(problems)}")
    if not examples:
        raise ManifestError(f"{path}: holds no rows; write one JSON object per line")
    return examples


def read_leniently(path: Path, audio_root: Path) -> list[dict[str, Any]]:
    """Return a manifest's rows with all their fields, as far as they can be read.

    `read_manifest` says what is wrong with a manifest. Here, lines that are no object or name no
    clip inside the audio root are left out, a row without an id is called by its line, aliases are
    replaced, null and blank fields are left out, and other `TEXTS` are made text.

    Raises:
        OSError: The manifest cannot be opened.
    """
    root = os.path.realpath(audio_root)
    rows: list[dict[str, Any]] = []
    for number, line in _numbered(path.read_bytes()):
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(fields, dict):
            continue
        row = without_aliases({key: value for key, value in fields.items() if value is not None})
        row |= {name: str(row[name]) for name in TEXTS if name in row}
        row = {key: value for key, value in row.items() if str(value).strip()}
        row.setdefault("id", f"line {number}")
        audio = row.get("audio", "")
        if audio and "\0" not in audio and _is_unicode(audio):
            clip = os.path.realpath(os.path.join(root, audio))
            if os.path.commonpath([root, clip]) == root:
                rows.append(row)
    return rows


def without_aliases(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose fields have our names; an alias beside the name that it is for stays."""
    names = {alias: name for name, alias in ALIASES.items() if name not in row}
    return {names.get(key, key): value for key, value in row.items()}


def select_split(examples: Sequence[Example], split: str) -> list[Example]:
    """Return the examples of one split, in order.

    Raises:
        ManifestError: none belongs to it; names the splits that exist.
    """
    chosen = [example for example in examples if example.split == split]
    if not chosen:
        known = sorted({example.split for example in examples if example.split})
        there = f"it has {', '.join(map(repr, known))}" if known else "no row has a 'split'"
        raise ManifestError(f"no row of the manifest belongs to split {split!r}; {there}")
    return chosen


def _numbered(content: bytes) -> list[tuple[int, bytes]]:
    """Return the lines that are not blank, each with its number."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    return [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]


def _read_row(line: bytes, defaults: _Defaults) -> tuple[Example | None, list[str]]:
    """Return the row, unless its JSON or id is unusable, and its problems."""
    try:
        fields = json.loads(
            line.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError as error:
        return None, [f"is not UTF-8 (byte {error.start}); save the file as UTF-8"]
    except json.JSONDecodeError as error:
        return None, [f"is not JSON ({error.msg}, column {error.colno}); one object per line"]
    except RecursionError:
        return None, ["is nested too deeply; a row is a flat object"]
    except ValueError as error:
        return None, [f"{error}"]
    if not isinstance(fields, dict):
        return None, [f"is a JSON {type(fields).__name__}; write one object per line"]
    row = _Row(fields)
    return row.example(defaults), row.problems


class _Row:
    """One JSON object of the manifest, and what is wrong with it."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields = fields
        self.problems: list[str] = []

    def example(self, defaults: _Defaults) -> Example | None:
        """Return the row as an example; fields with a problem are left empty."""
        self.check_foreign()
        identifier = self.text("id", required=True)
        target = self.text("target")
        # A row with a target is a task of its own: any answer, and perhaps without a clip.
        audio = self.text("audio", required=target is None)
        if audio is not None:
            self.check_audio(audio, defaults.root)
        choices = self.choices(defaults.choices, free=target is not None)
        label = self.text("label", required=target is None)
        if label is not None and label not in choices and target is None:
            self.problems.append(_unknown_label("label", label, choices))
        row = {name: self.text(name) for name in ("text", "reasoning", "speaker", "split")}
        question, dataset = self.text("question"), self.text("dataset")
        if question is not None and (found := PLACEHOLDER.search(question)):
            self.problems.append(
                f"'question' holds {found[0]!r}, which would be read as text; take it out: the "
                "clip of 'audio' comes before the question by itself"
            )
        prosody = self.prosody()
        if identifier is None:
            return None
        return Example(
            id=identifier,
            audio=audio or "",
            label=label or "",
            question=fill_choices(question or defaults.question, choices),
            choices=choices,
            transcript=row["text"],
            prosody=prosody,
            reasoning=row["reasoning"],
            target=target,
            task=self.text("task"),
            speaker=row["speaker"],
            split=row["split"],
            dataset=dataset,
        )

    def text(self, name: str, *, required: bool = False) -> str | None:
        """Return a text field by its name or alias; null and blank count as absent."""
        alias = ALIASES.get(name)
        value = self.fields.get(name)
        if alias is not None and alias in self.fields:
            if name in self.fields:
                self.problems.append(f"has both {name!r} and {alias!r}; keep one of them")
            value = self.fields[alias] if value is None else value
        if value is not None and not isinstance(value, str):
            self.problems.append(f"{name!r} is {_shown(value)}; write it as text in quotes")
            return None
        if value is None or not value.strip():
            if required:
                either = f"{name!r} (or {alias!r})" if alias else f"{name!r}"
                self.problems.append(f"has no {either}; every row needs one")
            return None
        if not _is_unicode(value):
            self.problems.append(f"{name!r} holds half of a surrogate pair; save it as UTF-8")
            return None
        return value

    def choices(self, allowed: tuple[str, ...], *, free: bool) -> tuple[str, ...]:
        """Return the row's own choices if it has usable ones, else the configured ones."""
        own = self.fields.get("choices")
        if own is None:
            return allowed
        if free and own == []:
            return ()
        if not isinstance(own, list) or not own or not all(isinstance(c, str) for c in own):
            self.problems.append(f"'choices' is {_shown(own)}; write a list of labels")
            return allowed
        if len(set(own)) < len(own):
            self.problems.append(f"'choices' is {_shown(own)}; name each label once")
        for choice in own:
            if choice not in allowed and not free:
                self.problems.append(_unknown_label("choice", choice, allowed))
        return tuple(own)

    def prosody(self) -> Mapping[str, Any] | None:
        """Return the measured prosody, if it is an object."""
        value = self.fields.get("prosody")
        if value is not None and not isinstance(value, dict):
            self.problems.append(f"'prosody' is {_shown(value)}; write an object")
            return None
        return value

    def check_foreign(self) -> None:
        """Note fields that say what our own say, in the form of other trainers."""
        for name in sorted(self.fields.keys() & FOREIGN.keys()):
            self.problems.append(
                f"has {name!r}, {FOREIGN[name]}, which is not read; write the user's text as "
                "'question', the answer as 'target' (or as 'reasoning' and 'label') and the path "
                "of the one clip as 'audio', and take the field out"
            )

    def check_audio(self, audio: str, root: str) -> None:
        """Note what is wrong with the clip's path; nothing outside the root may be read."""
        if "\0" in audio:
            self.problems.append("audio path holds a NUL byte; write a plain file name")
            return
        if _SCHEME.match(audio):
            self.problems.append(
                f"audio {_shown(audio)} is a URL or has a drive letter; download the clip and "
                "write its path relative to the audio root"
            )
            return
        if audio.startswith("/") or ".." in audio.split("/"):
            self.problems.append(
                f"audio {_shown(audio)} is absolute or climbs with '..'; write a path relative "
                f"to the audio root {root}"
            )
            return
        path = os.path.realpath(os.path.join(root, audio))
        if os.path.commonpath([root, path]) != root:
            self.problems.append(
                f"audio {_shown(audio)} is a link to {path}, outside the audio root {root}; "
                "copy the clip into the root or move the root up"
            )
            return
        try:
            status = os.stat(path)
        except OSError as error:
            self.problems.append(
                f"audio {_shown(audio)}: {error.strerror} below the audio root {root}; add the "
                "clip or fix data.audio_root"
            )
            return
        if not stat.S_ISREG(status.st_mode):
            self.problems.append(f"audio {_shown(audio)} is not a regular file; name a clip")


def _unknown_label(what: str, label: str, choices: Sequence[str]) -> str:
    names = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(label.strip().casefold(), names, n=1)
    hint = f"did you mean {names[near[0]]!r}? " if near else ""
    return f"{what} {_shown(label)} is not allowed; {hint}choose from: {', '.join(choices)}"


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has the key {_shown(twice)} twice; keep one of them")
    return fields


def _refuse_constant(name: str) -> float:
    raise ValueError(
        f"holds the number {name}, which JSON has not; leave the field out or use null"
    )


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"holds the number {text}, which is out of range; correct it")
    return number
