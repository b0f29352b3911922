"""How the threads of a process on a CPU behave; set before it starts."""

from __future__ import annotations

SPIN_COUNT = 2000
"""Turns that a thread waits for the others before it sleeps. Everything here runs beside something
else on the same cores, and a thread that spins keeps the one it waits for from running: with
libgomp's own number (300,000), one busy process on two cores slowed a training step 50 times; with
this one 3 times, for 4 % on an idle machine (docs/performance.md)."""


def thread_environment(num_threads: int) -> dict[str, str]:
    """Return environment variables for a process that computes with so many threads.

    Args:
        num_threads: At least 1.
    """
    return {"OMP_NUM_THREADS": str(num_threads), "GOMP_SPINCOUNT": str(SPIN_COUNT)}
