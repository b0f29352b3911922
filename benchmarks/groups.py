"""Groups as other trainers lay them out: a completion a row, and rows padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from data.records import GroupSample


def one_completion_each(samples: Sequence[GroupSample]) -> list[GroupSample]:
    """Return every completion as a group of its own, in order, with prompt and clip again."""
    return [
        GroupSample(
            replace(sample.group, completions=(completion,)),
            sample.advantages[i : i + 1],
            sample.loss_mask[i : i + 1],
        )
        for sample in samples
        for i, completion in enumerate(sample.group.completions)
    ]


def padded_logits(
    thinker: Any, sample: GroupSample, device: torch.device, *, plain_positions: bool = False
) -> tuple[Tensor, Tensor]:
    """Run the model's own forward pass over a group, its clip encoded once a completion.

    Args:
        plain_positions: 0, 1, 2, ... for every row; else the model works them out.

    Returns:
        Logits [G, C, V] that predict each completion's tokens, and these tokens [G, C], padded.
    """
    prompt = sample.group.prompt
    completions = [torch.from_numpy(c.token_ids) for c in sample.group.completions]
    start, longest = len(prompt.token_ids), max(map(len, completions))
    ids = torch.zeros(len(completions), start + longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, tokens in enumerate(completions):
        ids[i, :start] = torch.from_numpy(prompt.token_ids)
        ids[i, start : start + len(tokens)] = tokens
        mask[i, : start + len(tokens)] = 1
    features = torch.from_numpy(prompt.features).to(device, thinker.dtype)
    frames = torch.ones(len(completions), prompt.num_frames, dtype=torch.long, device=device)
    positions = torch.arange(start + longest, device=device).expand(3, len(completions), -1)
    logits = thinker(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        input_features=features.expand(len(completions), -1, -1),
        feature_attention_mask=frames,
        position_ids=positions if plain_positions else None,
        use_cache=False,
        logits_to_keep=longest + 1,
    ).logits[:, -longest - 1 : -1]
    return logits, ids[:, start:].to(device)
