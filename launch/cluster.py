"""Starting a Ray of our own or joining a cluster, and what each actor takes from it."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import ray
from ray.exceptions import AuthenticationError
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import (
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from configs.schema import RunConfig
from launch.placement import Bundle, Seat, assign, bundles, describe_need, misfit
from launch.preflight import ROOT, in_ray_job, joins_cluster

logger = logging.getLogger(__name__)

PLACEMENT_TIMEOUT_S = 120.0
"""Longest wait for GPUs that exist but are taken; other runs may be about to end."""

LOSS_GRACE_S = 3.0
"""How long a run that failed looks for a lost node; its actors may end a moment before it does."""

ANSWER_TIMEOUT_S = 5.0
"""Longest wait for a node to take a connection."""


class ClusterError(RuntimeError):
    """No Ray to run on; the message says what to do."""


class NodeAddress(NamedTuple):
    """Where Ray on a node takes connections."""

    host: str
    port: int


SPIN_COUNT = "2000"
"""Turns of libgomp's waiting loop before a thread sleeps; its default is 300,000."""

KEPT_BYTES = str(2**32)
"""Freed memory that glibc keeps for the next tensor instead of returning it to the system."""


def connect(config: RunConfig, *, learns: bool = True) -> list[NodeAddress]:
    """Join the cluster of `RAY_ADDRESS` (set in every Ray job), or start Ray on this machine.

    A local instance has no dashboard, needs its token, and listens on 127.0.0.1 alone if
    `launch.preflight` was imported before Ray. Workers find the repository on their path; in a job
    it is the working directory. Logs of the actors stay in Ray's session folder. Ray takes over
    SIGTERM here, and raises SystemExit at it: see `StopRequest.lent`. A local Ray is in process
    groups of its own.

    Args:
        learns: Whether it trains; an evaluation needs GPUs for its engines and judges alone.

    Returns:
        The nodes that are up, this one first.

    Raises:
        ClusterError: The cluster cannot be reached, refuses us, or has too few GPUs.
    """
    if in_ray_job() or joins_cluster():
        join()
    else:
        _start(config)
    nodes = _nodes()
    gpus_of_nodes = [int(node["Resources"].get("GPU", 0)) for node in nodes]
    needed = [] if config.device == "cpu" else bundles(config, learns=learns)
    reason = misfit(needed, gpus_of_nodes)
    if reason:
        ray.shutdown()
        raise ClusterError(
            f"{reason}. Lower learner.num_ranks, rollout.num_engines, rollout.tensor_parallel or "
            "the gpus of reward terms or of the judge, or wait until all nodes have joined"
        )
    for line in local_urls(config) if len(nodes) > 1 else ():
        logger.warning(f"{line}")
    return [_address(node) for node in nodes]


def describe_lost_nodes(nodes: Sequence[NodeAddress]) -> str:
    """Say which nodes are gone: what the failure of a run most likely comes from.

    They are asked here, because Ray takes 15 s (Ray was killed) to a minute (the network is cut) to
    call a node dead, and till then its actors are "unavailable" only.

    Returns:
        A sentence for each with the reason, and a space behind it; empty if all of them answer.
    """
    deadline = time.monotonic() + LOSS_GRACE_S
    lost: list[str] = []
    while len(nodes) > 1 and not lost and time.monotonic() < deadline:
        time.sleep(0.5)
        lost = [sentence for node in nodes if (sentence := _absence(node))]
    return "".join(lost)


def _absence(node: NodeAddress) -> str:
    """Return a sentence, with a space behind it, if a node takes no connection; else nothing."""
    try:
        socket.create_connection(node, ANSWER_TIMEOUT_S).close()
    except OSError as error:
        return f"The node {node.host} is gone (Ray's port {node.port}: {error}). "
    return ""


def local_urls(config: RunConfig) -> Iterator[str]:
    """Yield a line for each judge whose server is looked for on whatever node its worker is on."""
    for index, term in enumerate(config.rewards.terms):
        url = str(term.options.get("judge_options", {}).get("url", ""))
        if urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1"):
            yield (
                f"rewards.terms.{index}.options.judge_options.url: {url} is another server on "
                "every node, and its worker may be on any; give an address that all nodes reach"
            )


