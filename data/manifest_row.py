"""One row of a manifest: its JSON read, its fields checked, and what is wrong with them."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from configs.rules import PLACEHOLDER
from data.links import ClipRoot
from data.packed import Packed
from data.records import Example, Turn
from data.row_clips import checked_audio, is_unicode, read_clips, read_turns, shown

ALIASES = {"audio": "audio_path", "label": "emotion", "text": "transcription"}
"""Field -> other name that is accepted for it, as in the EmotionCoT release."""

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

_UNUSUAL = frozenset(ALIASES.values()) | FOREIGN.keys()
"""Fields that few manifests have."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(enc_hook=lambda packed: None).encode

Value = TypeVar("Value")


def fill_choices(question: str, choices: Sequence[str]) -> str:
    """Return the question with `{choices}` replaced by the labels, separated by commas."""
    return question.replace("{choices}", ", ".join(choices))


class RowReader:
    """Reads the rows of one manifest; what many of them share is in memory once."""

    def __init__(self, root: ClipRoot | str, choices: tuple[str, ...], question: str) -> None:
        """Make a reader.

        Args:
            root: The audio root; of a path, no link may lead out.
            choices: Labels that a row may have.
            question: Of the rows that carry none.
        """
        self.root = ClipRoot(root) if isinstance(root, str) else root
        self.allowed = choices
        self.question = question
        self._names: tuple[str, ...] = ()
        self._shared: dict[Any, Any] = {}
        self._questions: dict[tuple[str, tuple[str, ...]], str] = {}

    def read(self, line: bytes) -> tuple[Example | None, list[str]]:
        """Return the row, unless its JSON or id is unusable, and its problems."""
        fields = self.plain_fields(line)
        if fields is None:
            fields, problem = _any_fields(line)
            if problem:
                return None, [problem]
        if not isinstance(fields, dict):
            return None, [f"is a JSON {type(fields).__name__}; write one object per line"]
        row = _Row(fields, self)
        return row.example(), row.problems

    def shared(self, value: Value) -> Value:
        """Return an equal value that other rows have too."""
        return self._shared.setdefault(value, value)

    def asked(self, question: str, choices: tuple[str, ...]) -> str:
        """Return a question with its choices filled in."""
        key = question, choices
        if key not in self._questions:
            self._questions[key] = fill_choices(question, choices)
        return self._questions[key]

    def plain_fields(self, line: bytes) -> Any:
        """Return what a line holds by a fast decoder; None where that may not see what is wrong.

        It takes the same JSON for the same values as Python's own, but for a key that is given
        twice: then the line has more colons than its objects written anew.
        """
        try:
            fields = _decode(line)
            num_colons = 0
            if type(fields) is dict and type(prosody := fields.get("prosody")) is dict:
                fields["prosody"] = packed = self.packed(prosody)
                num_colons = len(prosody) + packed.values_json.count(b":")
            num_colons += _encode(fields).count(b":")
            if num_colons != line.count(b":") or b"\\u003" in line:
                return None
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            return None
        return fields

    def packed(self, value: dict[str, Any]) -> Packed:
        """Return an object of a row as it is kept in memory."""
        names = tuple(value)
        if names != self._names:  # a look at what the last row had is faster than their hash
            self._names = names = self.shared(names)
        return Packed(self._names, _encode(list(value.values())))


