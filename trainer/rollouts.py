"""The steps on their way: sampled and scored, up to `async.max_staleness` ahead of the learner."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar

from configs.schema import RunConfig
from data.loader import PromptLoader
from data.records import Group, Prompt, ScoredGroup
from rewards.combine import CombineRules, combine
from rewards.pool import RewardPool
from rewards.schedule import Schedule
from rollout.pool import EnginePool
from trainer.clock import StepClock
from trainer.metrics import throughput
from trainer.pairs import halves, joined
from trainer.refill import Refill, Refilled
from trainer.sampled import pack_groups, unpack_groups

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S = 0.2
"""Longest time that a wait goes without a look at signals. Python handles one in the main thread,
which does not wake from a wait if the system has given it to another thread."""


@dataclass(frozen=True)
class ScoredStep:
    """A step's groups with their rewards, in the order of the prompts."""

    prompts: Sequence[Prompt]
    groups: Sequence[ScoredGroup]
    weights: Mapping[str, float]
    """Of the reward terms, for this step."""
    drawn: Sequence[ScoredGroup]
    """The groups of the prompts that were drawn first: `groups` without a refill. What is measured
    of the policy is measured on these, since a refill chooses."""
    metrics: dict[str, float]
    """How fast it was sampled, examples that were left out until now, and `refill/*`."""


@dataclass
class _Ahead:
    """A step that has begun."""

    prompts: Sequence[Prompt]
    position: Mapping[str, Any]
    """The loader's state before the prompts were drawn."""
    num_skipped: int
    sampling: Future[None]
    begun: float = field(default_factory=time.perf_counter)
    ended: float = 0.0
    """Of the sampling, on the clock of `begun`."""
    arrived: queue.SimpleQueue[Group | None] = field(default_factory=queue.SimpleQueue)
    """Groups to be scored; None = no more."""
    sampled: list[Group] = field(default_factory=list)
    weights: Mapping[str, float] = field(default_factory=dict)
    scoring: Future[list[ScoredGroup]] | None = None

    def is_sampled(self) -> bool:
        """Return whether all groups are there."""
        return self.sampling.done() and self.sampling.exception() is None

    @cached_property
    def packed(self) -> list[dict[str, Any]]:
        """All groups as JSON data, made once for all states that hold them."""
        return pack_groups(self.sampled)