def _nodes() -> list[dict[str, Any]]:
    """Return the nodes that are up, this one first.

    Those that Ray lists and that do not answer have died a moment ago, and nothing can be placed
    there: the command that goes on after the loss of a node comes before Ray knows of it.
    """
    here = ray.get_runtime_context().get_node_id()
    up: list[dict[str, Any]] = []
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        absence = _absence(_address(node)) if node["NodeID"] != here else ""
        if absence:
            logger.warning(f"{absence}Nothing is placed there.")
        else:
            up.append(node)
    return sorted(up, key=lambda node: (node["NodeID"] != here, node["NodeManagerAddress"]))


def _address(node: dict[str, Any]) -> NodeAddress:
    return NodeAddress(node["NodeManagerAddress"], node["NodeManagerPort"])


_in_groups_of_their_own = False
"""Whether processes that are forked leave this one's group."""


def _leave_group() -> None:
    if _in_groups_of_their_own:
        os.setpgrp()


# Called in children that run Python before they become another program, as Ray's do.
os.register_at_fork(after_in_child=_leave_group)


@contextmanager
def own_groups() -> Iterator[None]:
    """Put processes that Ray starts meanwhile in process groups of their own.

    A terminal (Ctrl-C), GNU `timeout` and some schedulers signal the whole group of a command. That
    asks this process to save and leave, for which it needs Ray; Ray's daemons end at a SIGTERM, and
    with them the actors. They still end with this process, however it ends: the kernel sees to it.
    """
    global _in_groups_of_their_own
    _in_groups_of_their_own = True
    try:
        yield
    finally:
        _in_groups_of_their_own = False


def _options() -> dict[str, Any]:
    """Return how Ray is quiet, and where workers find our modules: a job brings them along."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if in_ray_job():
        return quiet
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return {**quiet, "runtime_env": {"env_vars": {"PYTHONPATH": path}}}


def _start(config: RunConfig) -> None:
    token = Path.home() / ".ray" / "auth_token"
    is_new = not token.exists()
    num_gpus = {"num_gpus": 0} if config.device == "cpu" else {}
    with own_groups():
        ray.init(address="local", include_dashboard=False, **num_gpus, **_options())
    if is_new and token.exists():
        # Ray has just made it, with the default mode of new files.
        token.chmod(0o600)


def join() -> None:
    """Join the cluster of `RAY_ADDRESS`.

    Raises:
        ClusterError: It cannot be reached, or refuses us.
    """
    address = os.environ["RAY_ADDRESS"]
    if "://" in address:
        raise ClusterError(
            f"RAY_ADDRESS is {address}, which takes jobs: use `ray job submit --working-dir . -- "
            "python launch/...`, or unset it to run on this machine"
        )
    try:
        ray.init(address="auto", **_options())
    except (ConnectionError, AuthenticationError) as error:
        mode = os.environ.get("RAY_AUTH_MODE", "not set")
        raise ClusterError(
            f"no connection to the Ray cluster at {address}: {error}\n"
            f"RAY_AUTH_MODE is {mode}. `ray start` turns token authentication on by itself: "
            "`export RAY_AUTH_MODE=token` here too, with the cluster's token in ~/.ray/auth_token "
            "or RAY_AUTH_TOKEN_PATH. If it is set, check that the cluster runs."
        ) from error


def _names(nodes: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return node id -> address, with a part of the id where several nodes have one address."""
    counts = Counter(node["NodeManagerAddress"] for node in nodes)
    return {
        node["NodeID"]: node["NodeManagerAddress"]
        + (f" ({node['NodeID'][:8]})" if counts[node["NodeManagerAddress"]] > 1 else "")
        for node in nodes
    }


class Places(NamedTuple):
    """The Ray options of a run's actors: what they claim, and where they go."""

    learners: list[dict[str, Any]]
    """Of each rank."""
    engines: list[dict[str, Any]]
    rewards: dict[str, list[dict[str, Any]]]
    """Reward term -> options of each worker; terms without GPUs are left out and go anywhere."""
    nodes: dict[str, list[str]]
    """Name of a node -> what is there, such as `learner 0`."""
    group: PlacementGroup | None = None
    """What is reserved; None on a CPU."""

    def describe(self) -> str:
        """Return what is on each node, in one line."""
        return "; ".join(f"{node}: {', '.join(seats)}" for node, seats in self.nodes.items())

    def release(self) -> None:
        """Give the reserved GPUs back, for the next part of the run; ends who is still there."""
        if self.group is not None:
            remove_placement_group(self.group)


