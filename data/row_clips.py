"""The clips and the dialogue of a manifest's row, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from configs.rules import PLACEHOLDER
from data.links import ClipRoot
from data.records import Turn
from data.spelling import spelled_on_disk

ROLES = ("user", "assistant")
"""Who speaks in a turn."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_unicode(text: str) -> bool:
    """Return whether a text holds no half of a surrogate pair."""
    return text.isascii() or not _SURROGATE.search(text)


def shown(value: Any) -> str:
    """Return a value as messages show it, cut."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def clips_in(row: Mapping[str, Any]) -> list[str]:
    """Return all clips of a row of a manifest that was checked, in the order of its prompt."""
    audio = row.get("audio")
    named = audio if isinstance(audio, list) else [audio]
    clips = [*(turn.get("audio") for turn in row.get("turns") or ()), *named]
    return [clip for clip in clips if clip]


def target_of(row: Mapping[str, Any]) -> str:
    """Return the clip that a row of a checked manifest is about; empty if it has none."""
    audio = row.get("audio") or ""
    if not isinstance(audio, list):
        return audio
    place = row.get("target_clip")
    return audio[-1 if place is None else place] if audio else ""


def checked_audio(root: ClipRoot, audio: str, problems: list[str]) -> str:
    """Return a clip's path as it is spelled on disk, and note what is wrong with it.

    Nothing outside the root may be read.
    """
    if "\0" in audio:
        problems.append("audio path holds a NUL byte; write a plain file name")
        return audio
    if _SCHEME.match(audio):
        problems.append(
            f"audio {shown(audio)} is a URL or has a drive letter; download the clip and "
            "write its path relative to the audio root"
        )
        return audio
    if audio.startswith("/") or ".." in audio.split("/"):
        problems.append(
            f"audio {shown(audio)} is absolute or climbs with '..'; write a path relative "
            f"to the audio root {root.folder}"
        )
        return audio
    if root.is_clip(audio):
        return audio
    audio = spelled_on_disk(root.folder, audio)
    if problem := root.problem(audio):
        problems.append(f"audio {shown(audio)} {problem}")
    return audio


def read_clips(
    fields: Mapping[str, Any], root: ClipRoot, problems: list[str]
) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the clip that a row is about, those before it and those behind it.

    Args:
        fields: The row; its `audio` is a list. An empty one is a row without a clip.
        root: Where its clips are.
        problems: Gets what is wrong.
    """
    paths: list[Any] = fields["audio"]
    place = fields.get("target_clip")
    if not all(_is_text(path) and path.strip() for path in paths):
        problems.append(f"'audio' is {shown(paths)}; write a path, or a list of paths")
        return "", (), ()
    last = len(paths) - 1
    if place is not None and (type(place) is not int or not 0 <= place <= last):
        allowed = f"0 to {last}" if paths else "nothing"
        problems.append(
            f"'target_clip' is {shown(place)} and 'audio' lists {len(paths)}; it counts from 0, so "
            f"write {allowed}"
        )
        place = None
    clips = [checked_audio(root, path, problems) for path in paths]
    if not clips:
        return "", (), ()
    place = last if place is None else place
    return clips[place], tuple(clips[:place]), tuple(clips[place + 1 :])


def read_turns(turns: Any, root: ClipRoot, problems: list[str]) -> tuple[Turn, ...]:
    """Return the dialogue before a row's question; arguments as those of `read_clips`."""
    if not isinstance(turns, list):
        problems.append(f"'turns' is {shown(turns)}; write a list of objects with 'role', 'text'")
        return ()
    checked: list[Turn] = []
    for number, turn in enumerate(turns, start=1):
        if problem := _turn_problem(turn):
            problems.append(f"turn {number} {problem}")
            continue
        audio = turn.get("audio") or ""
        audio = checked_audio(root, audio, problems) if audio.strip() else ""
        checked.append(Turn(turn["role"], turn.get("text") or "", audio))
    return tuple(checked)


def _turn_problem(turn: Any) -> str:
    """Return what is wrong with a turn but for its clip; empty if nothing is."""
    if not isinstance(turn, dict) or not turn.keys() <= {"role", "text", "audio"}:
        return f"is {shown(turn)}; write an object with 'role', 'text' and, of a user, 'audio'"
    role, text, audio = turn.get("role"), turn.get("text"), turn.get("audio")
    if role not in ROLES:
        hint = "; the system prompt is data.system_prompt" if role == "system" else ""
        return f"has the role {shown(role)}; write 'user' or 'assistant'{hint}"
    for name, value in (("text", text), ("audio", audio)):
        if value is not None and not _is_text(value):
            return f"has {name!r} {shown(value)}; write it as text in quotes"
    text, audio = (text or "").strip(), (audio or "").strip()
    if not text and not audio:
        return "has neither 'text' nor 'audio'; take it out"
    if audio and role == "assistant":
        return "has a clip and is the assistant's, who writes text; make it a turn of the user"
    if placeholder := PLACEHOLDER.search(text):
        return (
            f"holds {placeholder[0]!r}, which would be read as text; take it out: the clip of a "
            "turn comes before its text by itself"
        )
    return ""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and is_unicode(value)
