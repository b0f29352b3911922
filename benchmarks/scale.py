#!/usr/bin/env python
"""How the parts of a step grow with the job: group, prompts, clips, tokens, ranks, engines, rows.

python benchmarks/scale.py [--quick] [--axes group prompts clip tokens ranks engines rows]
                           [--rounds 4] [--out runs/scale.jsonl] [key=value ...]

One size is changed at a time, from 8 prompts x 8 completions of 32 tokens on clips of 1.6 s. The
sizes that one set of actors can do take turns; other lengths of completions, ranks and engines
need actors of their own, which the middle size shares. Growth is the exponent k of t = a + b x^k,
fitted to the medians, with its range over fits to single rounds. With --out every round is a line
of JSON, which `benchmarks/simulate.py` reads. Rows of a manifest are `benchmarks/rows.py`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.options import Option, parse_options
from benchmarks.setup import tiny_run  # before Ray

# isort: split
import ray

from benchmarks.simulate import growth
from benchmarks.step import PARTS, Job
from benchmarks.timing import print_machine, print_table, spread
from data.files import append_row, read_appended
from launch.cluster import connect

OPTIONS = {
    "axes": Option(
        ("group", "prompts", "clip", "tokens", "ranks", "engines", "rows"),
        "what is changed",
        choices=("group", "prompts", "clip", "tokens", "ranks", "engines", "rows"),
    ),
    "rounds": Option(4, "rounds that count; 0 = only show what is in --out", quick=1),
    "out": Option("", "add every round to this JSON Lines file"),
}


class Size(NamedTuple):
    """A job."""

    group: int = 8
    prompts: int = 8
    clip: float = 1.6
    """Seconds."""
    tokens: int = 32
    """Of every completion."""
    ranks: int = 1
    engines: int = 1

    @property
    def actors(self) -> tuple[int, int, int]:
        """What actors are made for: with the same, they do both sizes."""
        return self.tokens, self.ranks, self.engines


SIZES: dict[str, Sequence[float]] = {
    "group": (4, 8, 16, 32),
    "prompts": (4, 8, 16, 32),
    "clip": (0.8, 1.6, 3.2, 6.4),
    "tokens": (16, 32, 64, 128),
    "ranks": (1, 2),
    "engines": (1, 2),
}
"""Axis -> the sizes that are measured."""

MIXED = (
    Size(group=16, prompts=4, clip=3.2, tokens=64),
    Size(group=8, prompts=16, clip=6.4, tokens=64),
)
"""For the simulator to predict: measured where the actors that they need are up."""


def sizes_of(axes: Sequence[str]) -> dict[tuple[int, int, int], list[Size]]:
    """Return the sizes of some axes, by the actors that they need; each holds the middle size."""
    by_actors: dict[tuple[int, int, int], list[Size]] = defaultdict(list)
    for axis in axes:
        for value in SIZES.get(axis, ()):
            size = Size()._replace(**{axis: value})
            if size not in by_actors[size.actors]:
                by_actors[size.actors].append(size)
    for size in MIXED:
        if size.actors in by_actors:
            by_actors[size.actors].append(size)
    return dict(by_actors)


def measure(
    sizes: Sequence[Size], rounds: int, overrides: Sequence[str]
) -> Iterator[dict[str, float]]:
    """Yield the figures of all rounds of all sizes, which take turns; two rounds do not count."""
    first = sizes[0]
    settings = [
        f"rollout.max_completion_tokens={first.tokens}",
        f"learner.num_ranks={first.ranks}",
        f"rollout.num_engines={first.engines}",
        "rollout.cpu_threads=2",
        *overrides,
    ]
    with tiny_run(*settings) as (config, builder):
        if not ray.is_initialized():
            connect(config)
        job = Job(config, builder)
        for number in range(-2, rounds):
            for size in sizes:
                prompts, group = size.prompts, size.group
                (row,) = job.run(size.clip, num_prompts=prompts, group_size=group)
                if number >= 0:
                    times = {f"{part}_s": row[f"time/{part}_s"] for part in (*PARTS, "step")}
                    extra = {"round": number, "prompt_tokens": row["prompt_tokens"]}
                    yield size._asdict() | extra | times
        job.close()


def print_axis(axis: str, rows: Sequence[dict[str, float]]) -> None:
    """Print the parts of a step by one size, and the growth of each."""
    others = Size()._asdict().keys() - {axis}
    chosen = [row for row in rows if all(row[name] == getattr(Size(), name) for name in others)]
    values = sorted({row[axis] for row in chosen})
    times = {
        part: [[row[f"{part}_s"] for row in chosen if row[axis] == value] for value in values]
        for part in (*PARTS, "step")
    }
    table = [
        [f"{value:g}", *(spread(times[part][i], digits=3) for part in times)]
        for i, value in enumerate(values)
    ]
    if len(values) > 2:
        exponents = []
        for of_part in times.values():
            middle = growth(values, [statistics.median(seconds) for seconds in of_part])
            single = [growth(values, once) for once in zip(*of_part, strict=False)]
            exponents.append(f"{middle:.2f} ({min(single):.2f} to {max(single):.2f})")
        table.append(["growth", *exponents])
    print_table([axis, *times], table)


parse = partial(parse_options, __doc__, OPTIONS)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    print_machine()
    rows: list[dict[str, float]] = []
    if parsed.rounds:
        for sizes in sizes_of(parsed.axes).values():
            for row in measure(sizes, parsed.rounds, parsed.overrides):
                rows.append(row)
                if parsed.out:
                    append_row(Path(parsed.out), row)
    else:
        rows = read_appended(Path(parsed.out))
    for axis in parsed.axes:
        if axis in SIZES:
            print_axis(axis, rows)
    if "rows" in parsed.axes:
        script = Path(__file__).with_name("rows.py")
        quick = ["--quick"] if parsed.quick else []
        subprocess.run([sys.executable, str(script), *quick], check=True)


if __name__ == "__main__":
    main()
