"""Reward terms on Ray workers: groups are scored while others are still being generated."""

from __future__ import annotations

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
class _Worker:
    """The driver's view of a worker."""

    term: RewardTermConfig
    needs_features: bool
    actor: Any
    num_pending: int = 0
    """Groups submitted and not harvested."""
    since: float = 0.0
    """Monotonic time when the group that it works on was at the head of its queue at the latest."""

    def deadline(self) -> float:
        return self.since + self.term.timeout_s


@dataclass(frozen=True)
class _Call:
    worker: _Worker
    index: int
    """Which group, counted in order of arrival."""


@dataclass
class _Batch:
    """What one `score` call has under way."""

    weights: Mapping[str, float]
    groups: dict[int, Group] = field(default_factory=dict)
    scores: dict[int, dict[str, Scores]] = field(default_factory=dict)
    calls: dict[Any, _Call] = field(default_factory=dict)


class RewardPool:
    """Workers for every reward term of a run."""

    def __init__(
        self,
        terms: Sequence[RewardTermConfig],
        packages: Sequence[str],
        start_timeout_s: float = 300.0,
    ) -> None:
        """Check every target here, then start the workers in the background.

        Args:
            terms: One per reward term, with unique names.
            packages: The config's `rewards.packages`: where rewards may be loaded from.
            start_timeout_s: Limit in seconds for all workers together to come up.

        Raises:
            RewardError: A target is refused, as in `rewards.base.reward_class`.
        """
        features = {t.name: reads_features(reward_class(t.target, packages)) for t in terms}
        remote = ray.remote(RewardWorker).options(num_cpus=WORKER_CPUS, max_restarts=0)
        self._start_timeout_s = start_timeout_s
        self._workers = {
            term.name: [
                _Worker(
                    term,
                    features[term.name],
                    remote.remote(term.name, term.target, term.timeout_s),
                )
                for _ in range(term.workers)
            ]
            for term in terms
        }
        self._starting = {
            worker.actor.load.remote(dict(worker.term.options), list(packages)): worker
            for workers in self._workers.values()
            for worker in workers
        }

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
                raise _failure(worker.term, "in its constructor", error) from error
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
                not computed, and its values are None.

        Raises:
            RewardError: A plug-in raised, returned something that is not a score, gave no result
                within its `timeout_s`, or its worker died; the term, its target and the example
                are named.
        """
        assert weights.keys() == self._workers.keys(), (weights.keys(), self._workers.keys())
        self.ping()
        batch = _Batch(weights)
        for index, group in enumerate(groups):
            _harvest(batch, wait_s=0.0)
            self._submit(batch, index, group)
            yield from _finished(batch)
        while batch.calls:
            oldest = min(call.worker.deadline() for call in batch.calls.values())
            _harvest(batch, wait_s=max(0.0, oldest - time.monotonic()))
            yield from _finished(batch)

    def close(self) -> None:
        """End all workers; nothing can be scored afterwards."""
        for workers in self._workers.values():
            for worker in workers:
                ray.kill(worker.actor, no_restart=True)
        self._starting.clear()

    def _submit(self, batch: _Batch, index: int, group: Group) -> None:
        batch.groups[index] = group
        batch.scores[index] = {}
        bare = replace(group, prompt=replace(group.prompt, features=None))
        for name, weight in batch.weights.items():
            if weight == 0:
                continue
            worker = min(self._workers[name], key=lambda worker: worker.num_pending)
            ref = worker.actor.score.remote(group if worker.needs_features else bare)
            if not worker.num_pending:
                worker.since = time.monotonic()
            worker.num_pending += 1
            batch.calls[ref] = _Call(worker, index)


def _harvest(batch: _Batch, wait_s: float) -> None:
    """Take in what is ready, waiting for the first result if told to; refuse a hung worker."""
    if not batch.calls:
        return
    ready, _ = ray.wait(list(batch.calls), num_returns=1, timeout=wait_s)
    if ready:
        # ray.wait stops at num_returns, so ask again for all that have come in meanwhile.
        ready, _ = ray.wait(list(batch.calls), num_returns=len(batch.calls), timeout=0)
    now = time.monotonic()
    for ref in ready:
        call = batch.calls.pop(ref)
        call.worker.num_pending -= 1
        call.worker.since = now
        term = call.worker.term
        where = f"on example {batch.groups[call.index].prompt.example.id!r}"
        try:
            batch.scores[call.index][term.name] = ray.get(ref, timeout=term.timeout_s)
        except (RayTaskError, RayActorError) as error:
            raise _failure(term, where, error) from error
    for call in batch.calls.values():
        if now >= call.worker.deadline():
            term = call.worker.term
            raise RewardError(
                f"reward {term.name!r} ({term.target}) on example "
                f"{batch.groups[call.index].prompt.example.id!r}: no result within its timeout_s "
                f"of {term.timeout_s:g} s"
            )


def _finished(batch: _Batch) -> Iterator[tuple[Group, RewardTerms]]:
    """Yield and forget the groups that every computed term has scored."""
    computed = [name for name, weight in batch.weights.items() if weight != 0]
    done = [index for index, scores in batch.scores.items() if len(scores) == len(computed)]
    for index in done:
        group, scores = batch.groups.pop(index), batch.scores.pop(index)
        unscored = Scores((None,) * len(group.completions), ({},) * len(group.completions))
        by_term = {name: scores.get(name, unscored) for name in batch.weights}
        yield (
            group,
            RewardTerms(
                values={name: found.values for name, found in by_term.items()},
                details={name: found.details for name, found in by_term.items()},
            ),
        )


def _failure(
    term: RewardTermConfig, where: str, error: RayTaskError | RayActorError
) -> RewardError:
    """Return the error that names the plug-in."""
    what = f"reward {term.name!r} ({term.target}) {where}"
    if isinstance(error, RayActorError):
        return RewardError(f"{what}: its worker died: {error}")
    return RewardError(f"{what}: {type(error.cause).__name__}: {error.cause}")
