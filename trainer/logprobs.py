"""Log-probabilities of packed rows: the policy's forward pass.

A row holds several groups (see `trainer.packing`). Linear layers see the row as one sequence;
attention never crosses a group, and inside one a token sees the prompt and its own completion.
This gives the numbers of G padded rows per group while prompt and clip are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


class GroupSpan(NamedTuple):
    """Where one group lies in its row, and how its completions line up side by side."""

    start: int
    """First token of the prompt."""
    length: int
    """L, tokens of the prompt."""
    slots: Tensor
    """[G * C] row position of each token of the completions, padded to the longest (C)."""
    num_completions: int
    """G"""
    kept: Tensor
    """[tokens] which of the slots are tokens, not padding, in the order of the row."""
    bias: Tensor
    """[C, L + C] 0 where a completion's token sees a key (prompt, then itself), else -inf. Padding
    comes last, so that the causal order hides it."""


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
        longest = max(lengths)
        offsets = torch.tensor([start + prompt + sum(lengths[:i]) for i in range(len(lengths))])
        place = torch.arange(longest)
        is_token = place < torch.tensor(lengths)[:, None]
        slots = torch.where(is_token, offsets[:, None] + place, offsets[:, None])
        hidden = place[:, None] < place
        bias = torch.zeros(longest, prompt + longest, dtype=dtype)
        bias[:, prompt:].masked_fill_(hidden, -torch.inf)
        spans.append(
            GroupSpan(
                start,
                prompt,
                slots.flatten().to(device),
                len(lengths),
                is_token.flatten().nonzero()[:, 0].to(device),
                bias.to(device),
            )
        )
        start += size
    return tuple(spans)


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
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key = key.repeat_interleave(repeats, dim=1)
        value = value.repeat_interleave(repeats, dim=1)
    parts = []
    for span in attention_mask:
        prompt = [x.narrow(2, span.start, span.length) for x in (query, key, value)]
        parts.append(scaled_dot_product_attention(*prompt, is_causal=True, scale=scaling))
        completions = [_side_by_side(x, span) for x in (query, key, value)]
        shared = [x.expand(span.num_completions, -1, -1, -1) for x in prompt[1:]]
        keys, values = (
            torch.cat(pair, dim=2) for pair in zip(shared, completions[1:], strict=True)
        )
        output = scaled_dot_product_attention(
            completions[0], keys, values, attn_mask=span.bias, scale=scaling
        )
        flat = output.transpose(0, 1).flatten(1, 2)
        parts.append(flat.index_select(1, span.kept)[None])
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _side_by_side(x: Tensor, span: GroupSpan) -> Tensor:
    """[1, heads, T, head_dim] -> [G, heads, C, head_dim]: a group's completions as a batch."""
    tokens = x[0].index_select(1, span.slots)
    return tokens.unflatten(1, (span.num_completions, -1)).transpose(0, 1)


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


AttentionInterface.register("packed_sdpa", _packed_sdpa)
AttentionInterface.register("packed_flex", _packed_flex)


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
