"""The mix that is trained on: so many rows of each task, by their shares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from annotate.tasks.base import NEEDS, row_rng
from configs.errors import UserError


def quotas(shares: Mapping[str, float], num_rows: int) -> dict[str, int]:
    """Return how many rows each task gets: by largest remainder, the first of equal ones first.

    Args:
        shares: Task -> its share, 0 or more; only their ratios count.
        num_rows: Rows of the mix, above 0; the quotas sum to it.

    Raises:
        UserError: A share is negative or not finite, none is above 0, or `num_rows` is below 1.

    Source: the method of Hamilton (largest remainder) for seats.
    """
    for task, share in shares.items():
        if not math.isfinite(share) or share < 0:
            raise UserError(f"share of task {task!r} is {share}; give a number of 0 or more")
    total = sum(shares.values())
    if total <= 0:
        raise UserError("no task has a share above 0; give at least one")
    if num_rows < 1:
        raise UserError(f"a mix of {num_rows} rows is empty; ask for 1 or more")
    exact = {task: num_rows * share / total for task, share in shares.items()}
    rows = {task: math.floor(value) for task, value in exact.items()}
    by_remainder = sorted(rows, key=lambda task: rows[task] - exact[task])
    for task in by_remainder[: num_rows - sum(rows.values())]:
        rows[task] += 1
    return rows


def mix(
    by_task: Mapping[str, Sequence[dict[str, Any]]],
    shares: Mapping[str, float],
    num_rows: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Yield rows of all tasks in a random order, so many of each as its share says.

    A task with enough rows gives each at most once. A smaller one gives all of them, then all of
    them again: a repeat's id ends in `#2`, `#3` and so on. `describe_mix` says which do.

    Args:
        by_task: Task -> its rows; a task without a share gives none.
        shares: Task -> its share; only their ratios count.
        num_rows: Rows of the mix.
        seed: Draws the rows and their order; 0 or more.

    Raises:
        UserError: Whatever `quotas` refuses, or a task with a share has no rows.
    """
    drawn = [np.zeros((3, 0), np.int64)]  # task, place and turn of each row
    for number, (task, quota) in enumerate(quotas(shares, num_rows).items()):
        rows = by_task.get(task, ())
        if shares[task] > 0 and not rows:
            need = NEEDS.get(task, "rows under this name")
            raise UserError(
                f"task {task!r} has a share of {shares[task]:g} and no rows; it needs {need}. "
                "Add them or set the share to 0"
            )
        rng = row_rng(seed, task)
        for start in range(0, quota, max(len(rows), 1)):
            chosen = rng.permutation(len(rows))[: quota - start]
            turn = np.full_like(chosen, start // len(rows) + 1)
            drawn.append(np.stack([np.full_like(chosen, number), chosen, turn]))
    every = np.concatenate(drawn, axis=1)
    order = np.random.default_rng(seed).permutation(every.shape[1])
    tasks = list(shares)

    def row(task: int, place: int, turn: int) -> dict[str, Any]:
        made = by_task[tasks[task]][place]
        return made if turn == 1 else {**made, "id": f"{made['id']}#{turn}"}

    return (row(*every[:, index].tolist()) for index in order)


def describe_mix(
    by_task: Mapping[str, Sequence[dict[str, Any]]], shares: Mapping[str, float], num_rows: int
) -> list[str]:
    """Return what `mix` takes of each task and which of them repeat, one line each."""
    lines: list[str] = []
    for task, quota in quotas(shares, num_rows).items():
        num = len(by_task.get(task, ()))
        line = f"{task}: {quota} of {num_rows} rows ({quota / num_rows:.1%}), {num} to choose from"
        if quota > num > 0:
            line += f"; too few, so rows come up to {math.ceil(quota / num)} times"
        lines.append(line)
    return lines
