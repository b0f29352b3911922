"""Shipped configurations on clusters of fake GPUs: real Ray, the code of a run, empty actors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

import launch.cluster
from configs.load import load_config
from configs.schema import RunConfig
from launch.cluster import ClusterError, Places, connect, place
from launch.preflight import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

COLOCATED = ["rollout.colocate=true", "sync.transport=ipc"]
SERVER = [
    "rewards.terms.2.options={judge: rewards.judges.http:HttpJudge}",
    "rewards.terms.2.gpus=0",
]


class Probe:
    """Stands for an actor of a run; tells where it is."""

    def where(self) -> tuple[str, tuple[str, ...]]:
        context = ray.get_runtime_context()
        return context.get_node_id(), tuple(context.get_accelerator_ids()["GPU"])


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[None]:
    """Run a cluster of two nodes of 4 GPUs each, and of 16 CPUs."""
    with pytest.MonkeyPatch.context() as patch:
        cluster = Cluster()
        for _ in range(2):
            cluster.add_node(num_cpus=16, num_gpus=4, include_dashboard=False)
        patch.setenv("RAY_ADDRESS", cluster.address)
        ray.init(address=cluster.address, log_to_driver=False)
        yield
        ray.shutdown()
        cluster.shutdown()


def config_of(name: str, *overrides: str) -> RunConfig:
    return load_config(ROOT / "configs" / f"{name}.yaml", overrides)


def start(places: Places) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    """Start an empty actor in every place; return where each of them is."""
    roles = {"learner": places.learners, "engine": places.engines, **places.rewards}
    actors = {
        role: [ray.remote(Probe).options(**options).remote() for options in listed]
        for role, listed in roles.items()
    }
    calls = {role: [actor.where.remote() for actor in listed] for role, listed in actors.items()}
    found = {role: ray.get(refs, timeout=480) for role, refs in calls.items()}
    for actor in (actor for listed in actors.values() for actor in listed):
        ray.kill(actor)
    return found


def taken(found: dict[str, list[Any]]) -> Counter[tuple[str, str]]:
    """(node, GPU) -> actors there."""
    return Counter(
        (node, gpu) for places in found.values() for node, gpus in places for gpu in gpus
    )


@pytest.mark.parametrize("name", ["omni_3b", "omni_7b"])
def test_a_split_run_has_every_gpu_to_itself(two_nodes: None, name: str) -> None:
    layout = ["learner.num_ranks=4", "rollout.num_engines=3", "train.prompts_per_step=16"]
    places = place(config_of(name, *layout))
    found = start(places)
    places.release()
    assert {role: len(where) for role, where in found.items()} == {
        "learner": 4,
        "engine": 3,
        "reasoning": 1,
    }
    assert set(taken(found).values()) == {1} and len(taken(found)) == 8
    # Both nodes have the address of this machine, and are told apart all the same.
    assert sorted(map(len, places.nodes.values())) == [4, 4]
    # The ranks, which speak at every layer, fill one node; the rest has the other.
    assert len({node for node, _ in found["learner"]}) == 1


def test_tensor_parallel_engines_lie_on_one_node(two_nodes: None) -> None:
    layout = ["learner.num_ranks=3", "rollout.tensor_parallel=2", "rollout.num_engines=2"]
    places = place(config_of("omni_7b", *layout))
    found = start(places)
    places.release()
    assert [len(gpus) for _, gpus in found["engine"]] == [2, 2]
    assert set(taken(found).values()) == {1} and len(taken(found)) == 3 + 4 + 1


def test_colocated_pairs_share_a_gpu_whoever_starts_first(two_nodes: None) -> None:
    layout = ["learner.num_ranks=6", "rollout.num_engines=6", "train.prompts_per_step=12"]
    places = place(config_of("omni_7b", *COLOCATED, *layout))
    engines = start(Places([], places.engines, {}, {}))["engine"]
    found = start(places)
    places.release()
    assert found["learner"] == found["engine"] == engines
    assert set(taken({"learner": found["learner"]}).values()) == {1}
    assert found["reasoning"][0] not in found["learner"]


def test_a_judge_that_is_a_server_takes_no_gpu(two_nodes: None) -> None:
    places = place(config_of("omni_7b", *SERVER))
    assert places.rewards == {}
    assert sum(len(seats) for seats in places.nodes.values()) == 7
    places.release()


def test_the_judge_of_a_judge_run_takes_a_gpu_that_its_learner_had(two_nodes: None) -> None:
    config = config_of("omni_judge", "learner.num_ranks=8")
    learners = place(config)
    every = taken(start(learners))
    assert len(every) == 8
    learners.release()
    places = place(config, learns=False)
    (gpu,) = taken(start(places))
    places.release()
    assert list(places.rewards) == ["judge"] and gpu in every


def test_a_run_larger_than_the_cluster_is_refused_by_its_sum(two_nodes: None) -> None:
    layout = ["learner.num_ranks=5", "rollout.num_engines=5"]
    ray.shutdown()
    with pytest.raises(ClusterError, match=r"5 x learner \+ 5 x engine .* = 11 GPUs, and there"):
        connect(config_of("omni_7b", *layout))
    assert not ray.is_initialized()
    ray.init(address="auto", log_to_driver=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch.cluster, "PLACEMENT_TIMEOUT_S", 2.0)


def test_gpus_of_another_run_are_waited_for_and_not_taken(two_nodes: None, impatient: None) -> None:
    first = place(config_of("omni_7b", "learner.num_ranks=1"))
    with pytest.raises(ClusterError, match=r"= 8 GPUs and 8 CPUs.* in 2 s: 3 GPUs and"):
        place(config_of("omni_7b"))
    first.release()
