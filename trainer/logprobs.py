"""Log-probabilities of packed rows: the policy's forward pass.

A row holds several groups (see `trainer.packing`). Linear layers see the row as one sequence;
attention never crosses a group, and inside one a token sees the prompt and its own completion.
This gives the numbers of G padded rows per group while prompt and clip are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import embedding
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from configs.schema import RunConfig
from data.records import Microbatch
from trainer.attention import GroupSpan, block_mask, group_spans
from trainer.head import EVERYTHING, Truncation, VocabularyHead

SILENT_FRAMES = 16
"""Frames of the clip that stands in where a row has none."""


class TokenScores(NamedTuple):
    """What the forward pass says of each completion token."""

    logprobs: Tensor
    """[N] float32 nats, with gradient; with `top_p` or `top_k` among the tokens that are kept."""
    entropy: Tensor
    """[N] float32 nats, of the whole next-token distribution; without gradient unless asked for."""
    audio: Tensor
    """[audio tokens, hidden] embeddings of the row's clips, detached."""
    whole: Tensor | None = None
    """[N] float32 nats, with gradient: log-probs in the whole distribution; None where `logprobs`
    are those."""


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
    """[clips] frames of each clip; a group may have none, one or several."""
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
        features: [M, F] float32 arrays (`row.features`, resolved); one of no frames is no clip.
        dtype: format of activations; the additive mask has it too.
    """
    groups = torch.from_numpy(row.group_ids)
    segments = torch.from_numpy(row.segment_ids)
    if attention == "flex":
        mask = block_mask(groups.to(device), segments.to(device))
    else:
        mask = group_spans(groups, segments, device, dtype)
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


def sampling_options(config: RunConfig) -> dict[str, Any]:
    """Return the arguments of a `PackedPolicy` that learns from what engines have sampled.

    A supervised run has sampled nothing, and a reference policy scores whole distributions.
    """
    if config.loss.kind != "policy":
        return {}
    truncation = Truncation(config.rollout.top_p, config.rollout.top_k)
    return {"truncation": truncation, "entropy_grad": config.loss.entropy_coef > 0}


class PackedPolicy(nn.Module):
    """A Qwen2.5-Omni thinker that scores packed rows.

    Temperature, forbidden tokens, chunks, number format, truncation and whether entropies carry a
    gradient are those of its `VocabularyHead`.

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
        truncation: Truncation = EVERYTHING,
        entropy_grad: bool = False,
    ) -> None:
        super().__init__()
        self.thinker = thinker
        thinker.lm_head = VocabularyHead(
            thinker.lm_head.weight,
            temperature=temperature,
            forbidden_token_ids=forbidden_token_ids,
            chunk_tokens=chunk_tokens,
            float32=float32_head,
            truncation=truncation,
            entropy_grad=entropy_grad,
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
        logprobs, entropy, whole = self.thinker.lm_head(sources, row.target)
        return TokenScores(logprobs, entropy, audio.detach(), whole)
