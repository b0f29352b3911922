"""A map over a cluster: the order, what is under way, and what becomes of those that fail."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from configs.errors import UserError
from data.audio import AudioError
from launch.ray_map import CHUNK_ITEMS, CHUNKS_AHEAD, ray_map

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]

NUM_CPUS = 2
"""Of the cluster."""


def refuse_thirteen(number: int) -> int:
    if number == 13:
        raise AudioError("clip 13: not a sound")
    return -number


def note(folder: Path, line: str) -> None:
    with (folder / "notes").open("a") as file:
        file.write(f"{line}\n")


def notes(folder: Path) -> list[str]:
    return (folder / "notes").read_text().split()


def die_on_first_try(folder: Path) -> int:
    """End the worker like a crash in a library does, the first time."""
    note(folder, f"{os.getpid()}")
    if len(notes(folder)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def die_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse_node(root: str) -> None:
    raise UserError(f"no clips in {root}")


def length_with(text: str) -> int:
    return len(text) + int(os.environ["TEST_RAY_MAP"])


def set_number(folder: Path, number: str) -> None:
    note(folder, f"{os.getpid()}")
    os.environ["TEST_RAY_MAP"] = number


def test_results_come_in_order_and_items_are_taken_as_they_do():
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(-1000, 0):
            taken += 1
            yield number

    results = ray_map(abs, items(), 1)
    assert next(results) == 1000
    assert taken == NUM_CPUS * CHUNKS_AHEAD * CHUNK_ITEMS
    assert list(results) == list(range(999, 0, -1))


def test_what_the_function_raises_is_raised_here():
    results = ray_map(refuse_thirteen, range(100), 1)
    with pytest.raises(AudioError, match=r"^clip 13: not a sound$"):
        list(results)


def test_the_initializer_runs_once_in_a_worker(tmp_path: Path):
    texts = ["a" * (number % 5) for number in range(4 * CHUNK_ITEMS)]
    for number in ("10", "20"):
        found = list(ray_map(length_with, texts, 1, set_number, tmp_path, number))
        assert found == [len(text) + int(number) for text in texts]
    workers = notes(tmp_path)
    assert all(workers.count(worker) <= 2 for worker in workers)  # once in each of the two maps


def test_a_node_that_is_refused_is_named():
    with pytest.raises(UserError, match=r"^node \d+\.\d+\.\d+\.\d+: no clips in /corpora$"):
        list(ray_map(abs, range(100), 1, refuse_node, "/corpora"))


def test_a_worker_that_dies_costs_nothing(tmp_path: Path):
    assert list(ray_map(die_on_first_try, [tmp_path], 1)) == [7]
    assert len(notes(tmp_path)) == 2


def test_an_item_that_ends_every_worker_is_named():
    with pytest.raises(BrokenProcessPool, match=r"^3: every worker .* has died"):
        list(ray_map(die_on_three, range(5), 1))
