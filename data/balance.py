"""Work shared out evenly."""

from __future__ import annotations

from collections.abc import Sequence


def balanced_shares(costs: Sequence[int], num_ranks: int) -> list[list[int]]:
    """Give rows to ranks, the largest first, each to the rank with the least work so far.

    Args:
        costs: tokens of each row.

    Returns:
        The row numbers of each rank. Ranks may differ in their number of rows.
    """
    ranks: list[list[int]] = [[] for _ in range(num_ranks)]
    load = [0] * num_ranks
    for row in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        rank = min(range(num_ranks), key=lambda r: (load[r], r))
        ranks[rank].append(row)
        load[rank] += costs[row]
    return ranks
