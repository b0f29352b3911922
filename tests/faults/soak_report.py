"""What a soak must show, checked against the run without faults; and the table of it."""

from __future__ import annotations

import math
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.faults.soak_faults import not_fired, rows_of
from tests.faults.soak_plan import Fault

if TYPE_CHECKING:
    from tests.faults.soak import Record

TEST_QUESTIONS = 540
"""Of the demo's test split."""

PROMPTS, GROUP_SIZE = 8, 8
"""Groups of a step, and completions of a group."""

LAST = 20
"""Steps at the end whose accuracy is compared."""

MIN_LIFE = 40
"""Rows of a process from which on its growth is judged: before, caches are still filling."""

MAX_GROWTH_FRAC, MAX_GROWTH_MIB, MAX_NEW_FILES = 0.05, 24.0, 4
"""What a process may grow by in the last half of its life: a share of what it holds or so many MiB,
whichever is more, and descriptors."""


class Growth(NamedTuple):
    """How a kind of process grew over the last half of its life, at worst of its lives."""

    role: str
    lives: int
    """Processes that lived long enough to be judged."""
    private_mib: float
    """Held at the end."""
    private_growth: float
    """MiB by the least-squares line over the last half."""
    resident_growth: float
    """The same with shared memory."""
    files: int
    files_growth: float


class Interval(NamedTuple):
    """Two accuracies, and how far apart chance puts two such numbers in 95 of 100 cases."""

    name: str
    undisturbed: float
    disturbed: float
    noise: float


def slope_growth(values: Sequence[float]) -> float:
    """Return by how much the least-squares line through evenly spaced values rises in all."""
    if len(values) < 2:
        return 0.0
    return statistics.linear_regression(range(len(values)), values).slope * (len(values) - 1)


