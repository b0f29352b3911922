"""What a group costs a learner rank: the products of one update, counted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.schema import RunConfig
from data.records import GroupSample
from trainer.packing import kept_lengths

WINDOW_STEPS = 100
"""Steps of the audio tower's attention windows: 2 s after a convolution of stride 2."""


@dataclass(frozen=True, slots=True)
class GroupCost:
    """Floating-point operations of a group in an update, to share groups out evenly.

    A multiply-add counts 2. With L prompt tokens, completions of C_i tokens and F mel frames:

        token * (L + sum C_i) + pair * (L (L + 1) / 2 + sum C_i (L + (C_i + 1) / 2))
            + scored * sum C_i + frame * F

    Counted are matrix products and attention alone; a forward pass is 1 and a backward pass 2.
    Layers run forward once more for the reference policy, and again where activations are
    recomputed; a frozen audio tower runs forward alone, once for both policies.
    """

    token: float
    """Of a token of the row, in all layers."""
    pair: float
    """Of a token that sees another, or itself."""
    scored: float
    """Of a completion token in the vocabulary projection."""
    frame: float
    """Of a mel frame of a clip."""

    def __call__(self, sample: GroupSample) -> float:
        """Return the cost of a group whose masked completions are left out."""
        prompt, lengths = len(sample.group.prompt.token_ids), kept_lengths(sample)
        scored = sum(lengths)
        pairs = prompt * (prompt + 1) / 2 + sum(n * (prompt + (n + 1) / 2) for n in lengths)
        return (
            self.token * (prompt + scored)
            + self.pair * pairs
            + self.scored * scored
            + self.frame * sample.group.prompt.num_frames
        )

    @classmethod
    def of(cls, config: RunConfig) -> GroupCost:
        """Return the coefficients of a run from its checkpoint's config.json."""
        path = Path(config.model.path) / "config.json"
        thinker = json.loads(path.read_text(encoding="utf-8"))["thinker_config"]
        text = thinker["text_config"]
        reference = int(config.loss.kind == "policy" and config.loss.kl_coef > 0)
        passes = 3 + reference + int(config.model.gradient_checkpointing)
        trains_tower = "audio_tower" not in config.model.freeze and not config.model.lora.rank
        tower_passes = passes if trains_tower else 1
        hidden, layers = text["hidden_size"], text["num_hidden_layers"]
        head_dim = text.get("head_dim") or hidden // text["num_attention_heads"]
        queries = head_dim * text["num_attention_heads"]
        keys = head_dim * text["num_key_value_heads"]
        linear = hidden * (2 * queries + 2 * keys + 3 * text["intermediate_size"])
        return cls(
            token=2.0 * passes * layers * linear,
            pair=4.0 * passes * layers * queries,
            scored=2.0 * (3 + reference) * hidden * text["vocab_size"],
            frame=tower_passes * _frame(thinker["audio_config"]),
        )


def _frame(audio: dict[str, Any]) -> float:
    """Operations of a mel frame in one pass of the audio tower; two frames make a step."""
    width = audio["d_model"]
    convolutions = 2 * 3 * width * (2 * audio["num_mel_bins"] + width)
    linear = 2 * width * (4 * width + 2 * audio["encoder_ffn_dim"])
    layer = linear + 4 * width * WINDOW_STEPS
    # The second step of each pair is pooled into the first before the last projection.
    return (convolutions + audio["encoder_layers"] * layer + width * audio["output_dim"]) / 2
