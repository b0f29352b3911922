"""All learner ranks as one object: packs samples, spreads rows, gathers metrics."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import ray

from configs.imports import without_collections
from configs.schema import RunConfig
from data.files import DiskFullError
from data.records import FloatArray, Group, GroupSample, Microbatch
from rollout.actors import Failure, LostActorError, wait_for_all, with_environment
from rollout.stacks import listen
from trainer.audit import check_rows
from trainer.cost import GroupCost
from trainer.learner_spec import LearnerSpec, accumulate, learner_environment
from trainer.packing import PADDING_ID, build_row, num_row_tokens, pack_rows, plan_update
from trainer.sealed import CheckpointFullError

if TYPE_CHECKING:  # a rank's libraries, which would take the driver 3 s
    from trainer.learner import Learner

FETCH_TIMEOUT_S = 300.0
"""Longest wait for the clips of a row, which lie in the driver's memory, maybe on another node."""


class LearnerError(RuntimeError):
    """A learner rank failed or did not answer in time."""


class RankLostError(LearnerError, LostActorError):
    """A learner rank died or hung, or a process that it waits for."""


class LearnerActor:
    """A rank in its own process; built by `start`, so that rank 0 can first name its address."""

    def __init__(self, spec: LearnerSpec) -> None:
        listen()
        self._spec = spec
        self._learner: Learner | None = None
        self._meeting: socket.socket | None = None

    def open_meeting(self) -> tuple[str, int]:
        """Return this node's address and a port on it, which is kept until the ranks meet there.

        A port that was only looked for could be another process's before the learner is built.
        """
        address = ray.util.get_node_ip_address()
        self._meeting = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._meeting.bind(("", 0))
        return address, self._meeting.getsockname()[1]

    def free_address(self) -> tuple[str, int]:
        """Return this node's address and a port on it that is free: vLLM binds its own."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            return ray.util.get_node_ip_address(), probe.getsockname()[1]

    def start(self, address: str, port: int) -> None:
        """Build the learner; collective over the ranks."""
        with without_collections():
            from trainer.learner import Learner
        # gloo would look its own name up, which on many nodes gives an address of this node alone.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface_towards(address))
        self._learner = Learner(self._spec, address, port, self._meeting)

    def call(self, method: str, *args: Any) -> Any:
        """Run a method of the learner."""
        return getattr(self._learner, method)(*args)

    def update(self, minibatches: Sequence[Sequence[Microbatch]], lr: float) -> dict[str, float]:
        """Run `Learner.update` with the clips fetched from this node's memory."""
        assert self._learner is not None
        return self._learner.update([_fetch_features(rows) for rows in minibatches], lr)

    @ray.method(concurrency_group="saving")
    def saved_files(self, folder: str) -> dict[str, int] | DiskFullError:
        """Run `Learner.saved_files` beside whatever else the rank does."""
        assert self._learner is not None
        return self._learner.saved_files(folder)

    def trial(self, row: Microbatch) -> float:
        """Run `Learner.trial` with the clips fetched from this node's memory."""
        assert self._learner is not None
        return self._learner.trial(_fetch_features([row])[0])

    def logprobs(self, rows: Sequence[Microbatch]) -> list[FloatArray]:
        """Run `Learner.logprobs` with the clips fetched from this node's memory."""
        assert self._learner is not None
        return self._learner.logprobs(_fetch_features(rows))


