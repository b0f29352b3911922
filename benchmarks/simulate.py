#!/usr/bin/env python
"""What a step would take: on more GPUs than there were, or at sizes that were not run.

python benchmarks/simulate.py --what gpus [--models 3b 7b] [--gpus 8 64 512] [--prompts 10 64 512]
python benchmarks/simulate.py --what fit --points runs/scale.jsonl
python benchmarks/simulate.py --what run --metrics METRICS.jsonl [--measured METRICS.jsonl]

`gpus`: `benchmarks/hardware.py`'s constants, of which few are measured, at 3B and 7B.
`fit`: laws of the parts of a step, fitted to a part of what `benchmarks/scale.py` wrote, against
the rest of it.
`run`: a synchronous run's own times, pipelined; `--measured` is where the metrics of a run with
`async.max_staleness` go, which are then compared.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

# Instead of this folder, whose modules are named like our packages.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from numpy.typing import NDArray

from benchmarks.options import Option, parse_options
from benchmarks.timing import print_table

Row = Mapping[str, float]

OPTIONS = {
    "what": Option(("gpus",), "what is simulated", choices=("gpus", "fit", "run")),
    "models": Option(("3b", "7b"), "sizes", choices=("3b", "7b")),
    "gpus": Option((8, 64, 512), "numbers of GPUs"),
    "prompts": Option((10, 64, 512), "prompts per step"),
    "points": Option("", "JSON Lines of benchmarks/scale.py"),
    "metrics": Option("", "metrics.jsonl of a synchronous run"),
    "measured": Option("", "metrics.jsonl of the same run with async.max_staleness"),
}


class Stages(NamedTuple):
    """Seconds of the parts of one step."""

    rollout: float
    """Until the last completion."""
    tail: float
    """From there until the last score."""
    update: float
    """With everything that the learner does before and after on its own GPUs."""
    sync: float
    """Engines and learner are both held up by it."""


def step_seconds(steps: Sequence[Stages], staleness: int) -> float:
    """Return the mean seconds of a step, engines and learner on machines of their own.

    The rollouts of step k wait for the weights of step k - 1 - staleness, then for those of the
    step before; its update waits for its last score and for the update before. A sync stops both.

    Args:
        steps: One after another; the more, the less the start counts.
        staleness: `async.max_staleness`; 0 = generation and update take turns.
    """
    synced: list[float] = []
    num_taken = 0
    engines = learner = 0.0
    for number, step in enumerate(steps):
        needed = number - 1 - staleness
        start = max(engines, synced[needed] if needed >= 0 else 0.0)
        engines = start + step.rollout
        # What of every sync falls into these rollouts holds them up.
        while num_taken < number and synced[num_taken] - steps[num_taken].sync < engines:
            begin = synced[num_taken] - steps[num_taken].sync
            engines += max(0.0, synced[num_taken] - max(begin, start))
            num_taken += 1
        learner = max(engines + step.tail, learner) + step.update + step.sync
        synced.append(learner)
    return synced[-1] / len(steps)


def shared_bounds(steps: Sequence[Stages], staleness: int) -> tuple[float, float]:
    """Return the seconds of a step on cores that engines and learner share: at best, at worst.

    At best each leaves idle what the other needs; at worst both always fill all cores, so that
    nothing is gained but the tail of the scores, which takes no cores.
    """
    worst = statistics.fmean(s.rollout + s.update + s.sync for s in steps)
    if not staleness:
        worst += statistics.fmean(s.tail for s in steps)
    return step_seconds(steps, staleness), max(worst, step_seconds(steps, staleness))


def decode_seconds(lengths: Sequence[int], token_step: Callable[[int], float]) -> float:
    """Return the seconds in which one engine decodes completions that start together.

    Args:
        lengths: Tokens of each.
        token_step: Completions that are still being decoded -> seconds of one token of each.
    """
    ends = sorted(lengths)
    seconds, before = 0.0, 0
    for done, end in enumerate(ends):
        if end > before:
            seconds += (end - before) * token_step(len(ends) - done)
            before = end
    return seconds


def growth(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return k of seconds ~ size^k: the slope of a line through the logarithms."""
    x, y = np.log(np.asarray(sizes)), np.log(np.asarray(seconds))
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())


TERMS: dict[str, Callable[[Row], list[float]]] = {
    "data": lambda r: [1.0, r["prompts"], r["prompts"] * r["clip"]],
    "rollout": lambda r: [
        1.0,
        r["tokens"],
        r["tokens"] * r["prompts"] * r["group"],
        r["prompts"] * r["prompt_tokens"],
    ],
    "reward": lambda r: [1.0, r["prompts"] * r["group"]],
    "update": lambda r: [
        1.0,
        r["prompts"] * r["prompt_tokens"],
        r["prompts"] * r["group"] * r["tokens"],
        r["prompts"] * r["group"] * r["tokens"] * (r["prompt_tokens"] + r["tokens"] / 2),
    ],
    "sync": lambda r: [1.0],
}
"""Part of a step -> what its seconds are a sum of, each times a coefficient that is fitted:
token steps, tokens, completions, prompts, and the pairs of attention."""


class Law(NamedTuple):
    """How the seconds of a part follow from the size of a job."""

    terms: Callable[[Row], list[float]]
    coefficients: NDArray[np.float64]

    def __call__(self, row: Row) -> float:
        """Return the seconds at a size."""
        return float(np.dot(self.terms(row), self.coefficients))