def place(config: RunConfig, *, learns: bool = True) -> Places:
    """Reserve the GPUs of a run, all or none, and say which actor takes which.

    Raises:
        ClusterError: The GPUs exist, but others have them, or their node has just died.
    """
    needed = bundles(config, learns=learns)
    if config.device == "cpu":
        return _cpu_places(config, [seat for bundle in needed for seat in bundle.seats])
    if not needed:
        return Places([], [], {}, {})
    group = _reserve(needed)
    node_of = placement_group_table(group)["bundles_to_node_id"]
    names = _names(_nodes())
    if not names.keys() >= set(node_of.values()):
        remove_placement_group(group)
        raise ClusterError(
            "Ray has reserved GPUs on a node that is gone and that it has not given up yet; run "
            "the same command again once `ray status` does not list it any more"
        )
    places = Places([], [], {}, {}, group)
    for bundle, reserved in zip(needed, assign(needed, list(node_of.values())), strict=True):
        where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=reserved)
        node = names[node_of[reserved]]
        for seat in bundle.seats:
            options = {"num_cpus": 1, "num_gpus": seat.gpus, "scheduling_strategy": where}
            _add(places, seat, options, node)
    return places


def _add(places: Places, seat: Seat, options: dict[str, Any], node: str) -> None:
    if seat.role in ("learner", "engine"):
        (places.learners if seat.role == "learner" else places.engines).append(options)
    else:
        places.rewards.setdefault(seat.role, []).append(options)
    places.nodes.setdefault(node, []).append(f"{seat.role} {seat.index}")


def _reserve(needed: list[Bundle]) -> PlacementGroup:
    sizes = [{"GPU": bundle.gpus, "CPU": len(bundle.seats)} for bundle in needed]
    group = placement_group(sizes, strategy="PACK")
    if not group.wait(PLACEMENT_TIMEOUT_S):
        remove_placement_group(group)
        free = ray.available_resources()
        num_cpus = sum(len(bundle.seats) for bundle in needed)
        raise ClusterError(
            f"the run takes {describe_need(needed)} and {num_cpus} CPUs, but Ray could not reserve "
            f"them together in {PLACEMENT_TIMEOUT_S:g} s: {free.get('GPU', 0):g} GPUs and "
            f"{free.get('CPU', 0):g} CPUs are free. Another run has the rest, or what is free lies "
            "in pieces over the nodes; see `ray status`"
        )
    return group


def thread_environment(num_threads: int) -> dict[str, str]:
    """Return the environment of an actor that computes with threads on cores that others use too.

    A thread that waits for another of its process sleeps early: one that goes on looking keeps the
    other off the core (docs/performance.md). Who has chosen how threads wait is not overruled.

    Memory of tensors stays with the process. By default glibc returns what is freed at the end of
    the heap and maps large tensors anew each time, and the system clears every page again.
    """
    variables = {"OMP_NUM_THREADS": str(num_threads)}
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        variables[name] = os.environ.get(name, KEPT_BYTES)
    if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        variables["GOMP_SPINCOUNT"] = SPIN_COUNT
    return variables


def _cpu_places(config: RunConfig, seats: list[Seat]) -> Places:
    """Deal the actors out over the nodes in turn, ranks first.

    On one node learner and engines take turns on the same cores, so they claim none; threads are
    bounded.
    """
    nodes = _nodes()
    names = _names(nodes)
    threads = {"learner": config.learner.cpu_threads, "engine": config.rollout.cpu_threads}
    places = Places([], [], {}, {})
    for turn, seat in enumerate(seat for seat in seats if seat.role in threads):
        node = nodes[turn % len(nodes)]
        options: dict[str, Any] = {
            "num_cpus": 0,
            "runtime_env": {"env_vars": thread_environment(threads[seat.role])},
        }
        if len(nodes) > 1:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options["scheduling_strategy"] = where
        _add(places, seat, options, names[node["NodeID"]])
    return places
