"""Engines that fail while they sample: who is at fault, what is sampled again, and how often."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

import ray

from data.records import Completion
from rollout.actors import Failure, LostActorError, Wait, failure_of, silence, waiting
from rollout.engine import Refusal, RolloutError
from rollout.plan import Part

logger = logging.getLogger(__name__)

REFILL_STEPS = 20
"""Steps in a row without a lost engine after which a run may replace as many as at its start."""

GATHER_S = 1.0
"""How long others are waited for once an engine fails: engines of one node go down together, and
those that are replaced together take the time of one."""

MAX_DEATHS = 3
"""Engines that a prompt may see die, at last alone, before it counts as the cause."""


class EngineLostError(RolloutError, LostActorError):
    """Engines died or hung more often than a run may replace them."""


class RestartBudget:
    """Engines that may still be replaced.

    Args:
        limit: see `rollout.max_engine_restarts`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._spent = 0
        self._good_steps = 0

    def spend(self, reasons: Sequence[str]) -> None:
        """Take as much as there are reasons.

        Raises:
            EngineLostError: it is not there; the message has the reasons.
        """
        if not reasons:
            return
        self._spent += len(reasons)
        self._good_steps = 0
        if self._spent > self._limit:
            raise EngineLostError(
                f"{'; '.join(reasons)}. That makes {self._spent} engine failures, and "
                f"rollout.max_engine_restarts is {self._limit}"
            )

    def end_step(self) -> None:
        """Count a step; enough of them without a failure refill the budget."""
        self._good_steps += 1
        if self._good_steps >= REFILL_STEPS:
            self._spent = 0


class Engines(Protocol):
    """What `Sampling` needs of the pool."""

    actors: list[Any]
    replacing: AbstractContextManager[Any]
    """Engines are not replaced by anybody else meanwhile."""

    def replace(self, failures: Mapping[int, Failure]) -> None:
        """Put other engines, with the current weights, in the place of those that failed."""
        ...


@dataclass
class _Stream:
    """What one engine samples, and what of it is still to come."""

    number: int
    """Of the engine."""
    actor: Any
    """The engine itself; another may have its number by now."""
    parts: list[Part]
    alone: bool
    """One prompt that may be at fault, by itself."""
    seen: float
    """When the engine last gave a sign, monotonic seconds."""
    unfinished: set[int] = field(init=False)

    def __post_init__(self) -> None:
        self.unfinished = set(range(len(self.parts)))


@dataclass
class _Incident:
    """A call that raised: the fault of its engine unless one of its prompts raises again, alone."""

    reason: str
    open: set[Part]
    """Not yet tried alone."""


