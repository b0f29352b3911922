"""Worker processes that do not outlive the process that started them, and threads."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK_ITEMS = 8
"""Items that go to a worker at once."""

CHUNKS_AHEAD = 16
"""Chunks per worker that are under way: more items than these are not taken yet, so that neither
they nor their results pile up, and a kill loses no more work than this."""


LOT_ITEMS, LOTS_AHEAD = 16, 4
"""Items that a thread is given at once, and lots per thread that are under way: to hand over each
item alone takes a quarter as long as reading a short file.
"""


class WorkerMap(Protocol):
    """What `worker_map` is, and a map over a cluster (`launch.ray_map`) as well."""

    def __call__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        num_workers: int,
        initializer: Callable[..., None] | None = None,
        *initargs: Any,
    ) -> Iterator[Result]:
        """Yield what a function returns for each item, in order."""
        ...


def worker_pool(
    num_workers: int, initializer: Callable[..., None] | None = None, *initargs: Any
) -> ProcessPoolExecutor:
    """Return a pool of spawned processes; none stays behind if this process is killed.

    Spawned, since a fork of a process with threads may deadlock.
    """
    return ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(initializer, initargs),
    )


def worker_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    num_workers: int,
    initializer: Callable[..., None] | None = None,
    *initargs: Any,
) -> Iterator[Result]:
    """Yield what a function returns for each item, in order; one worker is this process.

    Items are taken as results are, `CHUNKS_AHEAD` chunks per worker ahead of them.
    """
    if num_workers == 1:
        if initializer is not None:
            initializer(*initargs)
        yield from map(function, items)
        return
    with worker_pool(num_workers, initializer, *initargs) as pool:
        remaining = iter(items)
        under_way: deque[Future[list[Result]]] = deque()
        while chunk := list(islice(remaining, CHUNK_ITEMS)):
            under_way.append(pool.submit(_map_chunk, function, chunk))
            if len(under_way) >= CHUNKS_AHEAD * num_workers:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


def thread_map(
    function: Callable[[Item], Result], items: Iterable[Item], num_threads: int
) -> Iterator[Result]:
    """Yield what a function returns for each item, in order, by threads of this process.

    Items are taken as results are, `LOTS_AHEAD` lots per thread ahead of them.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(num_threads) as pool:
        under_way: deque[Future[list[Result]]] = deque()
        while lot := list(islice(remaining, LOT_ITEMS)):
            under_way.append(pool.submit(_map_chunk, function, lot))
            if len(under_way) >= LOTS_AHEAD * num_threads:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()


def _map_chunk(function: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [function(item) for item in chunk]


def _start(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """In a worker: die with the parent, whose queue would else be waited on for ever."""
    threading.Thread(target=_follow_parent, daemon=True, name="parent").start()
    if initializer is not None:
        initializer(*initargs)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
