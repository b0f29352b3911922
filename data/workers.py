"""Worker processes that do not outlive the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    """Yield what a function returns for each item, in order; one worker is this process."""
    if num_workers == 1:
        if initializer is not None:
            initializer(*initargs)
        yield from map(function, items)
        return
    with worker_pool(num_workers, initializer, *initargs) as pool:
        yield from pool.map(function, items, chunksize=8)


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