class Sampling:
    """The requests of one call on all engines, until each is answered or left out.

    The engines begin when it is made, one call after another; `run` looks after them.

    An engine that dies or is silent is replaced, and what it has not finished is sampled again with
    the same seeds, first together, after a second death one by one. A prompt whose sampling raises
    is tried once more by itself, on another engine where there is one; raises that too, the prompt
    is left out, and no engine is to blame.

    Args:
        engines: the pool.
        budget: what failures of engines are charged to.
        open_stream: (actor, its parts) -> stream of lists of (position, result).
        leave_out: told the position of a prompt that is left out, and why.
        shares: parts of each engine.
        timeout_s: longest silence of an engine at work.
    """

    def __init__(
        self,
        engines: Engines,
        budget: RestartBudget,
        open_stream: Callable[[Any, list[Part]], Any],
        leave_out: Callable[[int, str], None],
        shares: Sequence[list[Part]],
        timeout_s: float,
    ) -> None:
        self._left_out: set[int] = set()
        self._engines = engines
        self._budget = budget
        self._open_stream = open_stream
        self._tell_left_out = leave_out
        self._timeout_s = timeout_s
        self._streams: dict[Any, _Stream] = {}
        self._failed: list[tuple[_Stream, Failure]] = []
        self._recover_at = 0.0
        self._suspects: list[tuple[Part, int]] = []
        """Parts to be tried alone, with the engine that they failed on."""
        self._deaths: Counter[Part] = Counter()
        self._incidents: dict[Part, _Incident] = {}
        for number, parts in enumerate(shares):
            if parts:
                self._open(number, parts)

    def run(self) -> Iterator[tuple[int, Part, tuple[Completion, ...]]]:
        """Yield (engine, part, its completions) as they come.

        Raises:
            EngineLostError: the budget is spent.
        """
        for stream in self._streams.values():
            # Till now it may have waited for the call before.
            stream.seen = time.monotonic()
        while self._streams or self._suspects or self._failed:
            self._try_suspects()
            for ref in self._ready():
                stream = self._streams[ref]
                for position, result in self._read(ref, stream):
                    part = stream.parts[position]
                    if position not in stream.unfinished:
                        continue
                    stream.unfinished.discard(position)
                    if isinstance(result, Refusal):
                        self._blame(part, stream, result.reason)
                        continue
                    self._acquit(part)
                    start = time.monotonic()
                    yield stream.number, part, result
                    self._shift(time.monotonic() - start)
            if self._failed and (time.monotonic() >= self._recover_at or not self._streams):
                self._recover()

    def _open(self, number: int, parts: list[Part], *, alone: bool = False) -> None:
        actor = self._engines.actors[number]
        ref = self._open_stream(actor, parts)
        self._streams[ref] = _Stream(number, actor, parts, alone, time.monotonic())

    def _shift(self, seconds: float) -> None:
        """Leave out a time in which nobody looked: signs of it are still to be read."""
        for stream in self._streams.values():
            stream.seen += seconds

    def _ready(self) -> list[Any]:
        """Wait for signs of engines, and note those that have been silent for too long."""
        if not self._streams:
            return []
        now = time.monotonic()
        until = min(stream.seen for stream in self._streams.values()) + self._timeout_s
        if self._failed:
            until = min(until, self._recover_at)
        streams = list(self._streams)
        with waiting(self._waits):
            ray.wait(streams, timeout=max(0.0, until - now), fetch_local=False)
        ready, rest = ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        for ref in rest:
            if time.monotonic() - self._streams[ref].seen >= self._timeout_s:
                self._fail(ref, silence(self._timeout_s))
        return ready

    def _waits(self) -> list[Wait]:
        return [Wait(s.seen, f"engine {s.number}", "stream") for s in list(self._streams.values())]

    def _read(self, ref: Any, stream: _Stream) -> list[tuple[int, Any]]:
        """Return what an engine has finished; nothing if it has ended or failed."""
        try:
            items = ray.get(next(ref), timeout=self._timeout_s)
        except StopIteration:
            if stream.unfinished:
                self._fail(ref, Failure(": ended before all prompts were done", False))
            else:
                del self._streams[ref]
            return []
        except ray.exceptions.RayError as error:
            self._fail(ref, failure_of(error))
            return []
        stream.seen = time.monotonic()
        return items

    def _fail(self, ref: Any, failure: Failure) -> None:
        if not self._failed:
            self._recover_at = time.monotonic() + GATHER_S
        self._failed.append((self._streams.pop(ref), failure))

    def _recover(self) -> None:
        """Replace the engines that failed, and sample again what they have not finished."""
        failed, self._failed = self._failed, []
        start = time.monotonic()
        with self._engines.replacing:
            in_service = [
                (s, failure) for s, failure in failed if self._engines.actors[s.number] is s.actor
            ]
            lost = [f"engine {s.number}{f.reason}" for s, f in in_service if f.is_lost]
            self._budget.spend(lost)
            self._engines.replace({stream.number: failure for stream, failure in in_service})
        taken_s = time.monotonic() - start
        self._shift(taken_s)
        num_again = sum(len(stream.unfinished) for stream, _ in failed)
        logger.info(
            f"engines {sorted(stream.number for stream, _ in failed)} serve the current weights "
            f"after {taken_s:.1f} s; {num_again} prompts are sampled again"
        )
        for stream, failure in failed:
            rest = [stream.parts[position] for position in sorted(stream.unfinished)]
            if (stream, failure) not in in_service:
                # It went with what it was asked for before, and was replaced then.
                self._open(stream.number, rest)
                continue
            if failure.is_lost:
                self._sample_again(stream.number, rest)
                continue
            reason = f"engine {stream.number}{failure.reason}"
            incident = _Incident(reason, set(rest))
            for part in rest:
                if not stream.alone:
                    self._incidents[part] = incident
                self._blame(part, stream, reason)

    def _sample_again(self, number: int, parts: list[Part]) -> None:
        self._deaths.update(parts)
        together = [part for part in parts if self._deaths[part] == 1]
        if together:
            self._open(number, together)
        for part in parts:
            if self._deaths[part] >= MAX_DEATHS:
                self._leave_out(part, f"{MAX_DEATHS} engines died at it, the last at it alone")
            elif self._deaths[part] > 1:
                self._suspects.append((part, number))

    def _blame(self, part: Part, stream: _Stream, reason: str) -> None:
        """Try a part by itself; leave it out if it was."""
        if part.position in self._left_out:
            return
        if stream.alone:
            self._leave_out(part, reason)
        else:
            self._suspects.append((part, stream.number))

    def _leave_out(self, part: Part, reason: str) -> None:
        self._left_out.add(part.position)
        self._incidents.pop(part, None)  # whatever raised before, it was this prompt
        self._suspects = [s for s in self._suspects if s[0].position != part.position]
        self._tell_left_out(part.position, reason)

    def _acquit(self, part: Part) -> None:
        """Charge the engine whose call raised once all its prompts have gone through elsewhere."""
        incident = self._incidents.pop(part, None)
        if incident is not None:
            incident.open.discard(part)
            if not incident.open:
                self._budget.spend([incident.reason])

    def _try_suspects(self) -> None:
        """Give each idle engine one part that may be at fault."""
        busy = {stream.number for stream in self._streams.values()}
        busy |= {stream.number for stream, _ in self._failed}
        idle = set(range(len(self._engines.actors))) - busy
        waiting = []
        for part, number in self._suspects:
            fit = idle - {number} if len(self._engines.actors) > 1 else idle
            if not fit:
                waiting.append((part, number))
                continue
            chosen = min(fit)
            idle.discard(chosen)
            self._open(chosen, [part], alone=True)
        self._suspects = waiting
