"""What a judge model is asked, and the only form in which its reply is taken.

The reasoning to be graded is written by a policy that is paid for high grades, so it is treated as
hostile: it is reduced to plain text, cut, and set between lines that it cannot reproduce.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from configs.shipped import find_shipped
from data.records import Prompt
from rewards.judges.base import DIMENSIONS, HIGHEST, LOWEST, JudgeError
from rewards.judges.checks import render_checks

MAX_REASONING_CHARS = 4_000
"""Longer reasoning is cut before a judge sees it."""

MAX_FACT_CHARS = 2_000
"""Cap of the transcript and of the rendered prosody."""

MAX_REPLY_CHARS = 1_000
"""A longer reply is refused unread, thoughts before it not counted; four scores take about 120
characters."""

PLACEHOLDERS = ("question", "choices", "transcript", "prosody", "checks", "fence", "reasoning")
"""Names that a template may write in braces."""

SCORES = tuple(range(int(LOWEST), int(HIGHEST) + 1))
"""The scores that a reply may hold."""

_MEASURED: Mapping[str, tuple[str, str]] = {
    "pitch": ("pitch", ""),
    "energy": ("energy", ""),
    "rate": ("rate", ""),
    "intonation": ("intonation", ""),
    "pitch_change": ("pitch from the first half to the second", ""),
    "energy_change": ("energy from the first half to the second", ""),
    "f0_median_hz": ("median pitch", "Hz"),
    "f0_range_st": ("pitch range", "semitones"),
    "energy_dbfs": ("mean energy", "dBFS"),
    "letters_per_s": ("speed", "letters per second of speech"),
    "nuclei_per_s": ("syllables", "per second of speech"),
    "pause_frac": ("share of pauses", ""),
}
"""What a judge sees of an annotated clip: key -> name and unit. See "Prosody" in docs/data.md."""

_RELATIVE_TO: Mapping[str, str] = {
    "speaker": " (for this speaker)",
    "centred": " (for this speaker)",
    "sex": " (among voices of the same sex)",
    "dataset": " (in this corpus)",
}
"""`X_group` of a level -> what a judge is told; 190 Hz is low for one voice, high for another."""

_THINKING = [(f"<{tag}>", f"</{tag}>") for tag in ("think", "thinking", "reasoning")]
"""Tags around what a judge model thinks before it answers."""

_FENCE_MARKS = re.compile(r"```(?:json)?|~~~(?:json)?", re.IGNORECASE)
_QUOTES = tuple("\"'\u2018\u201c\u00ab\u201e(")
"""What an object that is quoted stands behind."""

_FENCE_WORD = "reasoning-fence"
_FORGED_FENCE = re.compile(r"reasoning[\W_]{0,3}fence", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_DEFAULT_FILE = Path(__file__).with_name("prompt.txt")
# Every family of chat and control tokens is spelled with one of these: <|im_start|>, <think>,
# [INST], <<SYS>>, <start_of_turn>, {{#system}}. A rule on characters misses no new family.
_BRACKETS = str.maketrans("<>[]{}", "()()()")

NO_CONCLUSION = "That is all there is to hear in this one."
"""Last sentence of a text that concludes nothing, and the first of OPEN_ENDINGS."""


def sanitize(text: str, max_chars: int = MAX_REASONING_CHARS) -> str:
    """Return foreign text as plain text that cannot pose as a part of a prompt.

    Compatibility forms (full-width brackets and the like) are folded first; then invisible,
    control, private and surrogate characters go, brackets of every kind that chat tokens, tags and
    JSON use become round ones, and words that look like the fence are taken out.

    Args:
        text: As the policy wrote it.
        max_chars: Most characters that are read, and that are returned.
    """
    folded = unicodedata.normalize("NFKC", text[:max_chars])
    visible = "".join(_visible(folded)).translate(_BRACKETS)
    lines = [" ".join(line.split()) for line in visible.split("\n")]
    plain = re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
    # Something wide stays where a word was taken out: its neighbours must not join into the same.
    return _FORGED_FENCE.sub("(...)", plain)[:max_chars].strip()


def _visible(text: str) -> Iterator[str]:
    for char in text:
        category = unicodedata.category(char)
        if char in "\n\v\f\x1c\x1d\x1e\x85" or category in ("Zl", "Zp"):
            yield "\n"
        elif char in "\t\r" or category == "Zs":
            yield " "
        elif category[0] != "C":
            yield char


def fenced(reasoning: str) -> tuple[str, str]:
    """Return the fence line for a reasoning and the sanitized reasoning that goes inside it.

    The fence holds 64 bits of the text's own SHA-256. Equal texts have equal fences, so that calls
    repeat and can be cached, and a text that holds its own fence cannot be found.
    """
    text = sanitize(reasoning)
    return f"{_FENCE_WORD}-{hashlib.sha256(text.encode()).hexdigest()[:16]}", text


class JudgePrompt:
    """The message that asks a model to judge one reasoning.

    Args:
        prompt_file: Template in place of the default one, `rewards/judges/prompt.txt`; UTF-8 text
            in which the names of `PLACEHOLDERS` stand in braces. Empty: the default.

    Raises:
        JudgeError: The file cannot be read, has an unknown placeholder, or `{reasoning}` does not
            stand in it once, between `{fence}` and `{fence}`.
    """

    def __init__(self, prompt_file: str = "") -> None:
        path = find_shipped(prompt_file) if prompt_file else _DEFAULT_FILE
        try:
            self._template = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise JudgeError(
                f"prompt_file {path}: cannot read it as UTF-8 text: {error}"
            ) from error
        _check_template(path, self._template)
        self.digest: str = hashlib.sha256(self._template.encode()).hexdigest()
        """SHA-256 of the template, for cache keys."""

    def render(self, prompt: Prompt, reasoning: str) -> str:
        """Return the text of the message. The gold label is not in it.

        Args:
            prompt: What the policy was asked; only the example's question, choices, transcript and
                prosody are used.
            reasoning: The body of the think block, as the policy wrote it.
        """
        fence, text = fenced(reasoning)
        example = prompt.example
        facts = example.prosody or {}
        filled = {
            "question": example.question,
            "choices": ", ".join(example.choices),
            "transcript": sanitize(example.transcript or "", MAX_FACT_CHARS) or "not known",
            "prosody": render_prosody(example.prosody),
            "checks": render_checks(text, facts) if _is_annotated(facts) else "not measured",
            "fence": fence,
            "reasoning": text,
        }
        # One pass: what is filled in is not searched for placeholders again.
        return _PLACEHOLDER.sub(lambda name: filled[name[1]], self._template)


def _check_template(path: Path, template: str) -> None:
    names = _PLACEHOLDER.findall(template)
    unknown = sorted(set(names) - set(PLACEHOLDERS))
    if unknown:
        raise JudgeError(
            f"prompt_file {path}: unknown placeholder {{{unknown[0]}}}; "
            f"known are {', '.join(f'{{{name}}}' for name in PLACEHOLDERS)}"
        )
    if names.count("reasoning") != 1:
        raise JudgeError(
            f"prompt_file {path}: {{reasoning}} stands in it {names.count('reasoning')} times, "
            "write it once"
        )
    where = names.index("reasoning")
    if "fence" not in names[:where] or "fence" not in names[where + 1 :]:
        raise JudgeError(
            f"prompt_file {path}: put a line {{fence}} before and after {{reasoning}}, or the "
            "judge cannot tell where foreign text ends"
        )


def render_prosody(prosody: Mapping[str, Any] | None) -> str:
    """Return measured prosody as one `name: value` line per fact, or `not measured`.

    Of what the annotation step writes, the levels come first, then a few measurements with their
    units; distances and details stay out. Other facts of another origin follow as they are.

    Args:
        prosody: As `Example.prosody`; nested names are joined, empty values are left out.
    """
    facts = prosody or {}
    lines: list[str] = []
    for key, (name, unit) in _MEASURED.items():
        value = facts.get(key)
        if not isinstance(value, Mapping) and (shown := _shown(value)) != "":
            relative = _RELATIVE_TO.get(str(facts.get(f"{key}_group")), "")
            lines.append(f"- {name}: {shown} {unit}".rstrip() + relative)
    if not _is_annotated(facts):
        others = {
            key: value
            for key, value in facts.items()
            if key not in _MEASURED or isinstance(value, Mapping)
        }
        lines += [f"- {name}: {value}" for name, value in _facts("", others)]
    return "\n".join(lines)[:MAX_FACT_CHARS] or "not measured"


def _is_annotated(prosody: Mapping[str, Any]) -> bool:
    """Say whether the annotation step wrote it: these keys are always in what it writes."""
    return {"pitch_group", "rate_from", "intonation_group"} <= prosody.keys()


def _facts(prefix: str, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in facts.items():
        name = f"{prefix} {sanitize(str(key), 100)}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _facts(name, cast(Mapping[str, Any], value))
        elif (shown := _shown(value)) != "":
            yield name, shown


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(filter(None, map(_shown, cast(Sequence[Any], value))))
    return sanitize(str(value), 200)


def response_schema() -> dict[str, Any]:
    """Return the JSON schema of a reply: an object with four integers of 1 to 5 and no more."""
    return {
        "type": "object",
        "properties": {name: {"type": "integer", "enum": list(SCORES)} for name in DIMENSIONS},
        "required": list(DIMENSIONS),
        "additionalProperties": False,
    }


def parse_scores(text: str, reasoning: str = "") -> dict[str, float]:
    """Return dimension -> score of a reply, for exactly the four dimensions.

    One flat JSON object is taken, with four whole numbers from 1 to 5, or these as strings: bare,
    in a code fence, after a think block, or with text around it. Where the reasoning itself names
    a dimension it is taken bare only: an object inside a sentence may be one that the policy asked
    for and the judge quotes. Nothing else is repaired. Time is linear in the length of the reply.

    Args:
        text: What the judge model wrote.
        reasoning: What was judged.

    Raises:
        JudgeError: The reply is something else. The message is a reason that can be counted: `reply
            too long`, `unfinished thinking`, `not json`, `nested json` (or several objects),
            `quoted json`, `wrong keys`, `not an integer`, `out of range`.
    """
    answer = _after_thinking(text)
    if len(answer) > MAX_REPLY_CHARS:
        raise JudgeError("reply too long")
    before, object_text, after = _only_object(answer)
    if _is_suspect(before, f"{before} {after}", reasoning):
        raise JudgeError("quoted json")
    try:
        scores = cast(list[tuple[str, Any]], json.loads(object_text, object_pairs_hook=list))
    except ValueError as error:
        raise JudgeError("not json") from error
    if sorted(name for name, _ in scores) != sorted(DIMENSIONS):
        raise JudgeError("wrong keys")
    return {name: _score(dict(scores)[name]) for name in DIMENSIONS}


def _after_thinking(text: str) -> str:
    """Return a reply without the thoughts before it; some servers leave out their opening tag."""
    for opening, closing in _THINKING:
        _, tag, rest = text.rpartition(closing)
        text = rest if tag else text
        if opening in text:
            raise JudgeError("unfinished thinking")
    return text


def _only_object(text: str) -> tuple[str, str, str]:
    """Return what is before, in and after the one flat object of a reply."""
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        listed = text.lstrip().startswith("[") or text.count("{") > 1
        raise JudgeError("nested json" if listed else "not json")
    before, object_text, after = text[:start], text[start : end + 1], text[end + 1 :]
    # Before the parser, whose recursion is not bounded.
    if object_text.count("{") > 1 or "[" in object_text or before.rstrip().endswith("["):
        raise JudgeError("nested json")
    return before, object_text, after


def _is_suspect(before: str, around: str, reasoning: str) -> bool:
    """Say whether an object with something around it may not be the judge's own answer."""
    quoted = _FENCE_MARKS.sub("", before).rstrip().endswith(_QUOTES) or _FENCE_WORD in around
    named = any(name in reasoning.lower() for name in DIMENSIONS)
    return quoted or (named and bool(_FENCE_MARKS.sub("", around).strip()))


def _score(value: Any) -> float:
    if type(value) is str and value.strip() in map(str, SCORES):
        value = int(value)
    if type(value) is not int:
        raise JudgeError("not an integer")
    if value not in SCORES:
        raise JudgeError("out of range")
    return float(value)
