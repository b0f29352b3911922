"""What the adapters for rewards of other trainers share: the function, and how it is called."""

from __future__ import annotations

import asyncio
import inspect
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, SupportsFloat

from msgspec import structs

from data.records import Example, Group, Turn
from rewards.base import RewardError, find_function
from rewards.foreign import Failure, attempt, attempt_awaiting, one_line

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""No options."""

COLUMNS: Mapping[str, str] = MappingProxyType({"ground_truth": "label", "solution": "label"})
"""Columns of other trainers' data sets -> fields of our rows that they are here."""

FIELDS = Example.__struct_fields__
"""Fields of a row, which are columns by their own names."""

NAME_A_FIELD = "name a field of the row for it, such as options.columns: {answer: label}"
"""What to do about an argument that nobody gives."""

MAX_FACT_CHARS = 1000
"""Longest description of a fact that is no JSON."""

RESERVED = ("metrics", "not_applicable")
"""Keys of details that have a meaning; a fact of the same name gets a `_` behind it."""


class ForeignReward:
    """A function of another trainer, what it may be given, and how it is called.

    A function may be `async`; those of a group run side by side.
    """

    limits = (-math.inf, math.inf)

    def __init__(
        self,
        function: str,
        packages: Sequence[str] = (),
        num_steps: int = 0,
        columns: Mapping[str, str] = NOTHING,
        arguments: Mapping[str, Any] = NOTHING,
        limits: Sequence[float] | None = None,
    ) -> None:
        """Import the function and see that it can be called.

        Args:
            function: "module:name"; its top-level package must be in `rewards.packages`.
            packages: The config's `rewards.packages`; the run fills them in.
            num_steps: Steps of the run, for functions that ask; the run fills them in.
            columns: Name that the function reads -> field of the row, besides `COLUMNS`, such as
                {"answer": "label"}.
            arguments: verl: more keyword arguments of every call; ms-swift: of the constructor.
            limits: Lowest and highest score that is accepted; None = any finite number.

        Raises:
            RewardError: The function cannot be used, wants an argument that nobody gives, or a
                column is no field of a row.
        """
        for column, field in columns.items():
            if field not in FIELDS:
                raise RewardError(
                    f"{type(self).__name__}: columns.{column} is {field!r}, which is no field of a "
                    f"row; allowed are {', '.join(FIELDS)}"
                )
        if limits is not None:
            if len(limits) != 2 or not limits[0] < limits[1]:
                raise RewardError(
                    f"{type(self).__name__}: limits are {list(limits)}; needed are two numbers, "
                    "the lowest score and the highest"
                )
            self.limits = float(limits[0]), float(limits[1])
        self._name = function
        self._num_steps = num_steps
        self._columns = {name: name for name in FIELDS} | dict(COLUMNS) | dict(columns)
        self._arguments = dict(arguments)
        self._function = self.load(packages)
        missing = missing_arguments(self._function, self.given(columns, arguments))
        if missing:
            raise RewardError(f"reward function {function!r} {missing}; {NAME_A_FIELD}")

    def load(self, packages: Sequence[str]) -> Callable[..., Any]:
        """Return what is called, imported once the allow-list was checked."""
        return find_function("reward function", self._name, packages)

    @classmethod
    def given(cls, columns: Mapping[str, str], arguments: Mapping[str, Any]) -> list[str]:
        """Return the names of the keyword arguments that a function is called with."""
        raise NotImplementedError

    def _results(self, group: Group, calls: Sequence[Callable[[], Any]], where: str) -> list[Any]:
        """Return what each call returns; coroutines are awaited together.

        Args:
            where: What a call is about, for messages; `{}` is its number.

        Raises:
            RewardError: One of them raised; names function, row and example.
        """
        results = [attempt(call) for call in calls]
        if any(inspect.isawaitable(result) for result in results):
            results = in_event_loop(results)
        for i, result in enumerate(results):
            if isinstance(result, Failure):
                example = group.prompt.example.id
                raise RewardError(
                    f"{self._name} on {where.format(i)} of example {example!r}: {result.reason}"
                )
        return results

    def _list_of(self, group: Group, result: Any) -> tuple[Any, ...]:
        """Return the list of scores that a function gave for a group, one for each completion."""
        num = len(group.completions)
        where = f"{self._name} on example {group.prompt.example.id!r}"
        try:
            values = tuple(result)
        except TypeError:
            raise RewardError(
                f"{where}: returned {type(result).__name__}, expected a list of {num} scores"
            ) from None
        if len(values) != num:
            raise RewardError(f"{where}: returned {len(values)} scores for {num} completions")
        for i, value in enumerate(values):
            self._check(group, i, value)
        return values

    def _check(self, group: Group, index: int, value: Any) -> None:
        number = attempt(partial(float, value)) if isinstance(value, SupportsFloat) else None
        if value is None or (isinstance(number, float) and math.isfinite(number)):
            return
        raise RewardError(
            f"{self._name} on completion {index} of example {group.prompt.example.id!r}: returned "
            f"{one_line(repr(value), 80)}, expected a finite number, or None where it does not "
            "apply"
        )

    def _row(self, group: Group) -> dict[str, Any]:
        """Return the columns of the group's row."""
        example = group.prompt.example
        return {name: plain(getattr(example, field)) for name, field in self._columns.items()}

    def _state(self, group: Group) -> SimpleNamespace:
        """Return what TRL and ms-swift call the trainer's state, as far as it is known here."""
        step = max(completion.policy_version for completion in group.completions)
        return SimpleNamespace(global_step=step, max_steps=self._num_steps)


def has_call(kind: type) -> bool:
    """Return whether objects of a class can be called; every class itself can."""
    return any("__call__" in vars(base) for base in kind.__mro__)


def missing_arguments(function: Callable[..., Any], given: Sequence[str]) -> str:
    """Return what a function wants that it is not given, as the end of a message; else nothing."""
    missing = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        and (parameter.name not in given or parameter.kind is parameter.POSITIONAL_ONLY)
    ]
    if not missing:
        return ""
    return f"needs {', '.join(missing)}, which it is not given; it is given {', '.join(given)}"


def in_event_loop(results: Sequence[Any]) -> list[Any]:
    """Return the results, those that are coroutines awaited together.

    All run in one loop that lives as long as the process: a client that a function keeps belongs to
    the loop that it was made in.
    """

    async def all_of_them() -> list[Any]:
        waiting = [result for result in results if inspect.isawaitable(result)]
        done = iter(await asyncio.gather(*map(attempt_awaiting, waiting)))
        return [next(done) if inspect.isawaitable(result) else result for result in results]

    return asyncio.run_coroutine_threadsafe(all_of_them(), _event_loop()).result()


@cache
def _event_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="reward functions", daemon=True).start()
    return loop


def details_of(value: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details of a score: numbers as metrics, other facts as they are."""
    kept = {f"{n}_" if n in RESERVED else n: plain(fact) for n, fact in facts.items()}
    numbers = {n: float(v) for n, v in kept.items() if isinstance(v, bool | int | float)}
    detail = {name: fact for name, fact in kept.items() if name not in numbers}
    if numbers:
        detail["metrics"] = numbers
    if value is None:
        detail["not_applicable"] = True
    return detail


def plain(value: Any) -> Any:
    """Return a value as JSON has it; what JSON has no word for as a line of text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Turn):
        value = structs.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    number = attempt(partial(float, value)) if isinstance(value, SupportsFloat) else None
    if isinstance(number, float) and math.isfinite(number):
        return number
    return one_line(repr(value), MAX_FACT_CHARS)
