"""Reward terms on Ray workers: groups are scored while others are still being generated.

A reward that raises, hangs, dies or returns something that is no score costs its group this term
and nothing else, unless the term says `on_error: stop`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from configs.schema import RewardTermConfig
from data.records import Group, RewardTerms
from rewards.base import RewardError, Scores, load_reward, reads_features, reward_class
from rewards.base import validate_scores as validated

WORKER_CPUS = 0.01
"""Ray CPUs that one worker books: it mostly waits, and must not keep the engines from theirs."""

MAX_RESTARTS = 6
"""Workers of one term that are replaced after a hang or a crash before the run gives up on it."""

MAX_TRIES = 2
"""Times that a group is given to a worker: one that died may have taken a finished result along."""

MAX_MESSAGE_CHARS = 300
"""Longest reason that is kept for a failure."""

logger = logging.getLogger(__name__)


class RewardWorker:
    """One instance of a reward class in its own process; the pool wraps it with `ray.remote`."""

    def __init__(self, term: str, target: str, timeout_s: float) -> None:
        """Keep what the worker is for; `load` builds the reward.

        Args:
            term: Name of the term.
            target: "module:Name" of its class.
            timeout_s: Limit in seconds for fetching a clip's features.
        """
        self._term = term
        self._target = target
        self._timeout_s = timeout_s

    def load(self, options: Mapping[str, Any], packages: Sequence[str]) -> None:
        """Build the reward.

        Raises:
            RewardError: As `rewards.base.load_reward`; besides, whatever the constructor raises.
        """
        self._reward = load_reward(self._target, options, packages)

    def score(self, group: Group) -> Scores:
        """Return the checked scores of one group.

        Args:
            group: Its `prompt.features` may be an object reference, which is resolved here.

        Raises:
            RewardError: As `rewards.base.validate_scores`; besides, whatever the reward raises.
        """
        if isinstance(group.prompt.features, ray.ObjectRef):
            features = ray.get(group.prompt.features, timeout=self._timeout_s)
            group = replace(group, prompt=replace(group.prompt, features=features))
        return validated(self._term, group, self._reward.score(group))


@dataclass(eq=False)
class _Call:
    """One group at one worker."""

    worker: _Worker
    index: int
    """Which group, counted in order of arrival."""
    group: Group
    tries: int
    """Times that it was submitted."""
    started: float | None
    """Monotonic time when the worker had a thread for it at the latest; None = still queued."""

    def deadline(self) -> float:
        started = time.monotonic() if self.started is None else self.started
        return started + self.worker.term.timeout_s


@dataclass(eq=False)
class _Worker:
    """The driver's view of a worker."""

    term: RewardTermConfig
    needs_features: bool
    options: Mapping[str, Any]
    """Ray options of its place."""
    actor: Any
    calls: dict[Any, _Call] = field(default_factory=dict)
    """Calls that are not harvested, in the order in which they were submitted."""

    def submit(self, index: int, group: Group, tries: int = 1) -> Any:
        bare = group if self.needs_features else _without_features(group)
        ref = self.actor.score.remote(bare)
        running = sum(call.started is not None for call in self.calls.values())
        started = time.monotonic() if running < self.term.concurrency else None
        self.calls[ref] = _Call(self, index, group, tries, started)
        return ref

    def finish(self, ref: Any) -> _Call:
        """Forget a call and note that the next one in the queue has its thread."""
        call = self.calls.pop(ref)
        waiting = next((c for c in self.calls.values() if c.started is None), None)
        if waiting is not None:
            waiting.started = time.monotonic()
        return call


@dataclass
class _Batch:
    """What one `score` call has under way."""

    computed: frozenset[str]
    """Terms that are scored."""
    names: tuple[str, ...]
    """All terms."""
    groups: dict[int, Group] = field(default_factory=dict)
    scores: dict[int, dict[str, Scores]] = field(default_factory=dict)
    calls: dict[Any, _Call] = field(default_factory=dict)

    def finished(self) -> Iterator[tuple[Group, RewardTerms]]:
        """Yield and forget the groups that every computed term has scored."""
        done = [i for i, scores in self.scores.items() if len(scores) == len(self.computed)]
        for index in done:
            group, scores = self.groups.pop(index), self.scores.pop(index)
            by_term = {name: scores.get(name) or _unscored(group) for name in self.names}
            yield (
                group,
                RewardTerms(
                    values={name: found.values for name, found in by_term.items()},
                    details={name: found.details for name, found in by_term.items()},
                ),
            )


