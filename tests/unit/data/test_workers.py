"""Workers die with the process that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from data.workers import (
    CHUNK_ITEMS,
    CHUNKS_AHEAD,
    LOT_ITEMS,
    LOTS_AHEAD,
    thread_map,
    worker_map,
    worker_pool,
)

ROOT = Path(__file__).parents[3]

PARENT = """
import os, time
from data.workers import worker_pool
if __name__ == "__main__":
    pool = worker_pool(2)
    print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
    time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for yet is dead.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_no_worker_stays_behind_a_killed_parent(tmp_path: Path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert pids and all(map(is_alive, pids))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


def test_tasks_run_and_the_initializer_before_them():
    with worker_pool(2, os.putenv, "A_NAME", "x") as pool:
        assert list(pool.map(abs, [-1, 2, -3])) == [1, 2, 3]


def test_items_are_taken_as_results_are():
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(-1000, 0):
            taken += 1
            yield number

    results = worker_map(abs, items(), 2)
    assert next(results) == 1000
    assert taken <= 2 * CHUNKS_AHEAD * CHUNK_ITEMS
    assert list(results) == list(range(999, 0, -1))


def test_threads_get_lots_and_take_items_as_results_are():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield -number

    results = thread_map(abs, items(), 3)
    assert next(results) == 0
    assert len(taken) == 3 * LOTS_AHEAD * LOT_ITEMS
    assert list(results) == list(range(1, 10_000))
