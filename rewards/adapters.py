"""Reward functions that were written for other trainers, run as they are.

`VerlReward` calls a verl `compute_score`, `TrlReward` a TRL reward function, `SwiftReward` an
ms-swift ORM. What they return is taken as it is, whatever its size; only None means "not scored".
"""

from __future__ import annotations

import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from data.records import Group
from rewards.base import RewardError, Scores, find_class
from rewards.foreign import accepted
from rewards.foreign_reward import (
    COLUMNS,
    FIELDS,
    NOTHING,
    ForeignReward,
    details_of,
    has_call,
)


class VerlReward(ForeignReward):
    """A verl `compute_score(data_source, solution_str, ground_truth, extra_info)`, row by row.

    It returns a number, or a dict whose `score` (`reward` in older versions) is the number and
    whose other fields are written down: numbers as metrics, the rest in the sample files.

    Source: verl's documentation, "Implement Reward Function for Dataset", and the reward managers
    of its repository. `extra_info` has the fields of the row and `num_tokens`.
    """

    @classmethod
    def given(cls, columns: Mapping[str, str], arguments: Mapping[str, Any]) -> list[str]:
        """Return verl's four names and the further arguments."""
        return ["data_source", "solution_str", "ground_truth", "extra_info", *arguments]

    def score(self, group: Group) -> Scores:
        """Return G scores; details: what the function said besides."""
        row = self._row(group)
        calls = [
            partial(
                self._function,
                **accepted(
                    self._function,
                    {
                        "data_source": row["dataset"] or "",
                        "solution_str": completion.text,
                        "ground_truth": row["ground_truth"],
                        "extra_info": row | {"num_tokens": len(completion.token_ids)},
                        **self._arguments,
                    },
                ),
            )
            for completion in group.completions
        ]
        values: list[Any] = []
        details: list[Mapping[str, Any]] = []
        for i, result in enumerate(self._results(group, calls, "completion {}")):
            value, facts = result, NOTHING
            if isinstance(result, Mapping):
                key = "score" if "score" in result else "reward"
                if key not in result:
                    raise RewardError(
                        f"{self._name} on completion {i} of example {group.prompt.example.id!r}: "
                        f"returned a dict without 'score', with {sorted(map(str, result))}"
                    )
                value = result[key]
                facts = {str(name): fact for name, fact in result.items() if name != key}
            self._check(group, i, value)
            values.append(value)
            details.append(details_of(value, facts))
        return Scores(tuple(values), tuple(details))


class TrlReward(ForeignReward):
    """A TRL reward function `f(prompts, completions, **columns) -> list[float | None]`.

    Source: TRL's documentation, "GRPO Trainer", "Using a custom reward function". It is given
    prompts, completions and their tokens, every field of the row as a column, `trainer_state`,
    `log_extra` and `log_metric`; one without `**kwargs` gets those that it names. None: the
    function does not apply to the completion.
    """

    def __init__(self, *args: Any, conversational: bool = False, **options: Any) -> None:
        """Build it as `ForeignReward`.

        Args:
            args: As there.
            conversational: Prompts and completions are lists of messages, not texts.
            options: As there.
        """
        super().__init__(*args, **options)
        self._conversational = conversational

    @classmethod
    def given(cls, columns: Mapping[str, str], arguments: Mapping[str, Any]) -> list[str]:
        """Return TRL's names, the fields of a row and the columns."""
        of_trl = "prompts completions completion_ids completions_ids trainer_state"
        loggers = "log_extra log_metric"
        return [*of_trl.split(), *loggers.split(), *FIELDS, *COLUMNS, *columns]

    def score(self, group: Group) -> Scores:
        """Return G scores or None; details: what the function logged."""
        num = len(group.completions)
        texts = [completion.text for completion in group.completions]
        ids = [completion.token_ids.tolist() for completion in group.completions]
        question = group.prompt.example.question
        extra: dict[str, list[Any]] = {}
        metrics: dict[str, Any] = {}
        offered = {name: [value] * num for name, value in self._row(group).items()} | {
            "prompts": [group.prompt.text] * num,
            "completions": texts,
            "completion_ids": ids,
            "completions_ids": ids,  # as some of TRL's versions spell it
            "trainer_state": self._state(group),
            "log_extra": lambda column, values: extra.update({str(column): list(values)}),
            "log_metric": lambda name, value: metrics.update({str(name): value}),
        }
        if self._conversational:
            offered["prompts"] = [[{"role": "user", "content": question}] for _ in range(num)]
            offered["completions"] = [[{"role": "assistant", "content": text}] for text in texts]
        call = partial(self._function, **accepted(self._function, offered))
        (result,) = self._results(group, [call], f"the {num} completions")
        values = self._list_of(group, result)
        return Scores(
            values,
            tuple(
                details_of(
                    value,
                    metrics
                    | {name: column[i] for name, column in extra.items() if i < len(column)},
                )
                for i, value in enumerate(values)
            ),
        )