def _any_fields(line: bytes) -> tuple[Any, str]:
    """Return what a line holds, or what is wrong with it."""
    try:
        fields = json.loads(
            line.rstrip(b"\n").decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError as error:
        return None, f"is not UTF-8 (byte {error.start}); save the file as UTF-8"
    except json.JSONDecodeError as error:
        return None, f"is not JSON ({error.msg}, column {error.colno}); one object per line"
    except RecursionError:
        return None, "is nested too deeply; a row is a flat object"
    except ValueError as error:
        return None, f"{error}"
    return fields, ""


class _Row:
    """One JSON object of the manifest, and what is wrong with it."""

    def __init__(self, fields: Mapping[str, Any], reader: RowReader) -> None:
        self.fields = fields
        self.reader = reader
        self.problems: list[str] = []
        self.is_usual = _UNUSUAL.isdisjoint(fields)

    def example(self) -> Example | None:
        """Return the row as an example; fields with a problem are left empty."""
        if not self.is_usual:
            self.check_foreign()
        identifier = self.text("id", required=True)
        target = self.text("target")
        # A row with a target is a task of its own: any answer, and perhaps without a clip.
        audio, before, after = self.clips(required=target is None)
        choices = self.choices(free=target is not None)
        label = self.text("label", required=target is None)
        if label is not None and label not in choices and target is None:
            self.problems.append(_unknown_label("label", label, choices))
        transcript, reasoning = self.text("text"), self.text("reasoning")
        speaker, split = self.name("speaker"), self.name("split")
        question, dataset = self.text("question"), self.name("dataset")
        if question is not None and (match := PLACEHOLDER.search(question)):
            self.problems.append(
                f"'question' holds {match[0]!r}, which would be read as text; take it out: the "
                "clip of 'audio' comes before the question by itself"
            )
        prosody = self.prosody()
        if identifier is None:
            return None
        reader = self.reader
        return Example(
            id=identifier,
            audio=audio,
            label=reader.shared(label or ""),
            question=reader.asked(question or reader.question, choices),
            choices=choices,
            transcript=transcript,
            prosody=prosody,
            reasoning=reasoning,
            target=target,
            task=self.name("task"),
            speaker=speaker,
            split=split,
            dataset=dataset,
            scoring=self.scoring(),
            turns=self.turns(),
            before=before,
            after=after,
        )

    def clips(self, *, required: bool) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """Return the clip that the row is about, and those before and behind it."""
        if isinstance(self.fields.get("audio"), list):
            if ALIASES["audio"] in self.fields:
                self.problems.append("has both 'audio' and 'audio_path'; keep one of them")
            return read_clips(self.fields, self.reader.root, self.problems)
        if self.fields.get("target_clip") is not None:
            self.problems.append("has 'target_clip', which is for a list of clips; take it out")
        audio = self.text("audio", required=required)
        if audio is None:
            return "", (), ()
        return checked_audio(self.reader.root, audio, self.problems), (), ()

    def turns(self) -> tuple[Turn, ...]:
        """Return the dialogue before the question."""
        turns = self.fields.get("turns")
        return () if turns is None else read_turns(turns, self.reader.root, self.problems)

    def scoring(self) -> Mapping[str, str] | None:
        """Return how a public benchmark scores the row, if it is of one."""
        value = self.fields.get("scoring")
        if value is None:
            return None
        if (
            not isinstance(value, dict)
            or "rule" not in value
            or not all(isinstance(text, str) for text in value.values())
        ):
            self.problems.append(
                f"'scoring' is {shown(value)}; write an object of texts with a 'rule'"
            )
            return None
        return value

    def name(self, name: str) -> str | None:
        """Return a text field that many rows have in common."""
        value = self.text(name)
        return None if value is None else self.reader.shared(value)

    def text(self, name: str, *, required: bool = False) -> str | None:
        """Return a text field by its name or alias; null and blank count as absent."""
        value = self.fields.get(name)
        if self.is_usual:  # what most fields of most rows are, first
            if value is None and not required:
                return None
            if type(value) is str and value.isascii() and value and not value.isspace():
                return value
        alias = ALIASES.get(name)
        if alias is not None and alias in self.fields:
            if name in self.fields:
                self.problems.append(f"has both {name!r} and {alias!r}; keep one of them")
            value = self.fields[alias] if value is None else value
        if value is not None and not isinstance(value, str):
            self.problems.append(f"{name!r} is {shown(value)}; write it as text in quotes")
            return None
        if value is None or not value.strip():
            if required:
                either = f"{name!r} (or {alias!r})" if alias else f"{name!r}"
                self.problems.append(f"has no {either}; every row needs one")
            return None
        if not is_unicode(value):
            self.problems.append(f"{name!r} holds half of a surrogate pair; save it as UTF-8")
            return None
        return value

    def choices(self, *, free: bool) -> tuple[str, ...]:
        """Return the row's own choices if it has usable ones, else the configured ones."""
        allowed = self.reader.allowed
        value = self.fields.get("choices")
        if value is None:
            return allowed
        if free and value == []:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(c, str) for c in value):
            self.problems.append(f"'choices' is {shown(value)}; write a list of labels")
            return allowed
        if len(set(value)) < len(value):
            self.problems.append(f"'choices' is {shown(value)}; name each label once")
        for choice in value:
            if choice not in allowed and not free:
                self.problems.append(_unknown_label("choice", choice, allowed))
        return self.reader.shared(tuple(value))

    def prosody(self) -> Mapping[str, Any] | None:
        """Return the measured prosody, if it is an object."""
        value = self.fields.get("prosody")
        if value is not None and not isinstance(value, dict | Packed):
            self.problems.append(f"'prosody' is {shown(value)}; write an object")
            return None
        return value

    def check_foreign(self) -> None:
        """Note fields that say what our own say, in the form of other trainers."""
        for name in sorted(self.fields.keys() & FOREIGN.keys()):
            self.problems.append(
                f"has {name!r}, {FOREIGN[name]}, which is not read; write the user's text as "
                "'question' (earlier messages as 'turns'), the answer as 'target' (or as "
                "'reasoning' and 'label') and the path of the clip, or a list of paths, as "
                "'audio', and take the field out"
            )


def _unknown_label(what: str, label: str, choices: Sequence[str]) -> str:
    names = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(label.strip().casefold(), names, n=1)
    hint = f"did you mean {names[near[0]]!r}? " if near else ""
    return f"{what} {shown(label)} is not allowed; {hint}choose from: {', '.join(choices)}"


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"has the key {shown(twice)} twice; keep one of them")
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
