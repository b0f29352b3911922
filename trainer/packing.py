"""Packing: whole groups into rows under a token budget, and rows onto ranks.

The unit is a group, not a completion: prompt and clips stand once in a row, followed by all G
completions, so that the audio encoder and the prompt's layers run once per group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from data.records import FloatArray, GroupSample, IntArray, Microbatch

PADDING_ID = -1
"""`completion_ids` of the tokens of a padding row: they belong to no completion of the update."""


def kept_lengths(sample: GroupSample) -> list[int]:
    """Return the tokens of each unmasked completion."""
    kept = zip(sample.group.completions, sample.loss_mask, strict=True)
    return [len(completion.token_ids) for completion, keep in kept if keep]


def num_row_tokens(sample: GroupSample) -> int:
    """Return the tokens a sample takes in a row: its prompt once, and its unmasked completions."""
    return len(sample.group.prompt.token_ids) + sum(kept_lengths(sample))


def pack_rows(sizes: Sequence[int], budget: int) -> list[list[int]]:
    """Fill rows first-fit by decreasing size.

    Args:
        sizes: tokens of each item.
        budget: most tokens of one row; an item above it gets a row of its own.

    Returns:
        The item numbers of each row; every item occurs exactly once.
    """
    rows: list[list[int]] = []
    free: list[int] = []
    for item in sorted(range(len(sizes)), key=lambda i: (-sizes[i], i)):
        row = next((r for r, space in enumerate(free) if space >= sizes[item]), None)
        if row is None:
            rows.append([item])
            free.append(budget - sizes[item])
        else:
            rows[row].append(item)
            free[row] -= sizes[item]
    return rows


def spread_rows(
    sizes: Sequence[int], costs: Sequence[float], budget: int, num_ranks: int
) -> list[list[list[int]]]:
    """Share items out over the rows of all ranks, so that rows cost about the same.

    Ranks wait for each other in every row, so an update takes as long as the dearest first row,
    plus the dearest second one, and so on. The dearest item goes first, each into the cheapest row
    that has room; where one has no room anywhere, every rank gets a row more and all start again.

    Args:
        sizes: tokens of each item.
        costs: what each item costs a rank, in any unit.
        budget: most tokens of one row; an item above it gets a row of its own.

    Returns:
        The item numbers of each row of each rank, a rank's dearest row first; every item occurs
        exactly once. A rank may have a row less than others.
    """
    needed = sum(min(size, budget) for size in sizes)
    num_rows = num_ranks * -(-needed // (num_ranks * budget))
    while (rows := _fill_evenly(sizes, costs, budget, num_rows)) is None:
        num_rows += num_ranks
    spent = [sum(costs[i] for i in row) for row in rows]
    order = sorted((r for r in range(num_rows) if rows[r]), key=lambda r: (-spent[r], r))
    ranks: list[list[list[int]]] = [[] for _ in range(num_ranks)]
    load = [0.0] * num_ranks
    for start in range(0, len(order), num_ranks):
        # The dearest of these rows to the rank that has done least so far.
        by_load = sorted(range(num_ranks), key=lambda rank: (load[rank], rank))
        for r, rank in zip(order[start : start + num_ranks], by_load, strict=False):
            ranks[rank].append(rows[r])
            load[rank] += spent[r]
    return ranks


def _fill_evenly(
    sizes: Sequence[int], costs: Sequence[float], budget: int, num_rows: int
) -> list[list[int]] | None:
    """Items of each row, or None if they do not fit."""
    rows: list[list[int]] = [[] for _ in range(num_rows)]
    spent, free = [0.0] * num_rows, [budget] * num_rows
    for i in sorted(range(len(sizes)), key=lambda i: (-costs[i], i)):
        fits = [r for r in range(num_rows) if free[r] >= sizes[i] or not rows[r]]
        if not fits:
            return None
        cheapest = min(fits, key=lambda r: (spent[r], r))
        rows[cheapest].append(i)
        spent[cheapest] += costs[i]
        free[cheapest] -= sizes[i]
    return rows


def build_row(samples: Sequence[GroupSample], weights: Sequence[Sequence[float]]) -> Microbatch:
    """Lay groups out in one row.

    Args:
        samples: the groups; completions that `loss_mask` excludes are left out of the row.
        weights: per sample, [G] loss weight of every token of each completion.

    Returns:
        The packed row, T = sum of `num_row_tokens`.
    """
    ids: list[IntArray] = []
    positions: list[IntArray] = []
    group_ids: list[IntArray] = []
    segment_ids: list[IntArray] = []
    source: list[IntArray] = []
    lengths: list[int] = []
    rollout: list[FloatArray] = []
    advantages: list[float] = []
    token_weights: list[float] = []
    start = 0
    for index, (sample, sample_weights) in enumerate(zip(samples, weights, strict=True)):
        prompt = sample.group.prompt.token_ids
        ids.append(prompt)
        positions.append(np.arange(len(prompt)))
        segment_ids.append(np.zeros(len(prompt), np.int64))
        offset = start + len(prompt)
        for i, completion in enumerate(sample.group.completions):
            if not sample.loss_mask[i]:
                continue
            num_tokens = len(completion.token_ids)
            ids.append(completion.token_ids)
            positions.append(len(prompt) + np.arange(num_tokens))
            segment_ids.append(np.full(num_tokens, i + 1))
            # The prompt's last token predicts the first token of every completion.
            predictors = np.arange(offset - 1, offset + num_tokens - 1)
            predictors[:1] = start + len(prompt) - 1
            source.append(predictors)
            lengths.append(num_tokens)
            rollout.append(completion.rollout_logprobs)
            advantages.append(float(sample.advantages[i]))
            token_weights.append(float(sample_weights[i]))
            offset += num_tokens
        group_ids.append(np.full(offset - start, index))
        start = offset
    input_ids = np.concatenate(ids)
    segments = np.concatenate(segment_ids)
    return Microbatch(
        input_ids=input_ids,
        positions=np.broadcast_to(np.concatenate(positions), (3, len(input_ids))),
        group_ids=np.concatenate(group_ids),
        segment_ids=segments,
        source=np.concatenate(source),
        target=input_ids[segments > 0],
        completion_ids=np.repeat(np.arange(len(lengths)), lengths),
        rollout_logprobs=np.concatenate(rollout).astype(np.float32),
        advantages=np.repeat(np.array(advantages, np.float32), lengths),
        loss_weights=np.repeat(np.array(token_weights, np.float32), lengths),
        features=tuple(clip for sample in samples for clip in sample.group.prompt.clips),
    )


def padding_row(row: Microbatch) -> Microbatch:
    """Return a copy of a row that computes but weighs nothing.

    Under ZeRO-3 every rank must run the same number of forward passes; a rank that has no row left
    runs one of these.
    """
    zeros = np.zeros_like(row.loss_weights)
    return replace(
        row,
        completion_ids=np.full_like(row.completion_ids, PADDING_ID),
        advantages=zeros,
        loss_weights=zeros,
    )


def completion_weights(
    samples: Sequence[GroupSample], aggregation: str, max_tokens: int = 0
) -> list[list[float]]:
    """Return the loss weight of every token of each completion of one optimizer update.

    Args:
        samples: all groups of the update, over all ranks.
        aggregation: `token_mean` (every token counts the same), `sequence_mean` (every completion
            counts the same, its tokens share equally) or `constant` (every token counts the same,
            however many there are).
        max_tokens: longest completion that can be sampled, > 0; of `constant` alone.

    Returns:
        Per sample, [G] weights; summed over all unmasked tokens they give 1, but with `constant`
        the mean length over `max_tokens`. Masked completions weigh 0.

    Source: token mean over the whole batch: DAPO (arXiv 2503.14476), eq. 8; mean of sequence means:
    DeepSeekMath (arXiv 2402.03300), eq. 3; a constant in place of the length: Dr. GRPO (arXiv
    2503.20783), section 3.2, whose published code divides by the longest length that is sampled.
    """
    lengths = [
        [
            len(completion.token_ids) if keep else 0
            for completion, keep in zip(sample.group.completions, sample.loss_mask, strict=True)
        ]
        for sample in samples
    ]
    flat = [length for group in lengths for length in group if length]
    if aggregation in ("token_mean", "constant"):
        total = sum(flat) if aggregation == "token_mean" else len(flat) * max_tokens
        share = 1.0 / max(total, 1)
        return [[share if length else 0.0 for length in group] for group in lengths]
    return [[1.0 / (len(flat) * n) if n else 0.0 for n in group] for group in lengths]


def plan_update(
    samples: Sequence[GroupSample],
    *,
    budget: int,
    num_ranks: int,
    aggregation: str,
    max_tokens: int = 0,
    cost: Callable[[GroupSample], float] = num_row_tokens,
) -> list[list[Microbatch]]:
    """Pack the samples of one optimizer update into rows for every rank.

    Args:
        samples: groups of the update; at least one.
        budget: most tokens of a row, see `spread_rows`.
        aggregation: see `completion_weights`, as `max_tokens`.
        cost: what a group costs a rank; rows are shared out by it.

    Returns:
        [num_ranks] lists of rows, equally many: shorter lists are filled with `padding_row`.
    """
    weights = completion_weights(samples, aggregation, max_tokens)
    costs = [cost(sample) for sample in samples]
    plan = spread_rows([num_row_tokens(sample) for sample in samples], costs, budget, num_ranks)
    ranks = [
        [
            build_row([samples[i] for i in sorted(row)], [weights[i] for i in sorted(row)])
            for row in rows
        ]
        for rows in plan
    ]
    depth = max(map(len, ranks))
    smallest = min((row for rank in ranks for row in rank), key=lambda row: len(row.input_ids))
    return [rank + [padding_row(smallest)] * (depth - len(rank)) for rank in ranks]
