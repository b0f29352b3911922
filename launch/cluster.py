"""Starting a Ray of our own or joining a cluster, and what each actor takes from it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from configs.schema import RunConfig
from launch.preflight import ROOT, in_ray_job, joins_cluster, num_gpus_needed

LEARNER_SHARE = 0.6
"""Share of a GPU that a learner rank claims when an engine lives beside it. Above one half, so that
ranks never meet on a GPU, and engines that start later find exactly one place on each."""


class ClusterError(RuntimeError):
    """No Ray to run on; the message says what to do."""


def connect(config: RunConfig, *, learns: bool = True) -> None:
    """Join the cluster of `RAY_ADDRESS` (set in every Ray job), or start Ray on this machine.

    A local instance has no dashboard, needs its token, and listens on 127.0.0.1 alone if
    `launch.preflight` was imported before Ray. Workers find the repository on their path; in a job
    it is the working directory. Logs of the actors stay in Ray's session folder. Ray takes over
    SIGTERM here: install your own handler afterwards.

    Args:
        config: The run; it says how many GPUs are needed.
        learns: Whether it trains; an evaluation needs GPUs for its engines and judges alone.

    Raises:
        ClusterError: The cluster cannot be reached, refuses us, or has too few GPUs.
    """
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if in_ray_job():
        _join(quiet)
    else:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        workers = {"env_vars": {"PYTHONPATH": path}}
        if joins_cluster():
            _join({**quiet, "runtime_env": workers})
        else:
            _start(config, {**quiet, "runtime_env": workers})
    needed = num_gpus_needed(config, learns=learns)
    found = int(ray.cluster_resources().get("GPU", 0))
    if found < needed:
        ray.shutdown()
        raise ClusterError(
            f"Ray has {found} GPUs, but learner ranks, engines and reward workers take {needed}: "
            "lower learner.num_ranks and rollout.num_engines, or wait until all nodes have joined"
        )


def _start(config: RunConfig, options: dict[str, Any]) -> None:
    token = Path.home() / ".ray" / "auth_token"
    is_new = not token.exists()
    num_gpus = {"num_gpus": 0} if config.device == "cpu" else {}
    ray.init(address="local", include_dashboard=False, **num_gpus, **options)
    if is_new and token.exists():
        # Ray has just made it, with the default mode of new files.
        token.chmod(0o600)


def _join(options: dict[str, Any]) -> None:
    address = os.environ["RAY_ADDRESS"]
    if "://" in address:
        raise ClusterError(
            f"RAY_ADDRESS is {address}, which takes jobs: use `ray job submit --working-dir . -- "
            "python launch/...`, or unset it to run on this machine"
        )
    try:
        ray.init(address="auto", **options)
    except (ConnectionError, AuthenticationError) as error:
        mode = os.environ.get("RAY_AUTH_MODE", "not set")
        raise ClusterError(
            f"no connection to the Ray cluster at {address}: {error}\n"
            f"RAY_AUTH_MODE is {mode}. `ray start` turns token authentication on by itself: "
            "`export RAY_AUTH_MODE=token` here too, with the cluster's token in ~/.ray/auth_token "
            "or RAY_AUTH_TOKEN_PATH. If it is set, check that the cluster runs."
        ) from error


def learner_options(config: RunConfig) -> list[dict[str, Any]]:
    """Return the Ray options of each learner rank's actor.

    Start the ranks before the engines: see `LEARNER_SHARE`.
    """
    if config.device == "cpu":
        return [_cpu_options(config.learner.cpu_threads) for _ in range(config.learner.num_ranks)]
    share = LEARNER_SHARE if config.rollout.colocate else 1
    return [{"num_cpus": 1, "num_gpus": share} for _ in range(config.learner.num_ranks)]


def engine_options(config: RunConfig) -> list[dict[str, Any]]:
    """Return the Ray options of each engine's actor."""
    rollout = config.rollout
    if config.device == "cpu":
        return [_cpu_options(rollout.cpu_threads) for _ in range(rollout.num_engines)]
    share = round(1 - LEARNER_SHARE, 3) if rollout.colocate else rollout.tensor_parallel
    return [{"num_cpus": 1, "num_gpus": share} for _ in range(rollout.num_engines)]


def _cpu_options(num_threads: int) -> dict[str, Any]:
    """Learner and engines take turns on the same cores, so they claim none; threads are bounded."""
    return {"num_cpus": 0, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(num_threads)}}}
