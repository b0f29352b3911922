"""Engines that fail while they sample ahead of the learner, with light actors in their place."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from data.records import Group
from tests.faults.engine_runs import MakeRun, tokens_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("cluster")]

LATER = tuple(f"later-{number}" for number in range(4))


@pytest.mark.fault(
    "an engine is killed while it samples one step and has been asked for the next",
    happens="replaced once; what it had not finished of both steps is sampled with the same seeds",
    lost="nothing",
)
@pytest.mark.parametrize("num_engines", [1, 2])
def test_killed_with_two_steps_ahead(make_run: MakeRun, num_engines: int) -> None:
    run = make_run(num_engines)
    expected, expected_later = run.expected(), tokens_of(run.generate(LATER, seed=4))
    hold = run.file("hold")
    victim = run.pids()[0]
    groups, later = run.generate(), run.generate(LATER, seed=4)
    got = tokens_of(iter([next(groups)]))
    os.kill(victim, signal.SIGKILL)
    hold.unlink()
    assert got | tokens_of(groups) == expected
    assert tokens_of(later) == expected_later
    assert run.pool.metrics() == {"perf/engine_restarts": 1, "rollout/left_out_prompts": 0}


@pytest.mark.fault(
    "an engine is killed while the learner updates and the engines sample the next step",
    happens="replaced after the update, and given the new weights: its completions say so",
    lost="nothing",
)
def test_killed_during_an_update(make_run: MakeRun) -> None:
    run = make_run(2)
    hold = run.file("hold")
    before = run.pids()
    groups = run.generate()
    got = [next(groups)]
    sampling = threading.Thread(target=lambda: got.extend(groups))
    with run.pool.updating(version=2):
        os.kill(before[0], signal.SIGKILL)
        sampling.start()
        while run.newest() in before:
            assert sampling.is_alive()
            time.sleep(0.05)
        assert run.sent == [2], "weights that change are not sent"
        run.weights = 102
    hold.unlink()
    sampling.join(60)
    assert len({group.index for group in got}) == 6
    assert run.sent == [2, 1]
    assert {version_of(group) for group in got} == {1, 2}
    run.sync(2)
    assert {version_of(group) for group in run.generate()} == {2}


@pytest.mark.fault(
    "an engine is killed while new weights come to engines that sample",
    happens="replaced once, by whoever sees it first; all go on with the new weights",
    lost="nothing",
)
def test_killed_while_weights_come(make_run: MakeRun) -> None:
    run = make_run(2, num_calls=3)
    hold = run.file("hold")
    before = run.pids()
    groups = run.generate()
    got = [next(groups)]
    sampling = threading.Thread(target=lambda: got.extend(groups))
    sampling.start()
    os.kill(before[0], signal.SIGKILL)
    run.sync(2)
    hold.unlink()
    sampling.join(60)
    assert len({group.index for group in got}) == 6
    assert len(set(run.pids()) - set(before)) == 1
    assert run.pool.metrics()["perf/engine_restarts"] == 1
    assert {version_of(group) for group in run.generate()} == {2}


def version_of(group: Group) -> int:
    (version,) = {completion.policy_version for completion in group.completions}
    return version
