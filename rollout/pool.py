"""The engines of a run: starts and replaces them, spreads prompts over them, bounds every wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import ray

from data.records import Completion, Group, Prompt
from rollout.actors import Failure, gather, silence, wait_for_all, with_environment
from rollout.engine import (
    EngineSpec,
    Refusal,
    RolloutEngine,
    RolloutError,
    SampleRequest,
    engine_environment,
)
from rollout.plan import Part, balanced_shares, cost, plan_requests
from rollout.stacks import listen
from rollout.supervision import EngineLostError, RestartBudget, Sampling

logger = logging.getLogger(__name__)

MAX_LEFT_OUT_IN_A_ROW = 8
"""Prompts in succession without a group after which a run gives up: they are not the exception."""

Send = Callable[[Sequence[Any]], Mapping[int, Failure]]
"""Brings the learner's weights to some engine actors; returns those that failed, by position."""


class EngineActor(RolloutEngine):
    """An engine in its own process; fetches clips and weights from the node's shared memory."""

    def __init__(self, spec: EngineSpec) -> None:
        listen()
        super().__init__(spec)

    @ray.method(concurrency_group="sampling")
    def stream(
        self, requests: Sequence[SampleRequest], greedy: bool
    ) -> Iterator[list[tuple[int, tuple[Completion, ...] | Refusal]]]:
        """Yield what `RolloutEngine.generate` yields."""
        timeout_s = self._spec.rollout.timeout_s
        clips = [list(request.prompt.clips) for request in requests]
        arrays = iter(ray.get(list(chain(*clips)), timeout=timeout_s))
        filled = [
            request._replace(prompt=request.prompt.with_clips(list(islice(arrays, len(held)))))
            for request, held in zip(requests, clips, strict=True)
        ]
        yield from self.generate(filled, greedy=greedy)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one bucket, fetched from shared memory if it is a reference."""
        fetched = {
            key: ray.get(value, timeout=self._spec.rollout.timeout_s)
            if isinstance(value, ray.ObjectRef)
            else value
            for key, value in update_info.items()
        }
        super().update_weights(fetched)


class EnginePool:
    """N engines with the same weights.

    One that dies or hangs is replaced in its place and brought to the weights of the others, as
    often as `rollout.max_engine_restarts` allows.

    Args:
        actor_options: Ray options of each engine's actor (resources, placement, environment).
    """

    def __init__(self, spec: EngineSpec, actor_options: Sequence[Mapping[str, Any]]) -> None:
        self._spec = spec
        self._options = [
            with_environment(options, engine_environment(spec)) for options in actor_options
        ]
        self._silence_s = spec.rollout.progress_timeout_s
        self._versions: defaultdict[int, int] = defaultdict(int)
        """Policy version that each engine serves."""
        self._newest = 0
        """Policy version of the learner's weights."""
        self.replacing = threading.RLock()
        """Whoever has it replaces engines; taken before `_weights`, where both are."""
        self._weights = threading.RLock()
        """Whoever has it either changes the learner's weights or sends them."""
        self._send: Send | None = None
        self._down: dict[int, Failure] = {}
        """Engines that failed while none was needed."""
        self._budget = RestartBudget(spec.rollout.max_engine_restarts)
        self._num_replaced = 0
        self._num_left_out = 0
        self._left_out_in_a_row = 0
        self._closed = False
        self.actors = [self._make(number) for number in range(len(actor_options))]
        """The engines in service; another actor takes the place of one that fails."""

    def _make(self, number: int) -> Any:
        # Else a call for weights would wait for what is being sampled.
        actor = ray.remote(concurrency_groups={"sampling": self._spec.num_calls})(EngineActor)
        return actor.options(**self._options[number]).remote(self._spec)

    def start(self) -> None:
        """Wait until every engine is up.

        Raises:
            RolloutError: one is not, with the reason.
        """
        calls = [actor.ping.remote() for actor in self.actors]
        wait_for_all(calls, "start", "engine", self._spec.rollout.timeout_s, RolloutError)

    def _ask(
        self, method: str, numbers: Iterable[int], timeout_s: float, *args: Any
    ) -> dict[int, Failure]:
        """Call a method of some engines; return those that failed."""
        calls = {n: getattr(self.actors[n], method).remote(*args) for n in numbers}
        return gather(calls, timeout_s, method)[1]

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int = 0,
        num_completions: int | None = None,
        greedy: bool = False,
        min_tokens: int = 0,
        may_lack: bool = False,
    ) -> Iterator[Group]:
        """Sample completions on all engines and yield every group the moment it is complete.

        The engines begin at once, after what they were asked for before; whether they are well is
        seen while the groups are taken.

        Args:
            prompts: features as references into shared memory.
            seed: of this call; with the same weights it gives the same tokens, on any number of
                engines, whichever of them fail. Greedy calls do not use it.
            num_completions: G; by default the configured group size, or 1 when greedy.
            min_tokens: no completion is shorter.
            may_lack: all prompts may be left out; else that is an error.

        Yields:
            One group per prompt, in the order of completion. A prompt that no engine can sample is
            left out, with a warning; see `metrics`.

        Raises:
            RolloutError: engines failed more often than they may, too many prompts cannot be
                sampled, or an engine serves other weights than it should.
        """
        num_completions = num_completions or (1 if greedy else self._spec.rollout.group_size)
        ids = [prompt.example.id for prompt in prompts]
        plan = plan_requests(ids, num_completions, len(self.actors), seed)
        longest = self._spec.rollout.max_completion_tokens
        costs = [cost(part, len(prompts[part.position].token_ids), longest) for part in plan]

        def open_stream(actor: Any, parts: list[Part]) -> Any:
            work = [
                SampleRequest(prompts[p.position], p.num_completions, p.seed, min_tokens)
                for p in parts
            ]
            return actor.stream.options(num_returns="streaming").remote(work, greedy)

        shares = [[plan[i] for i in share] for share in balanced_shares(costs, len(self.actors))]
        left_out: dict[str, str] = {}

        def leave_out(position: int, reason: str) -> None:
            left_out[ids[position]] = reason
            self._note_left_out(left_out)

        sampling = Sampling(self, self._budget, open_stream, leave_out, shares, self._silence_s)
        needed = 0 if may_lack else min(1, len(prompts))
        return self._groups(sampling, prompts, num_completions, left_out, needed)

    def _groups(
        self,
        sampling: Sampling,
        prompts: Sequence[Prompt],
        num_completions: int,
        left_out: Mapping[str, str],
        num_needed: int,
    ) -> Iterator[Group]:
        """Put together what `generate` yields."""
        waiting: dict[int, dict[int, tuple[Completion, ...]]] = {}
        num_groups = 0
        for number, part, completions in sampling.run():
            self._check_version(number, completions)
            parts = waiting.setdefault(part.position, {})
            parts[part.first] = completions
            whole = tuple(c for first in sorted(parts) for c in parts[first])
            if len(whole) == num_completions:
                self._left_out_in_a_row = 0
                num_groups += 1
                del waiting[part.position]
                yield Group(prompts[part.position], whole, part.position)
        if num_groups < num_needed:
            raise RolloutError(f"no prompt could be sampled: {_last(left_out)}")

    def _check_version(self, number: int, completions: Sequence[Completion]) -> None:
        versions = {completion.policy_version for completion in completions}
        served = self._versions[number]
        # Weights that came while they were sampled make them older than what is served.
        if max(versions) > served or (min(versions) < served and self._spec.num_calls == 1):
            raise RolloutError(
                f"engine {number} sampled with policy versions {sorted(versions)}, "
                f"and should serve {served}"
            )

    def _note_left_out(self, left_out: Mapping[str, str]) -> None:
        """Count and name the prompt that was left out last."""
        self._num_left_out += 1
        self._left_out_in_a_row += 1
        logger.warning(f"left out of this step: {_last(left_out, 1)}")
        if self._left_out_in_a_row >= MAX_LEFT_OUT_IN_A_ROW:
            raise RolloutError(
                f"{self._left_out_in_a_row} prompts in a row could not be sampled, the last ones: "
                f"{_last(left_out)}"
            )

    def replace(self, failures: Mapping[int, Failure]) -> None:
        """Put other engines, with the current weights, in the place of those that failed.

        The failures themselves are charged by whoever knows whose fault they are; those of the
        replacements are charged here.

        Raises:
            RolloutError: replacements failed more often than they may, or the pool is closed.
        """
        if self._closed:
            raise RolloutError("the engines have ended")
        lost = dict(failures)
        while lost:
            numbers = self._restart(lost)
            lost = self._bring(numbers)
            self._budget.spend(_named(lost))

    def _restart(self, failures: Mapping[int, Failure]) -> list[int]:
        """Start other engines in the place of those that failed, with the start's weights.

        Returns:
            Their numbers.

        Raises:
            EngineLostError: they fail too often, or one does not start within `timeout_s`.
        """
        lost = dict(failures)
        start = time.monotonic()
        while lost:
            for number, failure in lost.items():
                logger.warning(f"engine {number}{failure.reason}; another takes its place")
                # First, so that a frozen one cannot come back, and its GPU is free.
                ray.kill(self.actors[number])
                self.actors[number] = self._make(number)
                self._num_replaced += 1
            timeout_s = self._spec.rollout.timeout_s
            failed = self._ask("ping", lost, timeout_s)
            if silence(timeout_s) in failed.values():
                # Where its place is gone, with a node, another try would wait as long again.
                raise EngineLostError(f"no start again: {'; '.join(_named(failed))}")
            if self._spec.rollout.colocate and self._send is not None:
                up = [number for number in lost if number not in failed]
                # As after the start of the run: an engine gets its weights in its sleep.
                failed |= self._ask("sleep", up, self._spec.rollout.timeout_s)
            self._budget.spend(_named(failed))
            lost = failed
        if failures:
            seconds = time.monotonic() - start
            logger.info(f"engines {sorted(failures)} have started again after {seconds:.1f} s")
        return list(failures)

    def _bring(self, numbers: Sequence[int]) -> dict[int, Failure]:
        """Send the current weights to some engines and put them in service; return who failed."""
        failed: dict[int, Failure] = {}
        with self._weights:
            version = self._newest
            if self._send is not None and numbers:
                sent = self._send([self.actors[number] for number in numbers])
                failed = {numbers[position]: failure for position, failure in sent.items()}
        served = [number for number in numbers if number not in failed]
        return failed | self._activate(served, version)

    def _activate(self, numbers: Sequence[int], version: int) -> dict[int, Failure]:
        """Put weights that engines have in service; return who failed."""
        for number in numbers:
            self._versions[number] = version
        return self._ask("activate", numbers, self._spec.rollout.timeout_s, version)

    @contextmanager
    def updating(self, version: int) -> Iterator[None]:
        """Mark an update that leads to policy `version`.

        An engine that fails while another thread samples gets its weights after the update, and
        serves that version.
        """
        with self._weights:
            yield
            self._newest = version

    def take(self, version: int, send: Send) -> None:
        """Bring all engines to the learner's new weights, and serve them as policy `version`.

        An engine that fails meanwhile is replaced and gets all of them: none serves a mixture.

        Args:
            send: kept for engines that are replaced before the next call.

        Raises:
            RolloutError: engines failed more often than they may.
        """
        with self.replacing:
            self._send, self._newest = send, version
            numbers = range(len(self.actors))
            asleep = [number for number in numbers if number not in self._down]
            # A transport that is one group of processes cannot do with a member that is gone.
            self._down |= self._ask("ping", asleep, self._spec.rollout.progress_timeout_s)
            self._budget.spend(_named(self._down))
            self._restart(self._down)
            self._down = {}
            lost = self._bring(numbers)
            self._budget.spend(_named(lost))
            self.replace(lost)
            self._budget.end_step()

    def activate(self, version: int) -> None:
        """Serve the weights that all engines have as policy `version`, with empty caches.

        Raises:
            RolloutError: engines failed more often than they may.
        """
        self._newest = version
        lost = self._activate(range(len(self.actors)), version)
        self._budget.spend(_named(lost))
        self.replace(lost)

    def sleep(self) -> None:
        """Free the GPUs for the learners, where they are shared; who fails is replaced later."""
        if self._spec.rollout.colocate:
            numbers = range(len(self.actors))
            self._down |= self._ask("sleep", numbers, self._spec.rollout.timeout_s)
            for number in self._down:
                ray.kill(self.actors[number])

    def metrics(self) -> dict[str, float]:
        """Return what has failed since the last call; see docs/metrics.md."""
        metrics = {
            "perf/engine_restarts": float(self._num_replaced),
            "rollout/left_out_prompts": float(self._num_left_out),
        }
        self._num_replaced = self._num_left_out = 0
        return metrics

    def close(self) -> None:
        """End the engines; whoever samples meanwhile gets an error."""
        self._closed = True
        for actor in self.actors:
            ray.kill(actor)


def _named(failures: Mapping[int, Failure]) -> list[str]:
    return [f"engine {number}{failure.reason}" for number, failure in failures.items()]


def _last(left_out: Mapping[str, str], count: int = 3) -> str:
    return "; ".join(f"example {name!r}: {why}" for name, why in list(left_out.items())[-count:])


def ordered(
    groups: Iterable[Group], prompts: Sequence[Prompt], *, may_lack: bool = False
) -> list[Group]:
    """Return the groups in the order of their prompts.

    Args:
        prompts: With different example ids.
        may_lack: Whether prompts that were left out may have none.

    Raises:
        ValueError: There is not one group for every prompt; the message names those without.
    """
    group_of = {group.prompt.example.id: group for group in groups}
    ids = [prompt.example.id for prompt in prompts]
    missing = [example_id for example_id in ids if example_id not in group_of]
    if len(set(ids)) != len(ids) or not group_of.keys() <= set(ids) or (missing and not may_lack):
        raise ValueError(
            f"{len(ids)} prompts gave {len(group_of)} different groups; without one: "
            f"{', '.join(missing[:5])}"
        )
    return [group_of[example_id] for example_id in ids if example_id in group_of]