def fit(rows: Sequence[Row], part: str) -> Law:
    """Return the law of a part with the least relative errors; no coefficient is negative."""
    terms = TERMS[part]
    seconds = np.array([row[f"{part}_s"] for row in rows])
    matrix = np.array([terms(row) for row in rows]) / seconds[:, None]
    scale = np.abs(matrix).max(axis=0)
    used = list(range(matrix.shape[1]))
    while True:
        scaled = np.linalg.lstsq(matrix[:, used] / scale[used], np.ones(len(rows)), rcond=None)[0]
        if (scaled >= 0).all() or len(used) == 1:
            break
        used.pop(int(scaled.argmin()))
    coefficients = np.zeros(matrix.shape[1])
    coefficients[used] = scaled / scale[used]
    return Law(terms, coefficients)


def medians(rows: Sequence[Row]) -> list[dict[str, float]]:
    """Return one row a size: the medians of its rounds."""
    sizes: dict[tuple[float, ...], list[Row]] = {}
    names = ("group", "prompts", "clip", "tokens", "ranks", "engines")
    for row in rows:
        sizes.setdefault(tuple(row[name] for name in names), []).append(row)
    return [
        {name: statistics.median(row[name] for row in some) for name in some[0]}
        for some in sizes.values()
    ]


def print_fit(rows: Sequence[Row]) -> None:
    """Fit the laws to the smaller sizes of each axis, and print how far they are off beyond."""
    alone = [row for row in medians(rows) if row["ranks"] == row["engines"] == 1]
    axes = ("group", "prompts", "clip", "tokens")
    middle = {axis: statistics.mode(row[axis] for row in alone) for axis in axes}
    largest = {axis: max(row[axis] for row in alone) for axis in axes}
    # The largest of each axis, and what differs from the middle in more than one way.
    held = [
        row
        for row in alone
        if any(row[axis] == largest[axis] != middle[axis] for axis in axes)
        or sum(row[axis] != middle[axis] for axis in axes) > 1
    ]
    fit_rows = [row for row in alone if row not in held]
    laws = {part: fit(fit_rows, part) for part in TERMS}
    print(f"fitted to {len(fit_rows)} sizes, predicted and measured at {len(held)} others\n")
    table, errors = [], []
    for row in held:
        parts = {part: (law(row), row[f"{part}_s"]) for part, law in laws.items()}
        whole = sum(predicted for predicted, _ in parts.values())
        errors.append(whole / row["step_s"] - 1)
        job = f"{row['prompts']:g} x {row['group']:g} x {row['tokens']:g}, {row['clip']:g} s"
        shown = [f"{mine:.2f} / {seen:.2f}" for mine, seen in parts.values()]
        table.append([job, *shown, f"{whole:.2f} / {row['step_s']:.2f}", f"{errors[-1]:+.0%}"])
    print_table(["job", *TERMS, "step", "error"], table)
    sizes = sorted(abs(error) for error in errors)
    print(f"error of the step: median {statistics.median(sizes):.0%}, largest {sizes[-1]:.0%}")


def stages_of(row: Row) -> Stages:
    """Return the parts of a step of a run, from its line of metrics; evaluations are left out."""
    get = partial(row.get)
    update = row["time/update_s"] + get("time/data_s", 0.0)
    return Stages(row["time/rollout_s"], get("time/reward_s", 0.0), update, row["time/sync_s"])


def read_steps(path: str) -> list[dict[str, float]]:
    """Return the lines of metrics that are of a step, without the first three."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if "time/rollout_s" in row][3:]


def print_run(metrics: str, measured: str) -> None:
    """Print what pipelining would make of a run, and what it did make of it, if that is known."""
    rows = read_steps(metrics)
    steps = [stages_of(row) for row in rows]
    table = []
    for staleness in (0, 1, 2):
        best, worst = shared_bounds(steps, staleness)
        table.append([f"{staleness}", f"{best:.3f}", f"{worst:.3f}"])
    print(f"{metrics}: {len(steps)} steps, simulated seconds of a step\n")
    print_table(["max_staleness", "machines of their own", "shared cores, at worst"], table)
    seen = {metrics: rows} | ({measured: read_steps(measured)} if measured else {})
    for path, lines in seen.items():
        seconds = [row["time/step_s"] - row.get("time/eval_s", 0.0) for row in lines]
        print(f"measured, {path}: {statistics.fmean(seconds):.3f} s a step")


def mean_stages(one: Sequence[Stages]) -> Stages:
    """Return the means of all parts."""
    return Stages(*(math.fsum(values) / len(one) for values in zip(*one, strict=True)))


parse = partial(parse_options, __doc__, OPTIONS, takes_settings=False)


def main() -> None:
    """Print what is asked for."""
    parsed = parse()
    if "gpus" in parsed.what:
        from benchmarks.hardware import print_constants, print_gpus

        print_constants()
        for name in parsed.models:
            print_gpus(name, parsed.gpus, parsed.prompts)
    if "fit" in parsed.what:
        lines = Path(parsed.points).read_text(encoding="utf-8").splitlines()
        print_fit([json.loads(line) for line in lines])
    if "run" in parsed.what:
        print_run(parsed.metrics, parsed.measured)


if __name__ == "__main__":
    main()
