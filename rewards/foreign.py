"""Calling code that is not ours: whatever it raises becomes a line of text.

An exception of a plug-in cannot be passed on as it is. It may be no `Exception`, or one whose class
exists in one process only, that cannot be pickled, or whose message is gigantic or raises itself.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from configs.secrets import without_secrets

Result = TypeVar("Result")

MAX_MESSAGE_CHARS = 300
"""Longest message that is kept of an exception."""

MAX_READ_CHARS = 20_000
"""What is looked at of a message, for keys in it and for what can be printed."""


class BrokenError(RuntimeError):
    """A reward that can score nothing more in this process; the pool starts another one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in place of a result."""

    reason: str
    """One line of printable characters."""
    died: bool = False
    """The process went with it, or is of no more use."""


def attempt(call: Callable[[], Result]) -> Result | Failure:
    """Return what foreign code returns, or what it raised: anything at all, `SystemExit` too."""
    try:
        return call()
    except BaseException as error:
        return Failure(describe(error), died=isinstance(error, BrokenError))


async def attempt_awaiting(result: Awaitable[Result]) -> Result | Failure:
    """Return what a coroutine of foreign code returns, or what it raised, as `attempt` does."""
    try:
        return await result
    except BaseException as error:
        return Failure(describe(error), died=isinstance(error, BrokenError))


def accepted(function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments that a function has a name for, or all if it takes any."""
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(offered)
    names = {p.name for p in parameters}
    return {name: value for name, value in offered.items() if name in names}


def describe(error: BaseException) -> str:
    """Return an exception as `Type: message (file.py:line)`, in one line, cut if it is long.

    It may carry the headers of a request: keys are hidden, see `configs.secrets`. The place is
    where it was raised; it is left out where that is not known.
    """
    kind = type(error).__name__
    try:
        message = one_line(without_secrets(str(error)[:MAX_READ_CHARS]))
    except BaseException:
        message = "(its message cannot be read)"
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    place = f" ({Path(frames[0].filename).name}:{frames[0].lineno})" if frames else ""
    return (f"{kind}: {message}" if message else kind) + place


def one_line(text: str, max_chars: int = MAX_MESSAGE_CHARS) -> str:
    """Return the beginning of a text with all that cannot be printed as single blanks."""
    chars = (char if char.isprintable() else " " for char in islice(text, 4 * max_chars))
    return " ".join("".join(chars).split())[:max_chars]
