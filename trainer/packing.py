"""Packing: whole groups into rows under a token budget, and rows onto ranks.

The unit is a group, not a completion: prompt and clip stand once in a row, followed by all G
completions, so that the audio encoder and the prompt's layers run once per group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data.balance import balanced_shares
from data.records import FloatArray, GroupSample, IntArray, Microbatch

PADDING_ID = -1
"""`completion_ids` of the tokens of a padding row: they belong to no completion of the update."""


def num_row_tokens(sample: GroupSample) -> int:
    """Return the tokens a sample takes in a row: its prompt once, and its unmasked completions."""
    kept = zip(sample.group.completions, sample.loss_mask, strict=True)
    completions = sum(len(completion.token_ids) for completion, keep in kept if keep)
    return len(sample.group.prompt.token_ids) + completions


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
        features=tuple(sample.group.prompt.features for sample in samples),
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


def completion_weights(samples: Sequence[GroupSample], aggregation: str) -> list[list[float]]:
    """Return the loss weight of every token of each completion of one optimizer update.

    Args:
        samples: all groups of the update, over all ranks.
        aggregation: `token_mean` (every token counts the same) or `sequence_mean` (every
            completion counts the same, its tokens share equally).

    Returns:
        Per sample, [G] weights; summed over all unmasked tokens they give 1. Masked completions
        weigh 0.

    Source: token mean over the whole batch: DAPO (arXiv 2503.14476), eq. 8; mean of sequence means:
    DeepSeekMath (arXiv 2402.03300), eq. 3.
    """
    lengths = [
        [
            len(completion.token_ids) if keep else 0
            for completion, keep in zip(sample.group.completions, sample.loss_mask, strict=True)
        ]
        for sample in samples
    ]
    flat = [length for group in lengths for length in group if length]
    if aggregation == "token_mean":
        share = 1.0 / max(sum(flat), 1)
        return [[share if length else 0.0 for length in group] for group in lengths]
    return [[1.0 / (len(flat) * n) if n else 0.0 for n in group] for group in lengths]


def plan_update(
    samples: Sequence[GroupSample], *, budget: int, num_ranks: int, aggregation: str
) -> list[list[Microbatch]]:
    """Pack the samples of one optimizer update into rows for every rank.

    Args:
        samples: groups of the update; at least one.

    Returns:
        [num_ranks] lists of rows, equally many: shorter lists are filled with `padding_row`.
    """
    weights = completion_weights(samples, aggregation)
    sizes = [num_row_tokens(sample) for sample in samples]
    # Fewer rows than ranks would leave ranks idle, so the budget shrinks to an even share.
    budget = min(budget, max(-(-sum(sizes) // num_ranks), max(sizes)))
    rows = [
        build_row([samples[i] for i in sorted(row)], [weights[i] for i in sorted(row)])
        for row in pack_rows(sizes, budget)
    ]
    ranks = balanced_shares([len(row.input_ids) for row in rows], num_ranks)
    smallest = min(rows, key=lambda row: len(row.input_ids))
    depth = max(len(rank) for rank in ranks)
    return [
        [rows[i] for i in rank] + [padding_row(smallest)] * (depth - len(rank)) for rank in ranks
    ]
