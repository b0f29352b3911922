"""The engines of a run: starts them, spreads prompts over them, bounds every wait."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import ray

from data.balance import balanced_shares
from data.records import Completion, Group, Prompt
from rollout.engine import (
    EngineSpec,
    RolloutEngine,
    RolloutError,
    SampleRequest,
    engine_environment,
)


class Part(NamedTuple):
    """Neighbouring completions of one group, sampled by one engine."""

    position: int
    """Of the prompt in its call."""
    first: int
    """Number of the first completion in the group."""
    num_completions: int
    seed: int
    """See `SampleRequest`."""


def plan_requests(
    ids: Sequence[str], num_completions: int, num_engines: int, seed: int
) -> list[Part]:
    """Split the completions of a call into what single engines sample.

    A prompt stays whole, since its clip is then encoded once; where that would leave engines idle
    (fewer prompts than engines), its completions are shared out.

    Args:
        ids: of the example of each prompt; an id may occur more than once.
        num_completions: G.

    Returns:
        The parts, prompt by prompt. The seed of a completion follows from the call's seed, the
        example and the completion's number, and neither from the split nor from the other prompts.
    """
    parts = []
    num_parts = min(num_completions, -(-num_engines // max(len(ids), 1)))
    occurrences: Counter[str] = Counter()
    for position, example_id in enumerate(ids):
        digest = hashlib.sha256(f"{seed} {occurrences[example_id]} {example_id}".encode()).digest()
        occurrences[example_id] += 1
        # 62 bits: the number of a completion is added, and vLLM keeps seeds in 63.
        base = int.from_bytes(digest[:8], "big") >> 2
        for chunk in np.array_split(np.arange(num_completions), num_parts):
            first = int(chunk[0])
            parts.append(Part(position, first, len(chunk), base + first))
    return parts


class EngineActor(RolloutEngine):
    """An engine in its own process; fetches clips and weights from the node's shared memory."""

    def stream(
        self, requests: Sequence[SampleRequest], greedy: bool
    ) -> Iterator[list[tuple[int, tuple[Completion, ...]]]]:
        """Yield (position in `requests`, completions) of those that ended in the same moment."""
        features = ray.get([request.prompt.features for request in requests])
        filled = [
            request._replace(prompt=replace(request.prompt, features=array))
            for request, array in zip(requests, features, strict=True)
        ]
        yield from self.generate(filled, greedy=greedy)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one bucket, fetched from shared memory if it is a reference."""
        fetched = {
            key: ray.get(value) if isinstance(value, ray.ObjectRef) else value
            for key, value in update_info.items()
        }
        super().update_weights(fetched)


class EnginePool:
    """N engines with the same weights.

    Args:
        actor_options: Ray options of each engine's actor (resources, placement, environment).
    """

    def __init__(self, spec: EngineSpec, actor_options: Sequence[Mapping[str, Any]]) -> None:
        self._spec = spec
        self._version = 0
        self.actors = [
            ray.remote(EngineActor)
            .options(**with_environment(options, engine_environment(spec)))
            .remote(spec)
            for options in actor_options
        ]

    def start(self) -> None:
        """Wait until every engine is up.

        Raises:
            RolloutError: one is not, with the reason.
        """
        self._all("ping", "start")

    def _all(self, method: str, what: str, *args: Any) -> list[Any]:
        calls = [getattr(actor, method).remote(*args) for actor in self.actors]
        return wait_for_all(calls, what, "engine", self._spec.rollout.timeout_s, RolloutError)

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int = 0,
        num_completions: int | None = None,
        greedy: bool = False,
        min_tokens: int = 0,
    ) -> Iterator[Group]:
        """Sample completions on all engines and yield every group the moment it is complete.

        Args:
            prompts: features as references into shared memory.
            seed: of this call; with the same weights it gives the same tokens, on any number of
                engines. Greedy calls do not use it.
            num_completions: G; by default the configured group size, or 1 when greedy.

        Yields:
            One group per prompt, in the order of completion.

        Raises:
            RolloutError: an engine died, hung, or serves other weights than it should.
        """
        num_completions = num_completions or (1 if greedy else self._spec.rollout.group_size)
        ids = [prompt.example.id for prompt in prompts]
        plan = plan_requests(ids, num_completions, len(self.actors), seed)
        costs = [len(prompts[part.position].token_ids) for part in plan]
        streams = {}
        shares = balanced_shares(costs, len(self.actors))
        for number, (actor, share) in enumerate(zip(self.actors, shares, strict=True)):
            if share:
                parts = [plan[i] for i in share]
                work = [
                    SampleRequest(prompts[p.position], p.num_completions, p.seed) for p in parts
                ]
                stream = actor.stream.options(num_returns="streaming").remote(work, greedy)
                streams[stream] = (number, parts)
        waiting: dict[int, dict[int, tuple[Completion, ...]]] = {}
        for part, completions in self._drain(streams):
            parts = waiting.setdefault(part.position, {})
            parts[part.first] = completions
            whole = tuple(c for first in sorted(parts) for c in parts[first])
            if len(whole) == num_completions:
                yield Group(prompts[part.position], whole, part.position)

    def _drain(
        self, streams: dict[Any, tuple[int, list[Part]]]
    ) -> Iterator[tuple[Part, tuple[Completion, ...]]]:
        """Yield (part, its completions) of the streams of all engines as they come."""
        timeout_s = self._spec.rollout.timeout_s
        while streams:
            ready, _ = ray.wait(list(streams), timeout=timeout_s, fetch_local=False)
            if not ready:
                raise RolloutError(f"no engine finished a group in {timeout_s} s")
            stream = ready[0]
            number, parts = streams[stream]
            try:
                items = ray.get(next(stream))
            except StopIteration:
                del streams[stream]
                continue
            except ActorFailure as error:
                reason = describe_failure(f"engine {number}", error)
                raise RolloutError(f"sampling: {reason}") from error
            for position, completions in items:
                versions = {completion.policy_version for completion in completions}
                if versions != {self._version}:
                    raise RolloutError(
                        f"engine {number} sampled with policy versions {sorted(versions)}, "
                        f"the learner is at {self._version}"
                    )
                yield parts[position], completions

    def activate(self, version: int) -> None:
        """Serve the weights that were just received, as policy version `version`."""
        self._all("activate", "activate", version)
        self._version = version

    def sleep(self) -> None:
        """Free the GPUs for the learners, where they are shared."""
        if self._spec.rollout.colocate:
            self._all("sleep", "sleep")

    def close(self) -> None:
        """End the engines."""
        for actor in self.actors:
            ray.kill(actor)


ActorFailure = (ray.exceptions.RayTaskError, ray.exceptions.RayActorError)
"""What `ray.get` raises when a call raised, and when the actor's process is gone."""


