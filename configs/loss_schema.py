"""The schema of what the learner minimizes: advantages and losses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.section import Section

POLICY_LOSSES = ("clip", "gspo", "cispo")
"""Our own; see `trainer.losses`."""

LOSS_INPUTS = ("logprobs", "old_logprobs", "advantages", "completion_ids", "low", "high")
"""What a policy loss is a function of: tensors [N], and the two bounds of the ratio."""


@dataclass
class AdvantageConfig(Section):
    """From rewards to advantages, within a group."""

    normalize: Literal["std", "mean", "per_term"] = "std"
    """`std`: (R - mean) / (std + 1e-4) (GRPO); `mean`: R - mean (Dr. GRPO); `per_term`: every
    reward term by itself as in `std`, then their weighted sum, scaled over the step (GDPO)."""
    tolerance: float = Field(default=1e-6, ge=0)
    """A group whose rewards differ by no more than this is flat: advantage 0, not normalized."""
    flat_groups: Literal["drop", "keep"] = "drop"
    """`drop`: they go, which saves the learner their time, and the KL term is not taken over them.
    `keep`: with `loss.kl_coef` above 0 they stay for it, with advantage 0."""
    refill_rounds: int = Field(default=0, ge=0, le=64)
    """Times that a step draws further prompts, as many as it has flat groups, whose groups take the
    place of these (dynamic sampling, DAPO); what is flat after the last stays. 0 = never."""
    refill_by: str = ""
    """Reward term whose scores, all equal, make a group flat for the refill too, such as
    `accuracy`: all right or all wrong. Empty = only equal rewards do."""
    mask_truncated: bool = False
    """Completions cut at the token limit count for the group's baseline, but are not trained on."""


@dataclass
class LossConfig(Section):
    """What the learner minimizes."""

    kind: Literal["policy", "sft"] = "policy"
    """`policy`: policy loss plus KL; `sft`: negative log-likelihood of the reference answer."""
    policy: str = "clip"
    """`clip`: ratio of each token, clipped (PPO, GRPO, DAPO); `gspo`: one ratio per completion,
    which wants clips of about 3e-4; `cispo`: clipped ratio as a fixed weight, so that no token
    loses its gradient. All the same with one update per step. `module:function`: one of your own,
    from `rewards.packages`, see docs/losses.md."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The probability ratio is clipped below 1 - clip_low."""
    clip_high: float = Field(default=0.2, ge=0)
    """The probability ratio is clipped above 1 + clip_high."""
    kl_coef: float = Field(default=0.04, ge=0)
    """Weight of the KL term against the frozen start policy; 0 = no reference model at all."""
    reference: Literal["start", "base"] = "start"
    """The frozen policy of the KL term: `start`, what the run starts from, `model.adapter`
    included; `base`, `model.path` alone. The same without `model.adapter`."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Per-token estimator of the KL divergence, as a loss term; `k1` regularizes nothing."""
    entropy_coef: float = Field(default=0.0, ge=0)
    """Weight of an entropy bonus: the mean entropy of the next-token distributions, in nats, is
    taken off the loss; 0 = none. Values in use: 1e-4 to 1e-2."""
    aggregation: Literal["token_mean", "sequence_mean", "constant"] = "token_mean"
    """Mean over all tokens of an update on all ranks, or over completions of their token means;
    `constant`: sum over tokens by a fixed number, see docs/losses.md (Dr. GRPO)."""
    importance_cap: float = Field(default=2.0, ge=0)
    """Truncated importance weight of learner over engine probabilities; 0 = off."""
    epochs: int = Field(default=1, ge=1)
    """Passes over a step's samples."""
    minibatches: int = Field(default=1, ge=1)
    """Optimizer updates per pass."""