class Rollouts:
    """Draws, samples and scores the prompts of every step, each in its turn.

    The completions of step k (0-based, so the step that makes update k + 1) are sampled with the
    weights after `max(0, k - async.max_staleness)` updates, whatever takes how long: a run is the
    same function of its seed however fast its parts are. With a staleness of 0 that is strictly
    on-policy. Scores are computed in the order of the steps, so that the weights of the reward
    terms follow from all steps before, as in a run without staleness.

    Two threads look after it: one takes completions from the engines, one gives them to the
    rewards. Both are idle after `drain` and `settle`.
    """

    def __init__(
        self,
        config: RunConfig,
        loader: PromptLoader,
        engines: EnginePool,
        rewards: RewardPool,
        rules: CombineRules,
        schedule: Schedule,
        refill: Refill | None = None,
    ) -> None:
        self._config = config
        self._staleness = config.async_.max_staleness
        self._in_flight = config.async_.in_flight
        num_halves = 2 if config.rollout.counterfactual.moves else 1
        self._size = config.rollout.group_size // num_halves
        """Completions of a prompt."""
        self._loader = loader
        self._engines = engines
        self._rewards = rewards
        self._rules = rules
        self._schedule = schedule
        self.refill = refill
        """Of flat groups; None = they stay."""
        self._further: _Ahead | None = None
        """A round of the refill that is on its way."""
        self._steps: dict[int, _Ahead] = {}
        self._saved: dict[int, Sequence[Mapping[str, Any]]] = {}
        """Step -> what a checkpoint held of it."""
        self._takes = ThreadPoolExecutor(1, thread_name_prefix="sampling")
        self._scores = ThreadPoolExecutor(1, thread_name_prefix="scoring")

    def begin(self, step: int) -> None:
        """Sample `step`, and the steps after it that may be sampled with the same weights.

        Args:
            step: updates done; the engines serve the weights after them.
        """
        end = min(step + self._staleness, self._config.train.num_steps - 1)
        for number in range(max(self._steps, default=step - 1) + 1, end + 1):
            position = self._loader.state_dict()
            prompts = halves(self._loader.next_batch())
            groups = self._restored(number, prompts)
            if groups is None:
                seed = rollout_seed(self._config.seed, number)
                groups = self._engines.generate(prompts, seed=seed, num_completions=self._size)
            ahead = _Ahead(prompts, position, self._loader.num_skipped, Future())
            ahead.sampling = self._takes.submit(self._take, ahead, groups)
            self._steps[number] = ahead

    def _restored(self, step: int, prompts: Sequence[Prompt]) -> Iterator[Group] | None:
        """Return what a checkpoint held of a step, unless it is too old or of other prompts."""
        packed = self._saved.pop(step, None)
        if packed is None:
            return None
        try:
            groups = unpack_groups(packed, prompts)
        except ValueError as error:
            logger.warning(f"step {step + 1} is sampled anew: {error}")
            return None
        oldest = min(c.policy_version for group in groups for c in group.completions)
        return iter(groups) if step - oldest <= self._staleness else None

    def _take(self, ahead: _Ahead, groups: Iterator[Group]) -> None:
        """Pass a step's groups on as they come."""
        try:
            for group in groups:
                ahead.sampled.append(group)
                ahead.arrived.put(group)
        finally:
            ahead.ended = time.perf_counter()
            ahead.arrived.put(None)

    def _score(self, ahead: _Ahead) -> list[ScoredGroup]:
        def arriving() -> Iterator[Group]:
            while (group := ahead.arrived.get()) is not None:
                yield group
            ahead.sampling.result()  # raises what the engines did

        scored = [
            combine(group, terms, ahead.weights, self._rules)
            for group, terms in self._rewards.score(joined(arriving()), ahead.weights)
        ]
        # The order of completion is one that no run repeats.
        return sorted(scored, key=lambda item: item.group.index)

    def _start_scoring(self, step: int) -> None:
        ahead = self._steps.get(step)
        if ahead is not None and ahead.scoring is None:
            ahead.weights = self._schedule.weights()
            ahead.scoring = self._scores.submit(self._score, ahead)

    def scored(self, step: int, clock: StepClock) -> ScoredStep:
        """Wait for the scores of a step that has begun, and let the next one be scored.

        Args:
            clock: what is waited for completions counts as `rollout`.

        Raises:
            RolloutError: the engines gave nothing.
            RewardError: a term that may not fail did.
        """
        self._start_scoring(step)
        ahead = self._steps[step]
        assert ahead.scoring is not None
        groups = awaited(ahead.scoring)
        clock.lap("rollout", until=ahead.ended)
        used = self._refilled(step, groups, ahead.weights, clock)
        num_skipped = ahead.num_skipped + (self.refill.num_skipped if self.refill else 0)
        del self._steps[step]
        self._schedule.observe(groups)
        self._start_scoring(step + 1)
        return ScoredStep(
            prompts=[item.group.prompt for item in used.groups] if self.refill else ahead.prompts,
            groups=used.groups,
            weights=ahead.weights,
            drawn=groups,
            metrics=throughput(groups, ahead.ended - ahead.begun)
            | {"data/skipped_clips": float(num_skipped), **used.metrics},
        )

    def _refilled(
        self, step: int, groups: list[ScoredGroup], weights: Mapping[str, float], clock: StepClock
    ) -> Refilled:
        """Return a step's groups with others in the place of flat ones, of the newest weights."""
        if self.refill is None:
            return Refilled(groups, {})
        clock.lap("reward")

        def sample(prompts: Sequence[Prompt], number: int) -> list[ScoredGroup]:
            # 64 bits above: no step of a run has such a seed.
            seed = rollout_seed(self._config.seed, step) + (number << 64)
            further = self._engines.generate(
                prompts, seed=seed, num_completions=self._size, may_lack=True
            )
            ahead = _Ahead(prompts, {}, 0, Future(), weights=weights)
            self._further = ahead
            ahead.sampling = self._takes.submit(self._take, ahead, further)
            return awaited(self._scores.submit(self._score, ahead))

        used = self.refill.fill(groups, sample)
        self._further = None
        clock.lap("refill")
        return used

    def drain(self) -> None:
        """Wait until new weights may come: at once, or when all that has begun is sampled.

        Raises:
            RolloutError: the engines gave nothing.
        """
        for ahead in () if self._in_flight else self._steps.values():
            awaited(ahead.sampling)

    def settle(self) -> None:
        """Wait until no score is being computed: the rewards are free for an evaluation.

        Raises:
            RewardError: a term that may not fail did.
        """
        for ahead in self._steps.values():
            if ahead.scoring is not None:
                awaited(ahead.scoring)

    def position(self) -> Mapping[str, Any]:
        """Return the loader's state before the first step that has begun and is not learned."""
        first = next(iter(self._steps.values()), None)
        return self._loader.state_dict() if first is None else first.position

    def state_dict(self) -> dict[str, Any]:
        """Return what has been sampled of the steps that are not learned, as JSON data.

        Whatever has not yet, a resumed run samples again with the seeds that it had.
        """
        whole = {n: ahead.packed for n, ahead in self._steps.items() if ahead.is_sampled()}
        return {str(step): groups for step, groups in (self._saved | whole).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take what a checkpoint holds; `begin` uses it instead of the engines."""
        self._saved = {int(step): groups for step, groups in state.items()}

    def __enter__(self) -> Rollouts:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give up what is on its way; the engines and rewards end if something is."""
        if self._steps:
            self._engines.close()
            self._rewards.close()
        for threads in (self._takes, self._scores):
            threads.shutdown(wait=False, cancel_futures=True)
        for ahead in (*self._steps.values(), *([self._further] if self._further else [])):
            ahead.arrived.put(None)


def awaited(future: Future[T]) -> T:
    """Return what a thread returns or raise what it raises, open to signals meanwhile."""
    while not wait([future], timeout=POLL_S).done:
        pass
    return future.result()


def rollout_seed(seed: int, step: int) -> int:
    """Return the sampling seed of a step; steps of runs with different seeds never share one."""
    return seed * 10_000_019 + step
