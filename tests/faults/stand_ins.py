"""Engines without a model: what they sample follows from the seed and the weights they got.

Light, since every process of theirs imports it. A stand-in's folder is its model's path: it notes
there what it was asked for, and files there tell it what to do.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray

from data.records import Completion
from rollout.engine import EngineSpec, Refusal, SampleRequest
from rollout.stacks import listen

SIGN_S = 0.1


class StandIn:
    """The calls of `rollout.pool.EngineActor`.

    Examples named `raises...` make any engine raise, `refused...` are refused, `kills...` end its
    process. An engine whose process id is in the file `raise` raises whatever it samples; the
    first to find a file `die-in-METHOD` takes it and dies in that method.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._folder = Path(spec.model.path)
        self._version = self._weights = 0
        self._die_in("start")
        self._note("starts", str(os.getpid()))

    def _note(self, name: str, line: str) -> None:
        with (self._folder / name).open("a") as file:
            file.write(line + "\n")

    def _die_in(self, method: str) -> None:
        try:
            (self._folder / f"die-in-{method}").unlink()
        except FileNotFoundError:
            return
        os._exit(1)

    def ping(self) -> int:
        """Return the process id."""
        return os.getpid()

    def load(self, half: int, weights: int) -> None:
        """Take one half of the weights; `half` is 0 or 1."""
        if half:
            self._die_in("load")
        self._weights = weights if half else -1

    def activate(self, version: int) -> None:
        """Serve what was loaded."""
        self._die_in("activate")
        self._version = version

    def sleep(self) -> None:
        """Nothing to free."""
        self._die_in("sleep")

    @ray.method(concurrency_group="sampling")
    def stream(
        self, requests: Sequence[SampleRequest], greedy: bool
    ) -> Iterator[list[tuple[int, Any]]]:
        """Finish the requests one after another; wait before the second while `hold` is there."""
        me = str(os.getpid())
        for position, request in enumerate(requests):
            name = request.prompt.example.id
            self._note("requests", f"{me} {name} {request.seed}")
            raises = self._folder / "raise"
            if name.startswith("raises") or (raises.exists() and me in raises.read_text().split()):
                raise RuntimeError("an illegal memory access was encountered")
            if name.startswith("kills"):
                os._exit(1)
            while position and (self._folder / "hold").exists():
                time.sleep(SIGN_S)
                yield []
            if name.startswith("refused"):
                yield [(position, Refusal("ValueError: too long"))]
                continue
            yield [(position, tuple(self._sample(request)))]

    def _sample(self, request: SampleRequest) -> Iterator[Completion]:
        for number in range(request.num_completions):
            random = np.random.default_rng([request.seed + number, self._weights])
            tokens = random.integers(1000, size=8)
            yield Completion(
                token_ids=tokens,
                rollout_logprobs=-random.random(8).astype(np.float32),
                text=" ".join(map(str, tokens)),
                finish_reason="stop",
                policy_version=self._version,
            )


class Rank:
    """The calls of a learner rank; the tests kill or freeze its process in an update."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def call(self, method: str) -> int:
        """Return the process id."""
        return os.getpid()

    def trial(self, row: Path) -> float:
        """Rank 0 fails as soon as its peer is gone, as in a collective; the others wait."""
        while not (self._rank == 0 and row.exists()):
            time.sleep(0.02)
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer")


class Stuck:
    """An actor that never answers."""

    def __init__(self) -> None:
        listen()

    def ping(self) -> int:
        """Return the process id."""
        return os.getpid()

    def wait_for_ever(self) -> None:
        """Wait for what never comes."""
        threading.Event().wait()
