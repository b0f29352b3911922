"""The engines of a run: starts them, spreads prompts over them, bounds every wait."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import ray

from data.batching import spread_rows
from data.records import Completion, Group, Prompt
from rollout.engine import EngineSpec, RolloutEngine, RolloutError, engine_environment


class EngineActor(RolloutEngine):
    """An engine in its own process; fetches clips and weights from the node's shared memory."""

    def stream(
        self, prompts: Sequence[Prompt], num_completions: int, greedy: bool, seed: int
    ) -> Iterator[list[tuple[int, tuple[Completion, ...]]]]:
        """Yield (position in `prompts`, completions) of groups that ended in the same moment."""
        features = ray.get([prompt.features for prompt in prompts])
        filled = [replace(p, features=f) for p, f in zip(prompts, features, strict=True)]
        yield from self.generate(filled, num_completions=num_completions, greedy=greedy, seed=seed)

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
        spec: shared settings.
        actor_options: Ray options of each engine's actor (resources, placement, environment).
    """

    def __init__(self, spec: EngineSpec, actor_options: Sequence[Mapping[str, Any]]) -> None:
        self._spec = spec
        self._version = 0
        self.actors = [
            ray.remote(EngineActor)
            .options(**with_environment(options, engine_environment(spec)))
            .remote(spec, index)
            for index, options in enumerate(actor_options)
        ]

    def start(self) -> None:
        """Wait until every engine is up.

        Raises:
            RolloutError: one is not, with the reason.
        """
        self._all("ping", "start")

    def _all(self, method: str, what: str, *args: Any) -> list[Any]:
        timeout_s = self._spec.rollout.timeout_s
        calls = [getattr(actor, method).remote(*args) for actor in self.actors]
        try:
            return ray.get(calls, timeout=timeout_s)
        except ray.exceptions.GetTimeoutError:
            raise RolloutError(f"{what}: an engine did not answer in {timeout_s} s") from None
        except ray.exceptions.RayActorError as error:
            raise RolloutError(f"{what}: an engine died: {error}") from error

    def generate(
        self,
        prompts: Sequence[Prompt],
        *,
        seed: int = 0,
        num_completions: int | None = None,
        greedy: bool = False,
    ) -> Iterator[Group]:
        """Sample completions on all engines and yield every group the moment it is complete.

        Args:
            prompts: features as references into shared memory.
            seed: of this call; with the same weights and engines it gives the same tokens.
                Greedy calls do not use it.
            num_completions: G; by default the configured group size, or 1 when greedy.
            greedy: take the likeliest token instead of sampling.

        Yields:
            One group per prompt, in the order of completion.

        Raises:
            RolloutError: an engine died, hung, or serves other weights than it should.
        """
        num_completions = num_completions or (1 if greedy else self._spec.rollout.group_size)
        # A static split, so that a run can be repeated: who finishes first must not decide who
        # samples what.
        shares = spread_rows([len(prompt.token_ids) for prompt in prompts], len(self.actors))
        streams = {}
        for actor, share in zip(self.actors, shares, strict=True):
            if share:
                work = [prompts[i] for i in share]
                stream = actor.stream.options(num_returns="streaming").remote(
                    work, num_completions, greedy, seed
                )
                streams[stream] = share
        for share, (position, completions) in self._drain(streams):
            versions = {completion.policy_version for completion in completions}
            if versions != {self._version}:
                raise RolloutError(
                    f"an engine sampled with policy versions {sorted(versions)}, "
                    f"the learner is at {self._version}"
                )
            yield Group(prompts[share[position]], completions)

    def _drain(self, streams: dict[Any, list[int]]) -> Iterator[tuple[list[int], Any]]:
        """Yield items of all streams as they come."""
        timeout_s = self._spec.rollout.timeout_s
        while streams:
            ready, _ = ray.wait(list(streams), timeout=timeout_s, fetch_local=False)
            if not ready:
                raise RolloutError(f"no engine finished a group in {timeout_s} s")
            stream = ready[0]
            try:
                items = ray.get(next(stream))
            except StopIteration:
                del streams[stream]
                continue
            except ray.exceptions.RayActorError as error:
                raise RolloutError(f"an engine died while sampling: {error}") from error
            for item in items:
                yield streams[stream], item

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


def with_environment(options: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return Ray actor options with environment variables added; those in `options` win."""
    runtime = dict(options.get("runtime_env", {}))
    runtime["env_vars"] = {**variables, **runtime.get("env_vars", {})}
    return {**options, "runtime_env": runtime}
