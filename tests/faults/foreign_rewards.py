"""Plug-ins that raise what no exception should be, where a completion's text says so."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from data.records import Group
from rewards.base import Scores
from rewards.judges.base import DIMENSIONS, JudgeContext, Judgement, unscored


class TwoArgumentsError(Exception):
    """Can be pickled, but not built again from its own arguments."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")


class LockedError(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class MuteError(Exception):
    """Has no message that could be read."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


class OddExit(BaseException):
    """No `Exception`."""


def _http_status() -> None:
    request = httpx.Request("POST", "http://127.0.0.1/v1")
    httpx.Response(429, request=request).raise_for_status()


def _local_class() -> None:
    class InnerError(Exception):
        def __reduce__(self) -> str:
            raise TypeError("never pickled")

    raise InnerError("of a class that is local")


def _raise(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


RAISERS: Mapping[str, Callable[[], None]] = {
    "http 429": _http_status,
    "two arguments": _raise(TwoArgumentsError(7, "cannot be built again")),
    "locked": lambda: _raise(LockedError("holds a lock"))(),
    "local class": _local_class,
    "mute": _raise(MuteError()),
    "gigantic": lambda: _raise(RuntimeError("much " * 10_000_000))(),
    "many lines": _raise(RuntimeError("first\nsecond\x1b[31m\ud800 third")),
    "exit": _raise(SystemExit("leaves")),
    "interrupt": _raise(KeyboardInterrupt("stops")),
    "no exception": _raise(OddExit("of no known kind")),
    "generator exit": _raise(GeneratorExit("closes")),
    "group": _raise(BaseExceptionGroup("both", [OddExit("a"), LookupError("b")])),
    "memory": _raise(MemoryError()),
    "recursion": _raise(RecursionError("too deep")),
}


def fail(what: str) -> None:
    """Raise what a name stands for; do nothing for a name that is unknown."""
    RAISERS.get(what, lambda: None)()


class Raising:
    """1.0, unless a completion's text is a name in `RAISERS`."""

    def score(self, group: Group) -> Scores:
        for completion in group.completions:
            fail(completion.text)
        return Scores((1.0,) * len(group.completions))


class RaisingConstructor:
    """Raises in its constructor, where the file `when` exists; `die` kills the worker."""

    def __init__(self, what: str, when: str = "/") -> None:
        if Path(when).exists():
            fail(what)

    def score(self, group: Group) -> Scores:
        if any(completion.text == "die" for completion in group.completions):
            os._exit(1)
        return Scores((1.0,) * len(group.completions))


class RaisingJudge:
    """Raises where the reasoning is a name in `RAISERS`."""

    dimensions = DIMENSIONS

    def __init__(self, context: JudgeContext, what: str = "") -> None:
        fail(what)

    def judge(self, prompt: object, reasonings: list[str]) -> list[Judgement]:
        for reasoning in reasonings:
            fail(reasoning)
        return [Judgement(dict.fromkeys(DIMENSIONS, 4.0)) for _ in reasonings]

    def close(self) -> None:
        """Hold nothing."""


class BreakingJudge:
    """Breaks down for good over the reasoning `break`, as a judge whose engine has crashed."""

    dimensions = DIMENSIONS

    def __init__(self, context: JudgeContext) -> None:
        self.broken = False

    def judge(self, prompt: object, reasonings: list[str]) -> list[Judgement]:
        self.broken = self.broken or "break" in reasonings
        if self.broken:
            return [unscored("engine stopped") for _ in reasonings]
        return [Judgement(dict.fromkeys(DIMENSIONS, 4.0)) for _ in reasonings]

    def close(self) -> None:
        """Hold nothing."""


class WordOfItsOwn(str):
    """A text that cannot leave its process."""

    def __reduce_ex__(self, protocol: object) -> str:
        raise TypeError("never pickled")


class OddDetails:
    """Scores whose details are JSON, but of a class that cannot be pickled."""

    def score(self, group: Group) -> Scores:
        num = len(group.completions)
        return Scores((1.0,) * num, ({"word": WordOfItsOwn("said")},) * num)
