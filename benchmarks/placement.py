"""Who lands where: the shipped configurations on clusters of fake GPUs, as a table.

    python benchmarks/placement.py            8, 16 and 128 GPUs
    python benchmarks/placement.py 8 16

Real Ray and the code of a run, but Ray is told of GPUs that do not exist, and empty actors stand
for those of the run. On a node of 8 GPUs each. With 128 GPUs nothing but the reservation is made.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if __name__ == "__main__":
    # Ray workers must find the repository's packages, not those of this folder.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import launch.preflight  # isort: split

# Ray comes after launch.preflight, which keeps a local instance off the network.
import ray
from ray.cluster_utils import Cluster

from configs.load import load_config
from configs.schema import RunConfig
from launch.cluster import Places, place
from launch.placement import bundles, describe_need

ROOT = launch.preflight.ROOT
GPUS_OF_A_NODE = 8
MAX_ACTORS = 16
SERVER = [
    "rewards.terms.2.options={judge: rewards.judges.http:HttpJudge}",
    "rewards.terms.2.gpus=0",
]


class Empty:
    """Stands for an actor of a run."""

    def ping(self) -> None:
        """Answer once it is up."""


def layouts(num_gpus: int) -> list[tuple[str, RunConfig]]:
    """Return (title, configuration) of every shipped RL configuration and layout of that size."""
    half = num_gpus // 2
    configs = []
    for name in ("omni_3b", "omni_7b"):
        for judge, overrides in (("judge on a GPU", []), ("judge as a server", SERVER)):
            rest = num_gpus - (judge == "judge on a GPU")
            split = [f"learner.num_ranks={half}", f"rollout.num_engines={rest - half}"]
            pairs = [f"learner.num_ranks={rest}", f"rollout.num_engines={rest}"]
            pairs += ["rollout.colocate=true", "sync.transport=ipc"]
            for layout, sizes in (("split", split), ("colocated", pairs)):
                step = [f"train.prompts_per_step={max(10, rest)}"]
                path = ROOT / "configs" / f"{name}.yaml"
                config = load_config(path, [*overrides, *sizes, *step])
                configs.append((f"{name}, {layout}, {judge}", config))
    return configs


def start_all(places: Places) -> None:
    """Start an empty actor in every place and wait for all of them: none may stay pending."""
    judges = [options for listed in places.rewards.values() for options in listed]
    listed = [*places.learners, *places.engines, *judges]
    actors = [ray.remote(Empty).options(**options).remote() for options in listed]
    ray.get([actor.ping.remote() for actor in actors], timeout=300)
    for actor in actors:
        ray.kill(actor)


def summary(seats: list[str]) -> str:
    """Return `learner 0-3, engine 0-2` for the seats of a node."""
    numbers: dict[str, list[int]] = {}
    for seat in seats:
        role, _, index = seat.rpartition(" ")
        numbers.setdefault(role, []).append(int(index))
    return ", ".join(
        f"{role} {indices[0]}" + (f"-{indices[-1]}" if len(indices) > 1 else "")
        for role, indices in numbers.items()
    )


def run(num_gpus: int) -> None:
    """Place every layout on a cluster of that size and print where its actors are."""
    cluster = Cluster()
    for _ in range(num_gpus // GPUS_OF_A_NODE):
        cluster.add_node(num_cpus=32, num_gpus=GPUS_OF_A_NODE, include_dashboard=False)
    os.environ["RAY_ADDRESS"] = cluster.address
    ray.init(address=cluster.address, log_to_driver=False)
    for title, config in layouts(num_gpus):
        places = place(config)
        if num_gpus <= MAX_ACTORS:
            start_all(places)
        need = describe_need(bundles(config))
        print(f"\n{num_gpus} GPUs: {title}: {need}", flush=True)
        for number, seats in enumerate(places.nodes.values(), start=1):
            print(f"  node {number:2d}: {summary(seats)}", flush=True)
        ray.util.remove_placement_group(places.learners[0]["scheduling_strategy"].placement_group)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    for size in map(int, sys.argv[1:] or ("8", "16", "128")):
        run(size)
