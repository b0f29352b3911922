"""A map over all nodes of a Ray cluster: what `data.workers.worker_map` is for one machine."""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from configs.errors import UserError
from data.workers import Item, Result
from launch.cluster import ClusterError, join
from rewards.foreign import one_line

CHUNK_ITEMS = 32
"""Items of one task: about half a second of measuring, beside which what a task costs is little."""

CHUNKS_AHEAD = 4
"""Chunks per CPU of the cluster that are under way: so many wait behind a slow one at most."""

MAX_RETRIES = 3
"""Times that Ray gives a chunk to another worker after one has died."""

logger = logging.getLogger(__name__)


@contextmanager
def joined_cluster() -> Iterator[None]:
    """Be a part of the cluster of `RAY_ADDRESS`; its work for us ends with the block.

    Raises:
        UserError: It cannot be joined, or has no CPUs.
        KeyboardInterrupt: Ctrl-C or SIGTERM came.
    """
    try:
        join()
    except ClusterError as error:
        raise UserError(f"ray: {error}") from error
    # Ray has taken SIGTERM, and would have lost its SystemExit while we wait for a result.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        num_nodes = sum(node["Alive"] for node in ray.nodes())
        logger.info(f"ray: {num_nodes} nodes with {_num_cpus()} CPUs")
        yield
    finally:
        ray.shutdown()


def ray_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    num_workers: int,
    initializer: Callable[..., None] | None = None,
    *initargs: Any,
) -> Iterator[Result]:
    """Yield what a function returns for each item, in order, whichever node computes it.

    Items are taken as results are, `CHUNKS_AHEAD` chunks per CPU ahead of them. A chunk whose
    worker or node died is computed elsewhere; one that has cost `MAX_RETRIES` more is taken apart,
    so that the item is named.

    Args:
        function: Of a module that the nodes can import.
        items: Sent to the nodes, and what they lead to has to be there.
        num_workers: Not used: as many as the cluster has CPUs.
        initializer: Called once in each worker process before its first item.
        initargs: Sent to each node once.

    Raises:
        UserError: The initializer refuses a node, which is named.
        BrokenProcessPool: An item has ended all workers that it was given to.
        Exception: Whatever the function raises.
    """
    setup = [ray.put((initializer, initargs))] if initializer else []
    compute = ray.remote(_map_chunk).options(num_cpus=1, max_retries=MAX_RETRIES)
    remaining = iter(items)
    under_way: deque[tuple[Any, list[Item]]] = deque()
    ahead = CHUNKS_AHEAD * _num_cpus()

    def oldest() -> list[Result]:
        ref, chunk = under_way.popleft()
        try:
            return _result(ref)
        except RayError:
            refs = [compute.remote(function, [item], setup) for item in chunk]
            return [_result_of_one(ref, item) for ref, item in zip(refs, chunk, strict=True)]

    while chunk := list(islice(remaining, CHUNK_ITEMS)):
        under_way.append((compute.remote(function, chunk, setup), chunk))
        if len(under_way) >= ahead:
            yield from oldest()
    while under_way:
        yield from oldest()


def _num_cpus() -> int:
    number = int(ray.cluster_resources().get("CPU", 0))
    if not number:
        raise UserError("ray: the cluster has no CPUs; start its nodes with `--num-cpus`")
    return number


def _result(ref: Any) -> Any:
    """Return what a task did, or raise what its function raised."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        raise error.cause from None


def _result_of_one(ref: Any, item: Any) -> Any:
    try:
        return _result(ref)[0]
    except RayError as error:
        reason = one_line(str(error).splitlines()[0])
        raise BrokenProcessPool(
            f"{item}: every worker that it was given to has died ({reason})"
        ) from error


_set_up = ""
"""In a worker process: what it was set up for last."""


def _map_chunk(
    function: Callable[[Item], Result], chunk: list[Item], setup: list[Any]
) -> list[Result]:
    global _set_up
    for ref in setup:
        if ref.hex() != _set_up:
            initializer, initargs = ray.get(ref)
            try:
                initializer(*initargs)
            except UserError as error:
                raise UserError(f"node {ray.util.get_node_ip_address()}: {error}") from None
            _set_up = ref.hex()
    return [function(item) for item in chunk]
