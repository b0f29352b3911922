"""Pools of stand-ins, for tests of engines that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import ray

import rollout.pool
from configs.schema import ModelConfig, RolloutConfig
from data.records import Group
from rollout.actors import Failure, gather
from rollout.engine import EngineSpec
from rollout.pool import EnginePool
from tests.faults.stand_ins import StandIn
from tests.unit.make_groups import make_group

NAMES = tuple(f"clip-{number}" for number in range(6))
SILENCE_S = 15.0
"""Longest silence of a stand-in; one that lives gives a sign every 0.1 s."""

Tokens = dict[str, list[list[int]]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Connect to a Ray of a file."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Run:
    """A pool of stand-ins at the weights of some version, and the learner in its place."""

    def __init__(self, folder: Path, num_engines: int, max_restarts: int, num_calls: int) -> None:
        self.folder = folder
        config = RolloutConfig(
            group_size=2,
            timeout_s=120.0,
            progress_timeout_s=SILENCE_S,
            max_engine_restarts=max_restarts,
        )
        model = ModelConfig(path=str(folder))
        spec = EngineSpec(model, config, "host", "cpu", 0, 0, (), num_calls)
        self.weights = 0
        self.sent: list[int] = []
        """How many engines each sending was for."""
        self.pool = EnginePool(spec, [{"num_cpus": 0}] * num_engines)
        self.pool.start()

    def send(self, actors: Sequence[Any]) -> Mapping[int, Failure]:
        """Send both halves of the weights; those that fail take no further part."""
        self.sent.append(len(actors))
        lost: dict[int, Failure] = {}
        for half in (0, 1):
            left = {i: actor for i, actor in enumerate(actors) if i not in lost}
            calls = {i: actor.load.remote(half, self.weights) for i, actor in left.items()}
            lost |= gather(calls, SILENCE_S)[1]
        return lost

    def sync(self, version: int) -> None:
        """Make an update and bring the engines to it."""
        self.weights = 100 + version
        self.pool.take(version, self.send)

    def pids(self) -> list[int]:
        """Return the process of each engine; none may be at work."""
        return ray.get([actor.ping.remote() for actor in self.pool.actors], timeout=60)

    def newest(self) -> int:
        """Return the process that started last, whatever it does."""
        return int((self.folder / "starts").read_text().split()[-1])

    def file(self, name: str, text: str = "") -> Path:
        """Write a file that tells the stand-ins what to do."""
        path = self.folder / name
        path.write_text(text)
        return path

    def requests(self, skip: int = 0) -> list[list[str]]:
        """Return (process, example, seed) of all that was asked for, but the first `skip`."""
        path = self.folder / "requests"
        return [line.split() for line in path.read_text().splitlines()[skip:]]

    def generate(self, names: Sequence[str] = NAMES, seed: int = 3) -> Iterator[Group]:
        """Sample two completions a prompt."""
        features = ray.put(None)
        prompts = [make_group([""], id=name, features=features).prompt for name in names]
        return self.pool.generate(prompts, seed=seed)

    def expected(self, names: Sequence[str] = NAMES) -> Tokens:
        """Return what undisturbed engines sample with these weights."""
        return tokens_of(self.generate(names))


def tokens_of(groups: Iterator[Group]) -> Tokens:
    """Return example -> tokens, after a check that no example came twice."""
    found = list(groups)
    assert len({group.index for group in found}) == len(found)
    return {g.prompt.example.id: [c.token_ids.tolist() for c in g.completions] for g in found}


MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeRun]:
    """Return a function that makes a run with so many engines, at version 1."""
    monkeypatch.setattr(rollout.pool, "EngineActor", StandIn)
    runs: list[Run] = []

    def make(
        num_engines: int, max_restarts: int = 8, *, synced: bool = True, num_calls: int = 1
    ) -> Run:
        run = Run(tmp_path, num_engines, max_restarts, num_calls)
        runs.append(run)
        if synced:
            run.sync(1)
        return run

    yield make
    for run in runs:
        run.pool.close()
