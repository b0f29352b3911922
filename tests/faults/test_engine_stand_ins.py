"""Engines that fail at every moment of a step, with light actors in their place."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from rollout.supervision import REFILL_STEPS, EngineLostError, RestartBudget
from tests.faults.engine_runs import SILENCE_S, MakeRun, tokens_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("cluster")]


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
def test_frozen_then_continued(make_run: MakeRun, noticed: Callable[[float], None]) -> None:
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
            noticed(time.monotonic() - start)
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
        budget.spend([])  # as the pool does in every step
        budget.end_step()
    budget.spend(["two"])
    for _ in range(REFILL_STEPS - 1):
        budget.spend([])  # as the pool does in every step
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
