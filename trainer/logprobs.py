"""Log-probabilities of packed rows: the policy's forward pass.

A row holds several groups (see `trainer.packing`). Linear layers see the row as one sequence;
attention never crosses a group, and inside one a token sees the prompt and its own completion.
This gives the numbers of G padded rows per group while prompt and clip are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import AttentionInterface, Qwen2_5OmniThinkerForConditionalGeneration

from data.records import Microbatch
from trainer.head import VocabularyHead

SILENT_FRAMES = 16
"""Frames of the clip that stands in where a row has none."""

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


class TokenScores(NamedTuple):
    """What the forward pass says of each completion token."""

    logprobs: Tensor
    """[N] float32 nats, with gradient."""
    entropy: Tensor
    """[N] float32 nats, of the whole next-token distribution, detached."""
    audio: Tensor
    """[audio tokens, hidden] embeddings of the row's clips, detached."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A `Microbatch` as tensors on the learner's device."""

    input_ids: Tensor
    """[1, T]"""
    positions: Tensor
    """[3, 1, T]"""
    mask: tuple[GroupSpan, ...] | BlockMask
    features: Tensor
    """[M, sum of F] clips side by side; a silent one if no group has a clip."""
    feature_lengths: Tensor
    """[clips] frames of each clip; groups without one are left out."""
    source: Tensor
    """[N]"""
    target: Tensor
    """[N]"""


def to_device(
    row: Microbatch,
    features: Sequence[Any],
    device: torch.device,
    attention: str,
    dtype: torch.dtype,
) -> PackedRow:
    """Move a row to the device and build its attention mask.

    Args:
        features: [M, F] float32 arrays, one per group (`row.features`, resolved).
        dtype: format of activations; the additive mask has it too.
    """
    groups = torch.from_numpy(row.group_ids)
    segments = torch.from_numpy(row.segment_ids)
    if attention == "flex":
        mask = _block_mask(groups.to(device), segments.to(device))
    else:
        mask = _group_spans(groups, segments, device, dtype)
    clips = [torch.from_numpy(array) for array in features if array.shape[1]]
    # Every row runs the audio encoder: under ZeRO-3 a rank that did not would keep others waiting.
    silent = [] if clips else [torch.zeros(features[0].shape[0], SILENT_FRAMES)]
    lengths = torch.tensor([clip.shape[1] for clip in clips], dtype=torch.long)
    return PackedRow(
        input_ids=torch.from_numpy(row.input_ids).to(device)[None],
        positions=torch.tensor(row.positions).to(device)[:, None],
        mask=mask,
        features=torch.cat([*clips, *silent], dim=1).to(device, dtype),
        feature_lengths=lengths.to(device),
        source=torch.from_numpy(row.source).to(device),
        target=torch.from_numpy(row.target).to(device),
    )


def _group_spans(
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
        longest = max(lengths[i] for i in lot)
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


def _block_mask(groups: Tensor, segments: Tensor) -> BlockMask:
    """One sparse mask for the whole row."""

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same_group = groups[query] == groups[key]
        same_segment = segments[query] == segments[key]
        return same_group & (same_segment | (segments[key] == 0)) & (query >= key)

    length = len(groups)
    return create_block_mask(visible, None, None, length, length, device=str(groups.device))


def _packed_sdpa(
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
        query, *own = (x.unflatten(0, (count, -1)) for x in lot)
        shared = (x.expand(count, -1, -1, -1) for x in prompt)
        keys, values = (
            torch.cat(pair, dim=1).transpose(1, 2) for pair in zip(shared, own, strict=True)
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


_compiled_flex: Callable[..., Tensor] = torch.compile(flex_attention, dynamic=True)


def _packed_flex(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: BlockMask,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Sparse attention over the whole row; compiled on GPUs, plain on CPUs (no backward there)."""
    attend = _compiled_flex if query.is_cuda else flex_attention
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


AttentionInterface.register("packed_sdpa", _packed_sdpa)
AttentionInterface.register("packed_flex", _packed_flex)
# With `flash` in its name, it gets all windows at once from the tower instead of one by one.
AttentionInterface.register("flash_all_windows", _all_windows)


class PackedPolicy(nn.Module):
    """A Qwen2.5-Omni thinker that scores packed rows.

    Temperature, forbidden tokens, chunks and number format are those of its `VocabularyHead`.

    Args:
        thinker: the model; its vision tower may be gone, and its head is replaced.
        attention: `sdpa` or `flex`; the form of `PackedRow.mask`.
    """

    def __init__(
        self,
        thinker: Qwen2_5OmniThinkerForConditionalGeneration,
        *,
        attention: str,
        temperature: float,
        forbidden_token_ids: Sequence[int],
        chunk_tokens: int,
        float32_head: bool,
    ) -> None:
        super().__init__()
        self.thinker = thinker
        thinker.lm_head = VocabularyHead(
            thinker.lm_head.weight,
            temperature=temperature,
            forbidden_token_ids=forbidden_token_ids,
            chunk_tokens=chunk_tokens,
            float32=float32_head,
        )
        self.audio_token_id = thinker.config.audio_token_id
        tower = thinker.audio_tower
        self.trains_audio = tower is not None and any(w.requires_grad for w in tower.parameters())
        thinker.model.set_attn_implementation(f"packed_{attention}")
        if tower is not None:
            tower.config._attn_implementation = "flash_all_windows"

    def encode_audio(self, row: PackedRow) -> Tensor:
        """Return the audio embeddings of all clips of a row, [audio tokens, hidden]."""
        tower = self.thinker.audio_tower
        lengths = row.feature_lengths
        if not len(lengths):
            lengths = lengths.new_tensor([SILENT_FRAMES])
        after_conv, _ = tower._get_feat_extract_output_lengths(lengths)
        output = tower(row.features, feature_lens=lengths, aftercnn_lens=after_conv)
        embeddings = output.last_hidden_state
        return embeddings if len(row.feature_lengths) else embeddings[:0]

    def forward(self, row: PackedRow, audio: Tensor | None = None) -> TokenScores:
        """Score every completion token of a row.

        Args:
            audio: embeddings from `encode_audio`, if they were computed already.

        Raises:
            ValueError: the clips have more or fewer frames than the row has placeholders.
        """
        if audio is None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.trains_audio):
                audio = self.encode_audio(row)
        embeddings = self.thinker.model.embed_tokens(row.input_ids)
        # An embedding row is unused where the placeholder is: the clip's embedding takes its place.
        places = (row.input_ids == self.audio_token_id)[0].nonzero()[:, 0]
        if len(places) != len(audio):
            raise ValueError(
                f"{len(places)} audio placeholders for {len(audio)} audio embeddings in a row of "
                f"{len(row.feature_lengths)} clips"
            )
        embeddings = embeddings.index_copy(1, places, audio.to(embeddings.dtype)[None])
        hidden = self.thinker.model(
            inputs_embeds=embeddings,
            attention_mask={"full_attention": row.mask},
            position_ids=row.positions,
            use_cache=False,
        ).last_hidden_state[0]
        # A prompt's last token is the source of G first tokens. The gradients of an index add up in
        # the order in which threads come; those of a look-up in the order of the row.
        sources = embedding(row.source, hidden)
        return TokenScores(*self.thinker.lm_head(sources, row.target), audio.detach())
