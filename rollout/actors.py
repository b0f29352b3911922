"""Calls on the actors of a run: every wait is bounded, and a failure says who and why."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray

CAUSE_GRACE_S = 3.0
"""How long the members of a group are looked at for the one that died, once one of them raises: a
rank whose peer is gone raises about a closed connection, often before Ray knows of the death."""

GONE = (
    ray.exceptions.RayActorError,
    ray.exceptions.WorkerCrashedError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.GetTimeoutError,
    ray.exceptions.ActorPlacementGroupRemoved,
    ray.exceptions.ActorUnschedulableError,
)
"""What Ray raises where a process or its node is gone or does not answer."""

PEER_LOST = re.compile(
    r"Connection (closed|reset) by peer|Timed out waiting|Watchdog caught collective|NCCL .*abort"
)
"""What torch.distributed says on a rank whose peer is gone or hangs."""


DIED = " died: "


class LostActorError(RuntimeError):
    """A process of the run died or gives no answer: no fault of data, settings or code.

    The same command may well succeed, so a run may start again by itself after it.
    """


class Failure(NamedTuple):
    """Why a call on an actor gave no result."""

    reason: str
    """Without the member's name."""
    is_lost: bool
    """The process is gone or silent; otherwise the call raised."""


class Wait(NamedTuple):
    """An answer that this process waits for."""

    since: float
    """Monotonic seconds."""
    member: str
    """Who is to answer."""
    call: str


_open_waits: dict[int, Callable[[], list[Wait]]] = {}


@contextmanager
def waiting(state: Callable[[], list[Wait]]) -> Iterator[None]:
    """Let others know for what this thread waits; `state` is called in theirs."""
    _open_waits[id(state)] = state
    try:
        yield
    finally:
        del _open_waits[id(state)]


def waits() -> list[Wait]:
    """Return all answers that this process waits for, the oldest first."""
    return sorted(wait for state in list(_open_waits.values()) for wait in state())


def failure_of(error: ray.exceptions.RayError) -> Failure:
    """Return why a call failed, without the tracebacks that Ray puts around it."""
    cause: BaseException = error
    # An actor that called another one passes that one's failure on, wrapped once more.
    while isinstance(cause, ray.exceptions.RayTaskError):
        cause = cause.cause
    text = " ".join(str(cause).split())
    if cause is not error:
        is_lost = isinstance(cause, (*GONE, LostActorError)) or bool(PEER_LOST.search(text))
        return Failure(f": {type(cause).__name__}: {text}", is_lost)
    if isinstance(error, ray.exceptions.RayActorError):
        if error.actor_init_failed:
            return Failure(f" did not come up: {str(error).splitlines()[-1]}", False)
        # What follows is the same for every death.
        return Failure(f"{DIED}{text.partition(' Some common causes')[0]}", True)
    return Failure(f": {type(error).__name__}: {text}", isinstance(error, GONE))


def silence(timeout_s: float) -> Failure:
    """Return the failure of an actor that gives no answer."""
    return Failure(f" gave no answer in {timeout_s:g} s", True)


def gather(
    calls: Mapping[int, Any], timeout_s: float, what: str = "a call", member: str = "engine"
) -> tuple[dict[int, Any], dict[int, Failure]]:
    """Wait for calls on several actors, each of which may fail by itself.

    Args:
        calls: number of the actor -> its call.
        timeout_s: longest wait for all of them together.
        what: name of the call.
        member: what messages call an actor.

    Returns:
        The results and the failures, each by number.
    """
    results: dict[int, Any] = {}
    failures: dict[int, Failure] = {}
    done: list[Any] = []
    start = time.monotonic()
    if calls:
        with waiting(lambda: [Wait(start, f"{member} {number}", what) for number in calls]):
            done, _ = ray.wait(list(calls.values()), num_returns=len(calls), timeout=timeout_s)
    for number, call in calls.items():
        if call not in done:
            failures[number] = silence(timeout_s)
            continue
        try:
            results[number] = ray.get(call, timeout=timeout_s)
        except ray.exceptions.RayError as error:
            failures[number] = failure_of(error)
    return results, failures


def wait_for_all(
    calls: Sequence[Any],
    what: str,
    member: str,
    timeout_s: float,
    failure: type[Exception],
    lost: type[Exception] | None = None,
) -> list[Any]:
    """Return the results of one call on each member of a group; the first to fail is reported.

    Args:
        calls: one a member, in the order of their numbers.
        member: what the messages call a member.
        timeout_s: longest time in which not one answers.
        failure: raised if a call raised.
        lost: raised if a member died or gives no answer; by default `failure`.
    """
    lost = lost or failure
    pending = list(calls)
    start = time.monotonic()

    def state() -> list[Wait]:
        return [Wait(start, f"{member} {n}", what) for n, c in enumerate(calls) if c in pending]

    while pending:
        with waiting(state):
            done, pending = ray.wait(pending, timeout=timeout_s)
        if not done:
            silent = [number for number, call in enumerate(calls) if call in pending]
            raise lost(f"{what}: no answer from {member}s {silent} in {timeout_s:g} s")
        for call in done:
            try:
                ray.get(call, timeout=timeout_s)
            except ray.exceptions.RayError as error:
                number, cause = _cause(calls, calls.index(call), failure_of(error))
                kind = lost if cause.is_lost else failure
                raise kind(f"{what}: {member} {number}{cause.reason}") from error
    return ray.get(list(calls), timeout=timeout_s)


def _cause(calls: Sequence[Any], number: int, failure: Failure) -> tuple[int, Failure]:
    """Return the member that died, if one did; otherwise the one that failed first."""
    others = {other: call for other, call in enumerate(calls) if other != number}
    if DIED in failure.reason or not others:
        return number, failure
    _, failures = gather(others, CAUSE_GRACE_S)
    dead = [(other, cause) for other, cause in failures.items() if DIED in cause.reason]
    return dead[0] if dead else (number, failure)


def with_environment(options: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return Ray actor options with environment variables added; those in `options` win."""
    runtime = dict(options.get("runtime_env", {}))
    runtime["env_vars"] = {**variables, **runtime.get("env_vars", {})}
    return {**options, "runtime_env": runtime}
