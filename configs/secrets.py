"""Secrets: how options may name them, and texts without their values.

Whatever comes from a server, a plug-in or a library may repeat a key: an exception that carries the
headers of its request, a reply that echoes them. A key is known by the environment variable that
holds it: one that an option such as `api_key_env` names, or one called like a secret. What is
printed or written down of foreign texts goes through `without_secrets`.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import lru_cache
from typing import Any, cast
from urllib.parse import quote

HIDDEN = "[key]"
"""Stands where a secret was."""

MIN_CHARS = 6
"""Shorter values are none: `EMPTY` is what local servers are given."""

SECRET_OPTION = re.compile(
    r"(.*_)?(api_?key|(access|secret|private|auth)_?key|pass(word|wd|phrase)|secret|credentials?"
    r"|authorization|bearer|(auth|access|api|bearer|hf|hub|session|refresh)_?token)|token",
    re.I,
)
"""Names, with _ for -, of options and variables that hold a secret; `api_key_env` holds a name."""

SECRET_VARIABLE = re.compile(rf"{SECRET_OPTION.pattern}|.*_(token|key_id|pat)", re.I)
"""Names of environment variables whose values are hidden even where nothing names them."""

VARIABLE_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
"""What an option such as `api_key_env` may hold: in capitals, since most keys are not."""

_VALUE_WITH_SECRET = re.compile(
    r"\s*bearer\s+\S{6,}\s*$|\w[\w+.-]*://[^/?#\s]*@"
    r"|\w[\w+.-]*://\S*[?&]([^=&]*[_-])?(api_?key|key|token|secret|password|sig|signature)=",
    re.I,
)
_named: set[str] = set()


def secret_problems(options: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted names of options that would hold a secret, and what to do; values are not shown.

    Args:
        options: Settings with whatever is below them, in mappings and lists.
        key: Name of the settings themselves.
    """
    name = re.split(r"[.\s]", key)[-1].replace("-", "_")
    if isinstance(options, Mapping):
        for inner, value in cast(Mapping[Any, Any], options).items():
            yield from secret_problems(value, f"{key}.{inner}".lstrip("."))
    elif isinstance(options, list):
        for index, value in enumerate(cast(list[Any], options)):
            yield from secret_problems(value, f"{key}.{index}")
    if SECRET_OPTION.fullmatch(name) and options not in (None, ""):
        yield (
            key,
            "a secret does not belong in a configuration, which is written to the run folder; put "
            f"it in the environment and give its name as {name}_env",
        )
    elif isinstance(options, str) and name.endswith("_env"):
        if options and not VARIABLE_NAME.fullmatch(options):
            yield (
                key,
                "is not the name of an environment variable, in capitals, such as JUDGE_API_KEY; "
                "put the key itself in the environment",
            )
    elif isinstance(options, str) and _VALUE_WITH_SECRET.match(options):
        yield (
            key,
            "holds a user, a password or a key; put it in the environment, where what needs it "
            "reads it (api_key_env)",
        )


def variables_named_in(options: Any) -> Iterator[str]:
    """Yield the names of environment variables that options such as `api_key_env` give."""
    if isinstance(options, Mapping):
        for name, value in cast(Mapping[Any, Any], options).items():
            if isinstance(value, str) and str(name).endswith("_env") and value:
                yield value
            yield from variables_named_in(value)
    elif isinstance(options, list):
        for value in cast(list[Any], options):
            yield from variables_named_in(value)


def hide_variables_of(options: Any) -> None:
    """Let `without_secrets` of this process hide the values of the variables that options name."""
    _named.update(variables_named_in(options))


def without_secrets(text: str) -> str:
    """Return a text with `[key]` in place of each secret in this process's environment.

    It is found as it is and as JSON, Python, an address, hexadecimal or base64 would write it.
    """
    pattern = _known()
    return pattern.sub(HIDDEN, text) if pattern else text


def all_without_secrets(value: Any) -> Any:
    """Return JSON data with every text in it, names of objects too, as `without_secrets`."""
    pattern = _known()
    return _all_without(value, pattern) if pattern else value


class HidingStream:
    """Passes on what is printed, as `without_secrets`; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        """Print to a stream such as `sys.stderr`."""
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, and return its length."""
        self._stream.write(without_secrets(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts one after another."""
        self._stream.writelines(map(without_secrets, lines))

    def __getattr__(self, name: str) -> Any:
        """Return what else the stream has."""
        return getattr(self._stream, name)


@contextmanager
def hiding_output() -> Generator[None, None, None]:
    """Let nothing that is printed in the block show a secret, tracebacks included."""
    out: Any = HidingStream(sys.stdout)
    err: Any = HidingStream(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        yield


def _all_without(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub(HIDDEN, value)
    if isinstance(value, list):
        return [_all_without(item, pattern) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        pairs = cast(dict[str, Any], value).items()
        return {pattern.sub(HIDDEN, key): _all_without(item, pattern) for key, item in pairs}
    return value


def _known() -> re.Pattern[str] | None:
    """Return what finds the secrets that this process has; None if it has none."""
    values = {
        value.strip()
        for name, value in os.environ.items()
        if name in _named or SECRET_VARIABLE.fullmatch(name)
    }
    secrets = frozenset(value for value in values if len(value) >= MIN_CHARS)
    return _pattern(secrets) if secrets else None


@lru_cache(maxsize=4)
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    forms = {form for secret in secrets for form in _forms(secret)}
    return re.compile("|".join(map(re.escape, sorted(forms, key=len, reverse=True))))


def _forms(secret: str) -> Iterator[str]:
    """Yield the ways in which a secret may be written."""
    once = json.dumps(secret)[1:-1]
    content = os.fsencode(secret)
    yield from (secret, once, json.dumps(once)[1:-1], repr(secret)[1:-1])
    yield from (quote(content), quote(content, safe=""))
    yield from (content.hex(), content.hex().upper())
    for before in range(3):  # bytes of a group of base64 that belong to what stands before it
        packed = base64.b64encode(b"\0" * before + content).decode("ascii")
        whole = packed[-(-before * 8 // 6) : (before + len(content)) * 8 // 6]
        yield from (whole, whole.replace("+", "-").replace("/", "_"))