class SwiftReward(ForeignReward):
    """An ms-swift ORM: a class whose objects are called with completions and columns.

    Source: ms-swift's documentation, "Reward Function". Where ms-swift is not installed, `ORM`,
    `AsyncORM` and `orms` come from a stand-in, so that a plug-in that imports and registers itself
    can be read. Completions are texts; every field of the row is a column, and `messages`.
    """

    def load(self, packages: Sequence[str]) -> Callable[..., Any]:
        """Return an object of the class."""
        stand_in_for_swift()
        kind = find_class("ms-swift ORM", self._name, packages, "__call__", RewardError)
        if not has_call(kind):
            raise RewardError(f"ms-swift ORM {self._name!r}: {kind.__name__} has no __call__")
        try:
            inspect.signature(kind).bind(**self._arguments)
        except TypeError as error:
            raise RewardError(
                f"ms-swift ORM {self._name!r}: arguments {sorted(self._arguments)} do not fit "
                f"{kind.__name__}{inspect.signature(kind)}: {error}"
            ) from error
        return kind(**self._arguments)

    @classmethod
    def given(cls, columns: Mapping[str, str], arguments: Mapping[str, Any]) -> list[str]:
        """Return ms-swift's names, the fields of a row and the columns."""
        return ["completions", "messages", "trainer_state", *FIELDS, *COLUMNS, *columns]

    def score(self, group: Group) -> Scores:
        """Return G scores or None."""
        num = len(group.completions)
        texts = [completion.text for completion in group.completions]
        question = {"role": "user", "content": group.prompt.example.question}
        offered = {name: [value] * num for name, value in self._row(group).items()} | {
            "completions": texts,
            "messages": [[question, {"role": "assistant", "content": text}] for text in texts],
            "trainer_state": self._state(group),
        }
        call = partial(self._function, **accepted(self._function, offered))
        (result,) = self._results(group, [call], f"the {num} completions")
        values = self._list_of(group, result)
        return Scores(values, tuple(details_of(value, NOTHING) for value in values))


def stand_in_for_swift() -> None:
    """Let a plug-in of ms-swift be imported where ms-swift is not installed.

    The names are those of its versions 3 (`swift.plugin`) and 4 (`swift.rewards`).
    """
    if "swift" in sys.modules or importlib.util.find_spec("swift") is not None:
        return

    class ORM:
        """Base of a reward of ms-swift."""

        def __init__(self, args: Any = None, **options: Any) -> None:
            self.args = args

    class AsyncORM(ORM):
        """Base of one whose `__call__` is a coroutine."""

    names = {"ORM": ORM, "AsyncORM": AsyncORM, "orms": {}}
    for module in (
        "swift",
        "swift.plugin",
        "swift.plugin.orm",
        "swift.rewards",
        "swift.rewards.orm",
    ):
        sys.modules[module] = ModuleType(module)
        vars(sys.modules[module]).update(names, __path__=[])
    sys.modules["swift.utils"] = ModuleType("swift.utils")
    vars(sys.modules["swift.utils"])["get_logger"] = logging.getLogger
