"""What a run says when an engine fails: which one, and why, without Ray's tracebacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import ray

from configs.schema import ModelConfig, RolloutConfig
from rollout.actors import wait_for_all
from rollout.engine import EngineSpec, RolloutError
from rollout.pool import EnginePool
from rollout.supervision import EngineLostError
from tests.unit.make_groups import make_group
from tests.unit.toy_engines import Caller, Engine

WAIT_S = 300.0
"""Far longer than any of these calls takes, on a busy machine too."""


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


@pytest.fixture
def make_pool() -> Iterator[Callable[..., EnginePool]]:
    """Return a function that makes a pool of engines that go these ways."""
    pools: list[EnginePool] = []

    def make(*ways: str) -> EnginePool:
        rollout = RolloutConfig(group_size=2, timeout_s=WAIT_S, max_engine_restarts=0)
        pool = EnginePool(
            EngineSpec(ModelConfig(path="none"), rollout, "host", "cpu", 0, 0, ()), []
        )
        pool.actors = [ray.remote(Engine).options(num_cpus=0).remote(way) for way in ways]
        pools.append(pool)
        return pool

    yield make
    for pool in pools:
        pool.close()


def test_an_engine_that_raises_is_named_with_its_reason_on_one_line(make_pool) -> None:
    pool = make_pool("works", "raises")
    with pytest.raises(RolloutError) as caught:
        pool.start()
    assert str(caught.value) == "start: engine 1: ValueError: one thing and another"


def test_an_engine_that_does_not_come_up_is_named_with_its_reason(make_pool) -> None:
    with pytest.raises(RolloutError) as caught:
        make_pool("works", "no start").start()
    message = "start: engine 1 did not come up: MemoryError: no room for the cache"
    assert str(caught.value) == message


def test_an_engine_that_dies_and_may_not_be_replaced_is_named(make_pool) -> None:
    pool = make_pool("dies")
    with pytest.raises(EngineLostError, match=r"^engine 0 died: .*actor died"):
        list(pool.generate([make_group([""]).prompt]))


def test_a_failure_of_the_actor_behind_an_actor_is_the_reason(make_pool) -> None:
    (engine,) = make_pool("raises").actors
    caller = ray.remote(Caller).options(num_cpus=0).remote()
    with pytest.raises(RuntimeError, match=r"^sync: rank 0: ValueError: one thing and another$"):
        wait_for_all([caller.ping.remote(engine)], "sync", "rank", WAIT_S, RuntimeError)


def test_an_actor_outlives_the_one_that_it_called(make_pool) -> None:
    (engine,) = make_pool("dies").actors
    caller = ray.remote(Caller).options(num_cpus=0).remote()
    # The rank did not die, but what it called.
    with pytest.raises(RuntimeError, match=r"^sync: rank 0: ActorDiedError: The actor died"):
        wait_for_all([caller.ping.remote(engine)], "sync", "rank", WAIT_S, RuntimeError)


def test_groups_come_from_all_engines_that_work(make_pool) -> None:
    prompts = [make_group([""], id=name).prompt for name in ("a", "b", "c")]
    groups = list(make_pool("works", "works").generate(prompts))
    assert sorted(group.index for group in groups) == [0, 1, 2]
