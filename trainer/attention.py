"""Attention of packed rows, and of the windows of the audio tower, as transformers calls them.

Attention never crosses a group, and inside one a token sees the prompt and its own completion:
`packed_sdpa` computes it group by group, `packed_flex` over the whole row with a sparse mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

SHORTEST_IN_LOT = 0.875
"""Least length of a completion, as a share of the longest, that is padded to that one."""


class GroupSpan(NamedTuple):
    """Where one group lies in its row, and how its completions line up side by side.

    Completions of about one length stand beside each other in a lot, padded to its longest.
    """

    prompt: int
    """L, tokens of the prompt."""
    completions: int
    """Tokens of all completions together."""
    lots: tuple[tuple[int, int], ...]
    """(G, C) of each lot: its completions, and tokens of the longest; slots are G * C."""
    slots: Tensor
    """[slots] which of the completions' tokens stands where."""
    kept: Tensor
    """[completions] in which slot each token stands, in the order of the row."""
    biases: tuple[Tensor, ...]
    """[C, L + C] of each lot: 0 where a completion's token sees a key (prompt, then itself), else
    -inf. Padding comes last, so that the causal order hides it."""


def group_spans(
    groups: Tensor, segments: Tensor, device: torch.device, dtype: torch.dtype
) -> tuple[GroupSpan, ...]:
    """One span per group; no mask ever spans two groups, or two completions."""
    spans = []
    start = 0
    for size in torch.unique_consecutive(groups, return_counts=True)[1].tolist():
        segment = segments[start : start + size]
        prompt, *lengths = torch.unique_consecutive(segment, return_counts=True)[1].tolist()
        spans.append(_span(prompt, lengths, device, dtype))
        start += size
    return tuple(spans)


def _span(prompt: int, lengths: list[int], device: torch.device, dtype: torch.dtype) -> GroupSpan:
    offsets = [0, *accumulate(lengths)]
    slots, kept, biases, lots = [], torch.empty(offsets[-1], dtype=torch.long), [], []
    num_slots = 0
    for lot in lots_of_about_one_length(lengths):
        longest = lengths[lot[0]]
        place = torch.arange(longest)
        for i in lot:
            is_token = place < lengths[i]
            slots.append(torch.where(is_token, offsets[i] + place, offsets[i]))
            kept[offsets[i] : offsets[i + 1]] = num_slots + place[: lengths[i]]
            num_slots += longest
        bias = torch.zeros(longest, prompt + longest, dtype=dtype)
        bias[:, prompt:].masked_fill_(place[:, None] < place, -torch.inf)
        biases.append(bias.to(device))
        lots.append((len(lot), longest))
    return GroupSpan(
        prompt,
        offsets[-1],
        tuple(lots),
        torch.cat(slots).to(device),
        kept.to(device),
        tuple(biases),
    )


def lots_of_about_one_length(lengths: Sequence[int]) -> list[list[int]]:
    """Return which completions are padded together, the longest first.

    Attention costs by the slot; padding all to the longest of a group would waste a third.
    """
    lots: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if lots and lengths[i] >= SHORTEST_IN_LOT * lengths[lots[-1][0]]:
            lots[-1].append(i)
        else:
            lots.append([i])
    return lots


def block_mask(groups: Tensor, segments: Tensor) -> BlockMask:
    """One sparse mask for the whole row."""

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same_group = groups[query] == groups[key]
        same_segment = segments[query] == segments[key]
        return same_group & (same_segment | (segments[key] == 0)) & (query >= key)

    length = len(groups)
    return create_block_mask(visible, None, None, length, length, device=str(groups.device))


def packed_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: tuple[GroupSpan, ...],
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Dense attention group by group; [1, heads, T, head_dim] in, [1, T, heads, head_dim] out.

    The prompt attends to itself once; the completions follow as a batch of G that shares its keys.
    """
    # A split, whose gradients are put side by side: those of slices would each fill a whole row.
    lengths = [n for span in attention_mask for n in (span.prompt, span.completions)]
    parts = [x[0].transpose(0, 1).split(lengths) for x in (query, key, value)]
    outputs = []
    for i, span in enumerate(attention_mask):
        prompt, completions = ([part[j] for part in parts] for j in (2 * i, 2 * i + 1))
        outputs.append(_within_prompt(*prompt, scaling))
        outputs.append(_after_prompt(span, prompt[1:], completions, scaling))
    return torch.cat(outputs)[None], None


def _within_prompt(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Causal attention; [L, heads, head_dim] in and out."""
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    heads_first = (x.transpose(0, 1)[None] for x in (query, key, value))
    output = scaled_dot_product_attention(*heads_first, is_causal=True, scale=scaling)
    return output[0].transpose(0, 1)


