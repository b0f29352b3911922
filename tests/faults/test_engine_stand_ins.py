"""Engines that fail at every moment of a step, with light actors in their place."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray

import rollout.pool
from configs.schema import ModelConfig, RolloutConfig
from data.records import Group
from rollout.actors import Failure, gather
from rollout.engine import EngineSpec, RolloutError
from rollout.pool import EnginePool
from rollout.supervision import REFILL_STEPS, EngineLostError, RestartBudget
from tests.faults.stand_ins import StandIn
from tests.unit.make_groups import make_group

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

NAMES = tuple(f"clip-{number}" for number in range(6))
SILENCE_S = 15.0
"""Longest silence of a stand-in; one that lives gives a sign every 0.1 s."""

Tokens = dict[str, list[list[int]]]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Connect to a Ray of this file."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Run:
    """A pool of stand-ins at the weights of some version, and the learner in its place."""

    def __init__(self, folder: Path, num_engines: int, max_restarts: int) -> None:
        self.folder = folder
        config = RolloutConfig(
            group_size=2,
            timeout_s=120.0,
            progress_timeout_s=SILENCE_S,
            max_engine_restarts=max_restarts,
        )
        model = ModelConfig(path=str(folder))
        spec = EngineSpec(model, config, "host", "cpu", 0, 0, ())
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

    def make(num_engines: int, max_restarts: int = 8, *, synced: bool = True) -> Run:
        run = Run(tmp_path, num_engines, max_restarts)
        runs.append(run)
        if synced:
            run.sync(1)
        return run

    yield make
    for run in runs:
        run.pool.close()


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.fault(
    "an engine is killed while it waits",
    happens="replaced and given the weights of its step before it samples",
    lost="nothing",
)
@pytest.mark.parametrize("synced", [True, False], ids=["after_a_sync", "before_the_first_sync"])
def test_killed_idle(make_run: MakeRun, synced: bool) -> None:
    run = make_run(2, synced=synced)
    expected = run.expected()
    before = run.pids()
    kill(before[1])
    assert tokens_of(run.generate()) == expected
    after = run.pids()
    assert after[0] == before[0] and after[1] != before[1]
    assert run.pool.metrics()["perf/engine_restarts"] == 1
    assert run.sent == ([2, 1] if synced else [])


@pytest.mark.fault(
    "an engine is killed while it samples",
    happens="replaced; what it had not finished is sampled once more with the same seeds",
    lost="nothing",
)
@pytest.mark.parametrize("num_engines", [1, 2])
def test_killed_busy(make_run: MakeRun, num_engines: int) -> None:
    run = make_run(num_engines)
    expected = run.expected()
    asked = len(run.requests())
    seeds = {name: seed for _, name, seed in run.requests()}
    hold = run.file("hold")
    victim = run.pids()[0]
    groups = run.generate()
    first = next(groups)
    kill(victim)
    hold.unlink()
    got = tokens_of(groups)
    assert {**got, **tokens_of(iter([first]))} == expected
    asked_again = run.requests(asked)
    assert all(seeds[name] == seed for _, name, seed in asked_again)
    # The survivor's requests and the victim's finished one came once; the others twice at most.
    finished = {name for name, count in Counter(n for _, n, _ in asked_again).items() if count == 1}
    assert first.prompt.example.id in finished
    by_new = [name for pid, name, _ in asked_again if int(pid) in set(run.pids()) - {victim}]
    assert len(set(by_new)) == len(by_new)
    assert run.pool.metrics() == {"perf/engine_restarts": 1, "rollout/left_out_prompts": 0}


@pytest.mark.fault(
    "an engine and then the one in its place are killed",
    happens="replaced both times; the second time each prompt is tried by itself",
    lost="nothing",
)
def test_killed_twice(make_run: MakeRun) -> None:
    run = make_run(1)
    expected = run.expected()
    hold = run.file("hold")
    groups = run.generate()
    got = tokens_of(iter([next(groups)]))
    kill(run.newest())
    got |= tokens_of(iter([next(groups)]))
    kill(run.newest())
    hold.unlink()
    assert got | tokens_of(groups) == expected
    assert run.pool.metrics()["perf/engine_restarts"] == 2


@pytest.mark.fault(
    "an engine freezes (SIGSTOP) while it samples, and goes on later",
    happens="replaced after rollout.progress_timeout_s; what the old one says then is not heard",
    lost="nothing",
)
def test_frozen_then_continued(make_run: MakeRun) -> None:
    run = make_run(2)
    expected = run.expected()
    hold = run.file("hold")
    before = run.pids()
    victim = before[0]
    groups = run.generate()
    got = tokens_of(iter([next(groups)]))
    os.kill(victim, signal.SIGSTOP)
    hold.unlink()
    start = time.monotonic()
    for group in groups:
        assert group.prompt.example.id not in got
        got |= tokens_of(iter([group]))
        if run.newest() not in before:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)
    assert got == expected
    assert time.monotonic() - start < 10 * SILENCE_S
    assert victim not in run.pids()
    assert run.pool.metrics()["perf/engine_restarts"] == 1


@pytest.mark.fault(
    "all engines are killed in the same moment",
    happens="replaced together, in the time of one start",
    lost="nothing",
)
def test_all_at_once(make_run: MakeRun) -> None:
    run = make_run(3)
    expected = run.expected()
    hold = run.file("hold")
    victims = run.pids()
    groups = run.generate()
    got = tokens_of(iter([next(groups)]))
    kill(*victims)
    hold.unlink()
    assert got | tokens_of(groups) == expected
    assert run.sent == [3, 3], "all three were brought to the weights together"
    run.sync(2)
    assert run.sent == [3, 3, 3]


@pytest.mark.fault(
    "engines die more often than rollout.max_engine_restarts",
    happens="the run ends with exit 4, or starts again (train.max_restarts); the reasons are named",
    lost="steps since the last checkpoint",
)
@pytest.mark.parametrize("limit", [0, 1])
def test_budget_spent(make_run: MakeRun, limit: int) -> None:
    run = make_run(1, max_restarts=limit)
    run.file("hold")
    groups = run.generate()
    next(groups)
    for _ in range(limit):
        kill(run.newest())
        next(groups)
    kill(run.newest())
    message = rf"engine 0 died: .* rollout.max_engine_restarts is {limit}"
    with pytest.raises(EngineLostError, match=message):
        next(groups)


def test_good_steps_refill_the_budget() -> None:
    budget = RestartBudget(1)
    budget.spend(["one"])
    for _ in range(REFILL_STEPS):
        budget.end_step()
    budget.spend(["two"])
    for _ in range(REFILL_STEPS - 1):
        budget.end_step()
    with pytest.raises(EngineLostError, match="three"):
        budget.spend(["three"])


@pytest.mark.fault(
    "the engine in the place of one that died dies at its start",
    happens="another one is started, as often as rollout.max_engine_restarts allows",
    lost="nothing",
)
def test_replacement_dies_at_its_start(make_run: MakeRun) -> None:
    run = make_run(1)
    expected = run.expected()
    flag = run.file("die-in-start")
    kill(*run.pids())
    assert tokens_of(run.generate()) == expected
    assert not flag.exists()
    assert run.pool.metrics()["perf/engine_restarts"] == 2


@pytest.mark.parametrize(
    ("moment", "num_restarts"),
    [
        pytest.param(
            moment,
            1,
            id=moment,
            marks=pytest.mark.fault(
                f"an engine dies {what}",
                happens="replaced and given all weights; none serves a mixture",
                lost="nothing",
            ),
        )
        for moment, what in (
            ("load", "in the middle of new weights"),
            ("activate", "when it puts new weights in service"),
        )
    ],
)
def test_dies_in_a_sync(make_run: MakeRun, moment: str, num_restarts: int) -> None:
    run = make_run(2)
    run.sync(2)
    expected = run.expected()
    flag = run.file(f"die-in-{moment}")
    run.sync(2)
    assert not flag.exists()
    assert tokens_of(run.generate()) == expected
    assert run.sent[-2:] == [2, 1]
    assert run.pool.metrics()["perf/engine_restarts"] == num_restarts


@pytest.mark.fault(
    "an engine dies before new weights come",
    happens="replaced first; then all get them together",
    lost="nothing",
)
def test_dead_before_a_sync(make_run: MakeRun) -> None:
    run = make_run(2)
    run.sync(2)
    expected = run.expected()
    kill(run.pids()[0])
    run.sync(2)
    assert run.sent == [2, 2, 2]
    assert tokens_of(run.generate()) == expected


@pytest.mark.parametrize("num_engines", [1, 2])
@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(
            bad,
            id=bad,
            marks=pytest.mark.fault(
                f"a prompt {what}",
                happens="tried once more alone, then left out of the step, named and counted",
                lost="that prompt in that step",
            ),
        )
        for bad, what in (
            ("refused", "that an engine refuses"),
            ("raises", "that makes any engine raise"),
            ("kills", "that kills any engine"),
        )
    ],
)
def test_data_fault(
    make_run: MakeRun, caplog: pytest.LogCaptureFixture, bad: str, num_engines: int
) -> None:
    # Only what kills is charged to the engines: nobody can tell it from a machine that fails.
    run = make_run(num_engines, max_restarts=3 if bad == "kills" else 0)
    expected = run.expected()
    names = (*NAMES[:3], bad, *NAMES[3:])
    assert tokens_of(run.generate(names)) == expected
    assert run.pool.metrics()["rollout/left_out_prompts"] == 1
    assert f"example '{bad}' is left out" in caplog.text
    assert tokens_of(run.generate()) == expected


@pytest.mark.fault(
    "an engine raises whatever it samples",
    happens="its prompts go through elsewhere, so it is replaced and charged to the engines",
    lost="nothing",
)
def test_broken_engine_is_not_the_prompts_fault(make_run: MakeRun) -> None:
    run = make_run(2, max_restarts=1)
    expected = run.expected()
    run.file("raise", f"{run.pids()[1]}")
    assert tokens_of(run.generate()) == expected
    assert run.pool.metrics() == {"perf/engine_restarts": 1, "rollout/left_out_prompts": 0}
    run.file("raise", f"{run.pids()[0]}")
    with pytest.raises(EngineLostError, match="engine 0: RuntimeError: an illegal memory access"):
        list(run.generate())


@pytest.mark.fault(
    "many prompts in a row cannot be sampled",
    happens="the run ends with exit 4 and names the last ones",
    lost="steps since the last checkpoint",
)
def test_many_data_faults_in_a_row(make_run: MakeRun) -> None:
    run = make_run(1)
    with pytest.raises(RolloutError, match=r"8 prompts in a row .*example 'refused-7'"):
        list(run.generate([f"refused-{number}" for number in range(9)]))


@pytest.mark.fault(
    "no prompt of a step can be sampled",
    happens="the run ends with exit 4 and names them",
    lost="steps since the last checkpoint",
)
def test_no_prompt_can_be_sampled(make_run: MakeRun) -> None:
    run = make_run(1)
    with pytest.raises(RolloutError, match=r"no prompt could be sampled: example 'refused': Val"):
        list(run.generate(["refused"]))
