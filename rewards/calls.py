"""What is under way at the reward workers, as the driver sees it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from configs.schema import RewardTermConfig
from data.records import Group, RewardTerms
from rewards.base import Scores

MAX_TRIES = 2
"""Workers that died with a group in hand, the last one with nothing else, before it is given up."""


@dataclass(eq=False)
class Call:
    """One group that a term has to score."""

    index: int
    """Which group, counted in order of arrival."""
    group: Group
    num_deaths: int = 0
    """Workers that died while this call was with them."""
    started: float | None = None
    """Monotonic time when the worker had a thread for it at the latest; None = still queued."""


@dataclass(eq=False)
class WorkerCalls:
    """A worker and its calls.

    When a worker dies, the driver cannot tell which call has killed it: one that had ended before
    may have lost its result on the way, and one further back in the queue may have been begun. So
    all of them are made again one at a time, and one that kills its worker is found alone there.
    """

    term: RewardTermConfig
    needs_features: bool
    options: Mapping[str, Any]
    """Ray options of its place."""
    actor: Any
    broken: str = ""
    """Why its reward could not be built again; empty if it could."""
    calls: dict[Any, Call] = field(default_factory=dict)
    """Object reference -> call that was submitted, in order."""
    held: deque[Call] = field(default_factory=deque)
    """Calls that wait for the one in `calls` because a worker has died."""

    def __len__(self) -> int:
        return len(self.calls) + len(self.held)

    def add(self, call: Call) -> None:
        """Submit a call, or hold it while calls are made one at a time."""
        if self.held:
            self.held.append(call)
        else:
            self._submit(call)

    def finish(self, ref: Any) -> Call:
        """Forget a call; the next one in the queue has its thread, or is submitted now."""
        call = self.calls.pop(ref)
        if self.held:
            self._submit(self.held.popleft())
            return call
        waiting = next((c for c in self.calls.values() if c.started is None), None)
        if waiting is not None:
            waiting.started = time.monotonic()
        return call

    def take_all(self) -> list[Call]:
        """Forget all calls and return them, in order."""
        calls = [*self.calls.values(), *self.held]
        self.calls.clear()
        self.held.clear()
        return calls

    def make_again(self, calls: list[Call], *, one_at_a_time: bool) -> None:
        """Submit calls of a worker that is gone to its successor."""
        if one_at_a_time:
            self.held.extend(calls[1:])
            calls = calls[:1]
        for call in calls:
            self._submit(call)

    def deadline(self, call: Call) -> float:
        """Return the monotonic time at which a call is taken for hung."""
        started = time.monotonic() if call.started is None else call.started
        return started + self.term.timeout_s

    def _submit(self, call: Call) -> None:
        # Sent are at most the features of the row's clip.
        prompt = call.group.prompt
        features = prompt.features if self.needs_features else None
        group = replace(call.group, prompt=replace(prompt, features=features, beside=()))
        running = sum(other.started is not None for other in self.calls.values())
        call.started = time.monotonic() if running < self.term.concurrency else None
        self.calls[self.actor.score.remote(group)] = call


@dataclass
class Batch:
    """The groups of one `RewardPool.score`."""

    computed: frozenset[str]
    """Terms that are scored."""
    names: tuple[str, ...]
    """All terms."""
    groups: dict[int, Group] = field(default_factory=dict)
    scores: dict[int, dict[str, Scores]] = field(default_factory=dict)

    def finished(self) -> Iterator[tuple[Group, RewardTerms]]:
        """Yield and forget the groups that every computed term has scored."""
        done = [i for i, scores in self.scores.items() if len(scores) == len(self.computed)]
        for index in done:
            group, scores = self.groups.pop(index), self.scores.pop(index)
            by_term = {name: scores.get(name) or unscored(group) for name in self.names}
            yield (
                group,
                RewardTerms(
                    values={name: result.values for name, result in by_term.items()},
                    details={name: result.details for name, result in by_term.items()},
                ),
            )


def unscored(group: Group, reason: str = "") -> Scores:
    """Return the scores of a group that a term has not scored, with the reason in its details."""
    num = len(group.completions)
    return Scores((None,) * num, ({"missing": reason} if reason else {},) * num)
