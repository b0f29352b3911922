"""Reward terms on Ray workers: groups are scored while others are still being generated.

A reward that raises anything, hangs, dies or returns something that is no score costs its group
this term and nothing else, unless the term says `on_error: stop`. Nothing of a plug-in but numbers,
JSON and one line of text leaves its process.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from configs.schema import RewardTermConfig
from configs.secrets import HidingStream, hide_variables_of
from data.records import Group, RewardTerms
from rewards.base import (
    RewardError,
    Scores,
    limits_of,
    load_reward,
    reads_features,
    reward_class,
    scores_moved,
)
from rewards.base import validate_scores as validated
from rewards.calls import MAX_TRIES, Batch, Call, WorkerCalls, unscored
from rewards.foreign import Failure, attempt, describe, one_line

WORKER_CPUS = 0.01
"""Ray CPUs that one worker books: it mostly waits, and must not keep the engines from theirs."""

MAX_RESTARTS = 6
"""Workers of one term that are replaced in a row, after hangs, crashes or failed constructors and
with no answer in between, before the run gives up on it."""

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

    def load(self, options: Mapping[str, Any], packages: Sequence[str]) -> Failure | None:
        """Build the reward; return what its class raised, if it did.

        From now on, keys that its options name stay out of what this process prints, too.
        """
        hide_variables_of(options)
        sys.stdout, sys.stderr = HidingStream(sys.stdout), HidingStream(sys.stderr)
        reward = attempt(partial(load_reward, self._target, options, packages))
        if isinstance(reward, Failure):
            return reward
        self._reward = reward
        return None

    def score(self, group: Group) -> Scores | Failure:
        """Return the checked scores of one group, or what the reward or the check raised.

        Args:
            group: Its `prompt.features` may be an object reference, which is resolved here.
        """
        return attempt(partial(self._score, group))

    def _score(self, group: Group) -> Scores:
        if isinstance(group.prompt.features, ray.ObjectRef):
            features = ray.get(group.prompt.features, timeout=self._timeout_s)
            group = replace(group, prompt=replace(group.prompt, features=features))
        return validated(self._term, group, self._reward.score(group), limits_of(self._reward))


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
        kinds = {term.name: reward_class(term.target, packages) for term in terms}
        self._scores_moved = {name for name, kind in kinds.items() if scores_moved(kind)}
        self._packages = list(packages)
        self._start_timeout_s = start_timeout_s
        self._terms = {term.name: term for term in terms}
        self._num_restarts = dict.fromkeys(self._terms, 0)
        self._warned: set[str] = set()
        self._closed = False
        self._workers = {
            term.name: [
                WorkerCalls(term, reads_features(kinds[term.name]), options, _start(term, options))
                for options in (places or {}).get(term.name, [{}] * term.workers)
            ]
            for term in terms
        }
        self._starting = {self._load(worker): worker for worker in self._all_workers()}

    def _all_workers(self) -> list[WorkerCalls]:
        return [worker for workers in self._workers.values() for worker in workers]

    def _load(self, worker: WorkerCalls) -> Any:
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
            self._await_built(worker, ref, deadline)
            del self._starting[ref]
            if worker.broken:
                raise RewardError(f"{_what(worker.term)} in its constructor: {worker.broken}")

    def _await_built(self, worker: WorkerCalls, ref: Any, deadline: float) -> None:
        """Wait for a worker's `load` and note what came of it."""
        late = f"not ready within {self._start_timeout_s:g} s"
        built = _result(ref, max(0.0, deadline - time.monotonic()), late)
        worker.broken = built.reason if isinstance(built, Failure) else ""

    def score(
        self, groups: Iterable[Group], weights: Mapping[str, float]
    ) -> Iterator[tuple[Group, RewardTerms]]:
        """Yield each group with its raw scores, in the order in which they are complete.

        Groups are taken as they arrive and sent on at once to the least busy worker of every term
        that has a weight, but for those terms that have nothing to say of a moved clip; what is
        finished is yielded between two arrivals. Leaving the iterator early or after an error
        leaves work behind: close the pool then.

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
        for worker in self._all_workers():
            if worker.broken:
                self._restart(worker, worker.broken)
        computed = {n for n, weight in weights.items() if weight or self._terms[n].shadow}
        batch = Batch(frozenset(computed), tuple(weights))
        for index, group in enumerate(groups):
            self._harvest(batch, wait_s=0.0)
            batch.groups[index], batch.scores[index] = group, {}
            for name in batch.names:
                if name in computed and group.prompt.is_moved and name not in self._scores_moved:
                    batch.scores[index][name] = Scores.not_applicable(len(group.completions))
                elif name in computed:
                    self._submit(batch, name, Call(index, group))
            yield from batch.finished()
        while workers := [worker for worker in self._all_workers() if worker.calls]:
            deadlines = [w.deadline(call) for w in workers for call in w.calls.values()]
            self._harvest(batch, wait_s=max(0.0, min(deadlines) - time.monotonic()))
            yield from batch.finished()

    def close(self) -> None:
        """End all workers; whoever scores meanwhile gets an error."""
        self._closed = True
        for worker in self._all_workers():
            ray.kill(worker.actor, no_restart=True)
        self._starting.clear()

    def _submit(self, batch: Batch, name: str, call: Call) -> None:
        """Give a call to the least busy worker of a term that can score at all."""
        worker = min(self._workers[name], key=lambda worker: (bool(worker.broken), len(worker)))
        if worker.broken:
            self._give_up(batch, worker, call, worker.broken)
        else:
            worker.add(call)

    def _harvest(self, batch: Batch, wait_s: float) -> None:
        """Take in what is ready, waiting for the first result if told to; replace hung workers."""
        workers = {ref: worker for worker in self._all_workers() for ref in worker.calls}
        if not workers:
            return
        # Wherever a result lies: one that has yet to be fetched is not overdue.
        ready, _ = ray.wait(list(workers), num_returns=1, timeout=wait_s, fetch_local=False)
        if ready:
            # ray.wait stops at num_returns, so ask again for all that have come in meanwhile.
            everything = len(workers)
            ready, _ = ray.wait(list(workers), num_returns=everything, timeout=0, fetch_local=False)
        for ref in ready:
            if ref in workers[ref].calls:  # else its worker died, and the call was made again
                self._take(batch, workers[ref], ref)
        now = time.monotonic()
        for worker in self._all_workers():
            hung = [call for call in worker.calls.values() if now >= worker.deadline(call)]
            if hung:
                reason = f"no result within its timeout_s of {worker.term.timeout_s:g} s"
                self._replace(batch, worker, hung, reason)

    def _take(self, batch: Batch, worker: WorkerCalls, ref: Any) -> None:
        """Keep the result of one call, or what its failure means."""
        term = worker.term
        result = _result(ref, term.timeout_s, f"its result did not come in {term.timeout_s:g} s")
        if isinstance(result, Failure) and result.died:
            for call in worker.calls.values():
                call.num_deaths += 1
            suspects = list(worker.calls.values())
            has_culprit = len(suspects) == 1 and suspects[0].num_deaths >= MAX_TRIES
            self._replace(
                batch, worker, suspects if has_culprit else [], result.reason, one_at_a_time=True
            )
            return
        self._num_restarts[term.name] = 0
        call = worker.finish(ref)
        if isinstance(result, Failure):
            self._give_up(batch, worker, call, result.reason)
        else:
            batch.scores[call.index][term.name] = result

    def _replace(
        self,
        batch: Batch,
        worker: WorkerCalls,
        lost: Sequence[Call],
        reason: str,
        *,
        one_at_a_time: bool = False,
    ) -> None:
        """Start a worker anew; the lost calls are given up, the others made again."""
        for call in lost:
            self._give_up(batch, worker, call, reason)
        again = [call for call in worker.take_all() if call not in lost]
        self._restart(worker, reason)
        if worker.broken:
            for call in again:
                self._submit(batch, worker.term.name, call)
        else:
            worker.make_again(again, one_at_a_time=one_at_a_time)

    def _restart(self, worker: WorkerCalls, reason: str) -> None:
        """Replace a worker's process; afterwards the worker is `broken` or can score again."""
        if self._closed:
            raise RewardError("the reward workers have ended")
        term = worker.term
        self._num_restarts[term.name] += 1
        if self._num_restarts[term.name] > MAX_RESTARTS:
            raise RewardError(
                f"{_what(term)}: workers were replaced {MAX_RESTARTS} times in a row, the last one "
                f"after: {reason}; the reward needs to be mended"
            )
        ray.kill(worker.actor, no_restart=True)
        worker.actor = _start(term, worker.options)
        self._await_built(worker, self._load(worker), time.monotonic() + self._start_timeout_s)
        if worker.broken:
            worker.broken = f"in its constructor: {worker.broken}"

    def _give_up(self, batch: Batch, worker: WorkerCalls, call: Call, reason: str) -> None:
        """Leave a group unscored by a term, or end the run if the term asks for it."""
        term = worker.term
        example = call.group.prompt.example.id
        if term.on_error == "stop":
            raise RewardError(f"{_what(term)} on example {example!r}: {reason}")
        # Once per kind of failure: the metrics count them all.
        if (key := f"{term.name}: {reason.partition(':')[0]}") not in self._warned:
            self._warned.add(key)
            logger.warning(
                "%s on example %r: %s; its group is left unscored by this term",
                _what(term),
                example,
                reason,
            )
        batch.scores[call.index][term.name] = unscored(call.group, reason)


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


def _what(term: RewardTermConfig) -> str:
    return f"reward {term.name!r} ({term.target})"


def _result(ref: Any, timeout_s: float, late: str) -> Any:
    """Return what a worker answered, or a `Failure` that says what became of the call or `late`."""
    try:
        return ray.get(ref, timeout=timeout_s)
    except GetTimeoutError:
        return Failure(late, died=True)
    except RayTaskError as error:
        return Failure(describe(error.cause))
    except RayError as error:
        return Failure(f"its worker died: {one_line(str(error).splitlines()[0])}", died=True)