def _after_prompt(
    span: GroupSpan, prompt: Sequence[Tensor], completions: Sequence[Tensor], scaling: float | None
) -> Tensor:
    """Attention of the completions of a group to its prompt and, causally, to themselves.

    Query heads that share a key head lie one after another as if they were more tokens, so that no
    key is copied for them.

    Args:
        prompt: keys and values, [L, key heads, head_dim] each.
        completions: queries, keys and values, [tokens, heads, head_dim] each.

    Returns:
        [tokens, heads, head_dim]
    """
    sizes = [count * longest for count, longest in span.lots]
    slots = [x.index_select(0, span.slots).split(sizes) for x in completions]
    outputs = []
    for (count, _), bias, *lot in zip(span.lots, span.biases, *slots, strict=True):
        query, *suffixes = (x.unflatten(0, (count, -1)) for x in lot)
        shared = (x.expand(count, -1, -1, -1) for x in prompt)
        keys, values = (
            torch.cat(pair, dim=1).transpose(1, 2) for pair in zip(shared, suffixes, strict=True)
        )
        repeats = query.shape[2] // keys.shape[1]
        # [G, C, heads, head_dim] -> [G, key heads, repeats * C, head_dim]
        folded = query.unflatten(2, (-1, repeats)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        output = scaled_dot_product_attention(
            folded, keys, values, attn_mask=bias.repeat(repeats, 1), scale=scaling
        )
        unfolded = output.unflatten(2, (repeats, -1)).permute(0, 3, 1, 2, 4)
        outputs.append(unfolded.flatten(2, 3).flatten(0, 1))
    return torch.cat(outputs).index_select(0, span.kept)


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    # At its first call, not with this module: it loads the compiler, seconds that no CPU needs.
    return torch.compile(flex_attention, dynamic=True)


def packed_flex(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: BlockMask,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Sparse attention over the whole row; compiled on GPUs, plain on CPUs (no backward there)."""
    attend = _compiled_flex() if query.is_cuda else flex_attention
    output = attend(
        query,
        key,
        value,
        block_mask=attention_mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2), None


def _all_windows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None = None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention of the audio tower, whose windows of 2 s do not see each other, in one call.

    Args:
        query: [1, heads, T, head_dim], the windows of all clips one after another, as are `key`
            and `value`.
        cu_seq_lens_q: [windows + 1] where each window starts, and the end.
        max_length_q: tokens of the longest window; shorter ones are padded to it.

    Returns:
        [1, T, heads, head_dim]
    """
    parts = [x[0].transpose(0, 1) for x in (query, key, value)]
    num_tokens, num_windows = len(parts[0]), len(cu_seq_lens_q) - 1
    places, mask = None, None
    if num_tokens < num_windows * max_length_q:
        lengths = cu_seq_lens_q.diff()
        window = torch.arange(num_windows, device=query.device).repeat_interleave(
            lengths, output_size=num_tokens
        )
        shift = max_length_q * window - cu_seq_lens_q[window]
        places = torch.arange(num_tokens, device=query.device) + shift
        mask = torch.arange(max_length_q, device=query.device) < lengths[:, None, None, None]
        padding = parts[0].new_zeros(num_windows * max_length_q, *parts[0].shape[1:])
        parts = [padding.index_copy(0, places, x) for x in parts]
    windows = [x.unflatten(0, (num_windows, -1)).transpose(1, 2) for x in parts]
    output = scaled_dot_product_attention(*windows, attn_mask=mask, scale=scaling)
    flat = output.transpose(1, 2).flatten(0, 1)
    return (flat if places is None else flat.index_select(0, places))[None], None


AttentionInterface.register("packed_sdpa", packed_sdpa)
AttentionInterface.register("packed_flex", packed_flex)
# With `flash` in its name, it gets all windows at once from the tower instead of one by one.
AttentionInterface.register("flash_all_windows", _all_windows)