class RewardPool:
    """Workers for every reward term of a run."""

    def __init__(
        self,
        terms: Sequence[RewardTermConfig],
        packages: Sequence[str],
        start_timeout_s: float = 300.0,
        places: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        """Check every target here, then start the workers in the background.

        Args:
            terms: One per reward term, with unique names.
            packages: The config's `rewards.packages`: where rewards may be loaded from.
            start_timeout_s: Limit in seconds for all workers together to come up.
            places: Name of a term -> Ray options of each of its workers, where they have reserved
                GPUs; the others go where Ray has room.

        Raises:
            RewardError: A target is refused, as in `rewards.base.reward_class`.
        """
        features = {t.name: reads_features(reward_class(t.target, packages)) for t in terms}
        self._packages = list(packages)
        self._start_timeout_s = start_timeout_s
        self._terms = {term.name: term for term in terms}
        self._num_restarts = dict.fromkeys(self._terms, 0)
        self._warned: set[str] = set()
        self._workers = {
            term.name: [
                _Worker(term, features[term.name], options, _start(term, options))
                for options in (places or {}).get(term.name, [{}] * term.workers)
            ]
            for term in terms
        }
        self._starting = {
            self._load(worker): worker for workers in self._workers.values() for worker in workers
        }

    def _load(self, worker: _Worker) -> Any:
        return worker.actor.load.remote(dict(worker.term.options), self._packages)

    def ping(self) -> None:
        """Wait until every worker has built its reward.

        Raises:
            RewardError: A constructor raised, a worker died, or the start took too long; the term
                and its target are named.
        """
        deadline = time.monotonic() + self._start_timeout_s
        while self._starting:
            ref, worker = next(iter(self._starting.items()))
            try:
                ray.get(ref, timeout=max(0.0, deadline - time.monotonic()))
            except GetTimeoutError as error:
                raise RewardError(
                    f"reward {worker.term.name!r} ({worker.term.target}): its "
                    f"{worker.term.workers} workers were not ready within "
                    f"{self._start_timeout_s:g} s"
                ) from error
            except (RayTaskError, RayActorError) as error:
                raise RewardError(
                    f"{_what(worker.term)} in its constructor: {_reason(error)}"
                ) from error
            del self._starting[ref]

    def score(
        self, groups: Iterable[Group], weights: Mapping[str, float]
    ) -> Iterator[tuple[Group, RewardTerms]]:
        """Yield each group with its raw scores, in the order in which they are complete.

        Groups are taken as they arrive and sent on at once to the least busy worker of every term
        that has a weight; what is finished is yielded between two arrivals. Leaving the iterator
        early or after an error leaves work behind: close the pool then.

        Args:
            groups: May block, as an engine's output does.
            weights: Term name -> weight, for exactly the terms of this pool; a term of weight 0 is
                not computed unless it is a `shadow` term, and its values are None.

        Raises:
            RewardError: A plug-in of a term with `on_error: stop` raised, returned something that
                is not a score, gave no result within its `timeout_s`, or its worker died; or a
                term's workers had to be replaced too often. Term, target and example are named.
        """
        assert weights.keys() == self._workers.keys(), (weights.keys(), self._workers.keys())
        self.ping()
        computed = {n for n, weight in weights.items() if weight or self._terms[n].shadow}
        batch = _Batch(frozenset(computed), tuple(weights))
        for index, group in enumerate(groups):
            self._harvest(batch, wait_s=0.0)
            batch.groups[index], batch.scores[index] = group, {}
            for name in batch.names:
                if name in computed:
                    self._submit(batch, name, index, group)
            yield from batch.finished()
        while batch.calls:
            oldest = min(call.deadline() for call in batch.calls.values())
            self._harvest(batch, wait_s=max(0.0, oldest - time.monotonic()))
            yield from batch.finished()

    def close(self) -> None:
        """End all workers; nothing can be scored afterwards."""
        for workers in self._workers.values():
            for worker in workers:
                ray.kill(worker.actor, no_restart=True)
        self._starting.clear()

    def _submit(self, batch: _Batch, name: str, index: int, group: Group) -> None:
        worker = min(self._workers[name], key=lambda worker: len(worker.calls))
        ref = worker.submit(index, group)
        batch.calls[ref] = worker.calls[ref]

    def _harvest(self, batch: _Batch, wait_s: float) -> None:
        """Take in what is ready, waiting for the first result if told to; replace hung workers."""
        if not batch.calls:
            return
        ready, _ = ray.wait(list(batch.calls), num_returns=1, timeout=wait_s)
        if ready:
            # ray.wait stops at num_returns, so ask again for all that have come in meanwhile.
            ready, _ = ray.wait(list(batch.calls), num_returns=len(batch.calls), timeout=0)
        for ref in ready:
            if ref in batch.calls:  # else its worker died, and the call was made again
                self._take(batch, ref)
        now = time.monotonic()
        overdue = [call for call in batch.calls.values() if now >= call.deadline()]
        for worker in dict.fromkeys(call.worker for call in overdue):
            hung = [call for call in overdue if call.worker is worker]
            reason = f"no result within its timeout_s of {worker.term.timeout_s:g} s"
            self._replace(batch, worker, hung, reason)

    def _take(self, batch: _Batch, ref: Any) -> None:
        """Keep the result of one call, or what its failure means."""
        worker = batch.calls[ref].worker
        try:
            scores: Any = ray.get(ref, timeout=worker.term.timeout_s)
        except RayTaskError as error:
            call = batch.calls.pop(ref)
            worker.finish(ref)
            self._give_up(batch, call, _reason(error), error)
            return
        except RayActorError as error:
            running = [call for call in worker.calls.values() if call.started is not None]
            lost = [call for call in running if call.tries >= MAX_TRIES]
            self._replace(batch, worker, lost, _reason(error), error)
            return
        call = batch.calls.pop(ref)
        worker.finish(ref)
        batch.scores[call.index][worker.term.name] = scores

    def _replace(
        self,
        batch: _Batch,
        worker: _Worker,
        lost: Sequence[_Call],
        reason: str,
        error: Exception | None = None,
    ) -> None:
        """Start a worker anew; the lost calls are given up, the others made again."""
        term = worker.term
        for call in lost:
            self._give_up(batch, call, reason, error)
        self._num_restarts[term.name] += 1
        if self._num_restarts[term.name] > MAX_RESTARTS:
            raise RewardError(
                f"{_what(term)}: workers were replaced {MAX_RESTARTS} times, the last one after: "
                f"{reason}; the reward needs to be mended"
            ) from error
        ray.kill(worker.actor, no_restart=True)
        again = [call for call in worker.calls.values() if call not in lost]
        for ref in worker.calls:
            batch.calls.pop(ref, None)
        worker.calls.clear()
        worker.actor = _start(term, worker.options)
        self._starting[self._load(worker)] = worker
        self.ping()
        for call in again:
            ref = worker.submit(call.index, call.group, call.tries + (call.started is not None))
            batch.calls[ref] = worker.calls[ref]

    def _give_up(self, batch: _Batch, call: _Call, reason: str, error: Exception | None) -> None:
        """Leave a group unscored by a term, or end the run if the term asks for it."""
        term = call.worker.term
        example = call.group.prompt.example.id
        if term.on_error == "stop":
            raise RewardError(f"{_what(term)} on example {example!r}: {reason}") from error
        # Once per kind of failure: the metrics count them all.
        if (key := f"{term.name}: {reason.partition(':')[0]}") not in self._warned:
            self._warned.add(key)
            logger.warning(
                "%s on example %r: %s; its group is left unscored by this term",
                _what(term),
                example,
                reason,
            )
        batch.scores[call.index][term.name] = _unscored(call.group, reason)


def _start(term: RewardTermConfig, place: Mapping[str, Any]) -> Any:
    """Start the actor of a worker; `load` follows."""
    options = {
        "num_cpus": WORKER_CPUS,
        "num_gpus": term.gpus,
        "max_restarts": 0,
        "max_concurrency": term.concurrency,
    }
    remote = ray.remote(RewardWorker).options(**(options | dict(place)))
    return remote.remote(term.name, term.target, term.timeout_s)


def _without_features(group: Group) -> Group:
    return replace(group, prompt=replace(group.prompt, features=None))


def _unscored(group: Group, reason: str = "") -> Scores:
    num = len(group.completions)
    return Scores((None,) * num, ({"missing": reason} if reason else {},) * num)


def _what(term: RewardTermConfig) -> str:
    return f"reward {term.name!r} ({term.target})"


def _reason(error: RayTaskError | RayActorError) -> str:
    """Return what went wrong in a worker, in one line."""
    if isinstance(error, RayActorError):
        return f"its worker died: {str(error).splitlines()[0]}"[:MAX_MESSAGE_CHARS]
    return f"{type(error.cause).__name__}: {error.cause}"[:MAX_MESSAGE_CHARS]