def interface_towards(address: str) -> str:
    """Return the name of the network interface from which an address is reached."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))  # sends nothing, but chooses a route
        source = probe.getsockname()[0]
    interfaces = psutil.net_if_addrs().items()
    return next(name for name, entries in interfaces if source in [e.address for e in entries])


def _fetch_features(rows: Sequence[Microbatch]) -> list[Microbatch]:
    """Replace references to clips by views of shared memory."""
    return [
        replace(row, features=tuple(ray.get(list(row.features), timeout=FETCH_TIMEOUT_S)))
        for row in rows
    ]


class LearnerGroup:
    """The learner ranks of a run.

    Args:
        actor_options: Ray options of each rank's actor (resources, placement, environment).
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        forbidden_token_ids: Sequence[int],
        actor_options: Sequence[Mapping[str, Any]],
    ) -> None:
        self._config = config
        self._connected: list[Any] = []
        """Engine actors at the other end of the weight transport."""
        self._actors = []
        for rank, options in enumerate(actor_options):
            spec = LearnerSpec(config, rank, len(actor_options), tuple(forbidden_token_ids))
            options = with_environment(options, learner_environment(config))
            actor = ray.remote(concurrency_groups={"saving": 1})(LearnerActor)
            self._actors.append(actor.options(**options).remote(spec))

    def start(self) -> None:
        """Build all ranks and wait for them.

        Raises:
            LearnerError: a rank did not come up.
        """
        address, port = self._first("open_meeting")
        self._wait([actor.start.remote(address, port) for actor in self._actors], "start")

    @cached_property
    def _cost(self) -> GroupCost:
        return GroupCost.of(self._config)

    def _first(self, method: str) -> Any:
        return self._wait([getattr(self._actors[0], method).remote()], method)[0]

    def _all(self, method: str, *args: Any) -> list[Any]:
        return self._wait([actor.call.remote(method, *args) for actor in self._actors], method)

    def _wait(self, calls: Sequence[Any], what: str, timeout_s: float | None = None) -> list[Any]:
        timeout_s = timeout_s or self._config.learner.timeout_s
        member = "learner rank"
        return wait_for_all(calls, what, member, timeout_s, LearnerError, RankLostError)

    def update(self, samples: Sequence[GroupSample], lr: float) -> dict[str, float]:
        """Train on a step's samples.

        Args:
            samples: groups with advantages; an empty list is a step without an update.

        Returns:
            The step's learner metrics, see docs/metrics.md.
        """
        if not samples:
            return {"optim/lr": lr, "optim/skipped": 1.0}
        loss = self._config.loss
        max_tokens = self._config.rollout.max_completion_tokens
        constant = max_tokens if loss.aggregation == "constant" else None
        chunks = [c for c in np.array_split(np.arange(len(samples)), loss.minibatches) if len(c)]
        plans = [
            plan_update(
                [samples[i] for i in chunk],
                budget=self._config.learner.tokens_per_microbatch,
                num_ranks=len(self._actors),
                aggregation=loss.aggregation,
                max_tokens=max_tokens,
                cost=self._cost,
            )
            for chunk in chunks
        ]
        for chunk, plan in zip(chunks, plans, strict=True):
            check_rows(plan, [samples[i] for i in chunk], constant)
        calls = [
            actor.update.remote([plan[rank] for plan in plans], lr)
            for rank, actor in enumerate(self._actors)
        ]
        metrics: dict[str, float] = {}
        for rank_metrics in self._wait(calls, "update"):
            accumulate(metrics, rank_metrics)
        rows = [row for plan in plans for rank in plan for row in rank]
        metrics["optim/lr"] = lr
        real = [row for row in rows if PADDING_ID not in row.completion_ids]
        metrics["perf/packing_frac"] = _num_tokens(real) / _num_tokens(rows)
        return metrics

    def trial(self, row: Microbatch) -> float:
        """Run the largest row on every rank, without an effect; see `Learner.trial`.

        Returns:
            Most GPU memory that a rank took, in bytes; 0 on a CPU.
        """
        return max(self._wait([actor.trial.remote(row) for actor in self._actors], "trial step"))

    def logprobs(self, groups: Sequence[Group]) -> list[list[FloatArray]]:
        """Return the policy's log-probs of every completion: per group, [G] arrays of [C] nats."""
        lengths = [len(group.completions) for group in groups]
        samples = [
            GroupSample(group, np.zeros(n, np.float32), np.ones(n, np.bool_))
            for group, n in zip(groups, lengths, strict=True)
        ]
        sizes = [num_row_tokens(sample) for sample in samples]
        packed = pack_rows(sizes, self._config.learner.tokens_per_microbatch)
        weights = [[0.0] * n for n in lengths]
        rows = [build_row([samples[i] for i in row], [weights[i] for i in row]) for row in packed]
        num_ranks = len(self._actors)
        # Under ZeRO-3 all ranks must run equally many forward passes.
        padded = rows + rows[:1] * (-len(rows) % num_ranks)
        calls = [
            actor.logprobs.remote(padded[rank::num_ranks])
            for rank, actor in enumerate(self._actors)
        ]
        shares = self._wait(calls, "logprobs")
        logprobs: list[list[FloatArray]] = [[] for _ in groups]
        for place, row in enumerate(packed):
            completions = [(i, c) for i in row for c in groups[i].completions]
            ends = np.cumsum([len(completion.token_ids) for _, completion in completions])
            parts = np.split(shares[place % num_ranks][place // num_ranks], ends[:-1])
            for (i, _), values in zip(completions, parts, strict=True):
                logprobs[i].append(values)
        return logprobs

    def connect(self, engines: Sequence[Any]) -> None:
        """Open the weight transport between all ranks and the engine actors.

        Raises:
            LearnerError: an engine cannot be reached.
        """
        lost = self._open(engines)
        if lost:
            number, failure = min(lost.items())
            raise RankLostError(f"connect: engine {number}{failure.reason}")

    def _open(self, engines: Sequence[Any]) -> dict[int, Failure]:
        address, port = self._first("free_address")
        calls = [actor.call.remote("connect", engines, address, port) for actor in self._actors]
        self._connected = list(engines)
        return self._wait(calls, "connect", 2 * self._config.sync.timeout_s)[0]

    def send_weights(self, engines: Sequence[Any] | None = None) -> dict[int, Failure]:
        """Bring engines to the current weights.

        Args:
            engines: their actors; None = those of the last call. Others than in the last call, such
                as one that has just started, have the transport opened anew for them.

        Returns:
            Position in `engines` -> failure, of those that died or gave no answer within
            `sync.timeout_s`: they may hold mixed weights, all others hold the current ones.

        Raises:
            LearnerError: a rank failed, or the transport could not do without an engine that did.
        """
        lost: dict[int, Failure] = {}
        if engines is not None and list(engines) != self._connected:
            lost = self._open(engines)
        calls = [actor.call.remote("send_weights") for actor in self._actors]
        # Rank 0 waits once for engines that do not answer; what is left it does in as much time.
        return lost | self._wait(calls, "weight sync", 2 * self._config.sync.timeout_s)[0]

    def save(self, folder: Path) -> None:
        """Begin to write the learner state of all ranks into a folder; see `saved_files`."""
        self._all("save", str(folder))

    def saved_files(self, folder: Path) -> dict[str, int]:
        """Wait until what `save` began is written; another thread may update meanwhile.

        Returns:
            Path below the folder -> bytes of every file, as the rank that wrote it sees it: on a
            shared file system another node may see it later, or shorter.

        Raises:
            CheckpointFullError: a rank found no room for its part.
            LearnerError: a rank failed to write its part.
        """
        calls = [actor.saved_files.remote(str(folder)) for actor in self._actors]
        sizes: dict[str, int] = {}
        for seen in self._wait(calls, "saving"):
            if isinstance(seen, DiskFullError):
                raise CheckpointFullError(str(seen))
            for name, size in seen.items():
                sizes[name] = max(size, sizes.get(name, 0))
        return sizes

    def load(self, folder: Path) -> None:
        """Read the learner state of all ranks from a verified folder."""
        self._all("load", str(folder))

    def export(self, folder: Path) -> None:
        """Write a Hugging Face checkpoint.

        Raises:
            DiskFullError: there is no room for it.
        """
        for full in self._all("export", str(folder)):
            if full is not None:
                raise full

    def close(self) -> None:
        """Leave the process group and end the actors."""
        self._all("close")
        for actor in self._actors:
            ray.kill(actor)


def _num_tokens(rows: Sequence[Microbatch]) -> int:
    return sum(len(row.input_ids) for row in rows)