def growths(memory: Sequence[Sequence[Any]]) -> list[Growth]:
    """Return the growth of each role; `memory` as in `Record`."""
    lives: dict[tuple[str, int], list[Sequence[Any]]] = defaultdict(list)
    for row in memory:
        lives[row[1], row[2]].append(row)
    found: dict[str, list[Growth]] = defaultdict(list)
    for (role, _), rows in lives.items():
        if len(rows) >= MIN_LIFE:
            half = rows[len(rows) // 2 :]
            private, resident, files = ([row[i] for row in half] for i in (3, 4, 5))
            grown = [slope_growth(values) for values in (private, resident, files)]
            found[role].append(
                Growth(role, 1, private[-1], grown[0], grown[1], files[-1], grown[2])
            )
    return [
        max(items, key=lambda item: item.private_growth)._replace(
            lives=len(items), files_growth=max(item.files_growth for item in items)
        )
        for _, items in sorted(found.items())
    ]


def served(samples: Path) -> Iterator[tuple[int, str]]:
    """Yield (step, id) of all prompts in their order."""
    for path in sorted(samples.glob("step_*.jsonl")):
        groups = {(row["step"], row["group"]): row["id"] for row in rows_of(path)}
        yield from ((step, groups[step, group]) for step, group in sorted(groups))


def order_problems(
    expected: Sequence[tuple[int, str]],
    ours: Sequence[tuple[int, str]],
    bad: dict[str, int],
) -> list[str]:
    """Return where a run departs from the order of the undisturbed one.

    Args:
        expected: (step, id) of the undisturbed run.
        ours: the same of the run with faults.
        bad: id of a clip that was made unusable -> step after which that was.
    """
    place = 0
    for step, name in expected:
        if place == len(ours):
            break
        if ours[place][1] == name:
            place += 1
        elif not (name in bad and step > bad[name]):
            return [f"step {ours[place][0]}: {ours[place][1]} where {name} was to come"]
    # Each that is left out lets one in at the end that the undisturbed run did not come to.
    left_out = sum(name in bad and step > bad[name] for step, name in expected)
    if len(ours) - place > left_out:
        return [
            f"{len(ours) - place} prompts more than the undisturbed run has, {left_out} expected"
        ]
    return []


class Checks:
    """All figures of a soak, and what is wrong."""

    def __init__(
        self, output: Path, plain: Record, faulty: Record, plan: Sequence[Fault], steps: int
    ) -> None:
        """Read both runs; see `tests.faults.soak`."""
        self.plain, self.faulty, self.plan, self.steps = plain, faulty, plan, steps
        self.roots = [output / name / "run" for name in ("undisturbed", "disturbed")]
        self.rows = [rows_of(root / "metrics.jsonl") for root in self.roots]
        self.problems: list[str] = []
        self._check_fired(output / "disturbed" / "output.txt")
        self._check_once()
        self.accuracy = self._accuracy()
        # The last row comes after the test split, which is a batch of another size.
        self.growth = [
            growths([row for row in record.memory if row[0] < steps]) for record in (plain, faulty)
        ]
        self._check_flat()
        self.needed_s = sum(row["time/step_s"] - row["time/eval_s"] for row in self.rows[0][1:])

    def _check_fired(self, output: Path) -> None:
        if len(self.faulty.fired) != len(self.plan):
            self.problems.append(f"{len(self.faulty.fired)} of {len(self.plan)} faults were made")
        self.problems += not_fired(self.faulty.fired, output.read_bytes(), self.rows[1])

    def _check_once(self) -> None:
        for root, rows in zip(self.roots, self.rows, strict=True):
            if [row["step"] for row in rows] != list(range(self.steps + 1)):
                self.problems.append(f"{root}: steps of metrics.jsonl are not 0 to {self.steps}")
            for step in range(1, self.steps + 1):
                samples = rows_of(root / "samples" / f"step_{step:06d}.jsonl")
                groups = Counter((row["step"], row["group"], row["id"]) for row in samples)
                numbers = [(number, group) for number, group, _ in sorted(groups)]
                whole = [(step, group) for group in range(PROMPTS)]
                if numbers != whole or set(groups.values()) != {GROUP_SIZE}:
                    self.problems.append(f"{root}: samples of step {step}: {groups}")
        plain, faulty = (list(served(root / "samples")) for root in self.roots)
        if len(plain) != len(faulty):
            self.problems.append(f"{len(faulty)} prompts in all, {len(plain)} undisturbed")
        bad = {fault["id"]: fault["step"] for fault in self.faulty.fired if "id" in fault}
        self.num_left_out = sum(name in bad and step > bad[name] for step, name in plain)
        self.problems += order_problems(plain, faulty, bad)

    def _accuracy(self) -> list[Interval]:
        ends = [[row["rollout/accuracy"] for row in rows[-LAST:]] for rows in self.rows]
        spread = math.sqrt(sum(statistics.variance(end) / len(end) for end in ends))
        last = Interval(f"last {LAST} steps, sampled", *map(statistics.fmean, ends), 1.96 * spread)
        tests = [rows[-1]["test_after/accuracy"] for rows in self.rows]
        mean = statistics.fmean(tests)
        noise = 1.96 * math.sqrt(2 * mean * (1 - mean) / TEST_QUESTIONS)
        intervals = [last, Interval("test speakers, greedy", *tests, noise)]
        self.problems += [
            f"{name}: {a:.3f} and {b:.3f} differ by more than {noise:.3f}"
            for name, a, b, noise in intervals
            if abs(a - b) > noise
        ]
        return intervals

    def _check_flat(self) -> None:
        for run, roles in zip(("undisturbed", "disturbed"), self.growth, strict=True):
            for item in roles:
                allowed = max(MAX_GROWTH_MIB, MAX_GROWTH_FRAC * item.private_mib)
                if item.private_growth > allowed or item.files_growth > MAX_NEW_FILES:
                    self.problems.append(f"{run}: grows: {item}")


def table(checks: Checks, seed: int) -> str:
    """Return the page of a soak in Markdown."""
    plain, faulty = checks.plain, checks.faulty
    before = [rows[0]["test_before/accuracy"] for rows in checks.rows]
    useful = [checks.needed_s / record.wall_s for record in (plain, faulty)]
    lines = [
        f"`python -m tests.faults.soak --steps {checks.steps} --seed {seed}`, on "
        f"{os.cpu_count()} CPU cores: {len(faulty.fired)} faults in {checks.steps} steps, "
        f"{len(faulty.exits)} starts.",
        "",
        "| | undisturbed | with faults | |",
        "|---|--:|--:|---|",
        f"| wall time | {plain.wall_s:.0f} s | {faulty.wall_s:.0f} s | |",
        f"| useful share of it | {useful[0]:.0%} | {useful[1]:.0%} "
        f"| undisturbed steps ({checks.needed_s:.0f} s) / wall time |",
        f"| steps done twice | {plain.redone} | {faulty.redone} | |",
        f"| prompts left out | 0 | {checks.num_left_out} | clips that were broken |",
        f"| test accuracy at the start | {before[0]:.3f} | {before[1]:.3f} | |",
    ]
    lines += [
        f"| accuracy, {name} | {a:.3f} | {b:.3f} | difference {b - a:+.3f}, chance ±{noise:.3f} |"
        for name, a, b, noise in checks.accuracy
    ]
    lines += ["", "| after step | fault | next row after |", "|--:|---|--:|"]
    lines += [f"| {f['step']} | {f['kind']} | {f['back_s']:.1f} s |" for f in faulty.fired]
    lines += [
        "",
        "| run | process | lives | private memory | growth | with shared memory | files | growth |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {run} | {g.role} | {g.lives} | {g.private_mib:.0f} MiB | {g.private_growth:+.1f} MiB "
        f"| {g.resident_growth:+.1f} MiB | {g.files} | {g.files_growth:+.1f} |"
        for run, roles in zip(("undisturbed", "with faults"), checks.growth, strict=True)
        for g in roles
    ]
    found = checks.problems or ["none"]
    lines += [
        "",
        f"Growth is that over the last half of a process's life, {MIN_LIFE} steps or more.",
    ]
    lines += ["", "What was lost, doubled or wrong: " + "; ".join(found) + "."]
    return "\n".join(lines) + "\n"