def describe_failure(member: str, error: ray.exceptions.RayError) -> str:
    """Return who failed and why, without the tracebacks that Ray puts around an `ActorFailure`."""
    cause = error
    # An actor that called another one passes that one's failure on, wrapped once more.
    while isinstance(cause, ray.exceptions.RayTaskError):
        cause = cause.cause
    if cause is not error:
        return f"{member}: {type(cause).__name__}: {' '.join(str(cause).split())}"
    if error.actor_init_failed:
        return f"{member} did not come up: {str(error).splitlines()[-1]}"
    return f"{member} died: {error}"


def wait_for_all(
    calls: Sequence[Any], what: str, member: str, timeout_s: float, failure: type[Exception]
) -> list[Any]:
    """Return the results of one call on each member of a group; the first to fail is reported.

    Args:
        calls: one a member, in the order of their numbers.
        member: what the messages call a member.
        timeout_s: longest time in which not one answers.
    """
    pending = list(calls)
    while pending:
        done, pending = ray.wait(pending, timeout=timeout_s)
        if not done:
            silent = [number for number, call in enumerate(calls) if call in pending]
            raise failure(f"{what}: no answer from {member}s {silent} in {timeout_s} s")
        for call in done:
            try:
                ray.get(call)
            except ActorFailure as error:
                name = f"{member} {calls.index(call)}"
                raise failure(f"{what}: {describe_failure(name, error)}") from error
    return ray.get(list(calls))


def with_environment(options: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return Ray actor options with environment variables added; those in `options` win."""
    runtime = dict(options.get("runtime_env", {}))
    runtime["env_vars"] = {**variables, **runtime.get("env_vars", {})}
    return {**options, "runtime_env": runtime}


def ordered(groups: Iterable[Group], prompts: Sequence[Prompt]) -> list[Group]:
    """Return the groups in the order of their prompts.

    Args:
        prompts: With different example ids.

    Raises:
        ValueError: There is not one group for every prompt.
    """
    group_of = {group.prompt.example.id: group for group in groups}
    ids = [prompt.example.id for prompt in prompts]
    if len(group_of) != len(ids) or group_of.keys() != set(ids):
        raise ValueError(f"{len(ids)} prompts gave {len(group_of)} different groups")
    return [group_of[example_id] for example_id in ids]
