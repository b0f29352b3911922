"""Losses per completion token; the sum over tokens, rows and ranks is left to the caller.

All tensors are [N]: the completion tokens of one row, log-probabilities in nats. The loss of a step
is the sum of a function's result times `Microbatch.loss_weights`, over every row of every rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from configs.loss_schema import LOSS_INPUTS
from configs.schema import LossConfig
from data.records import Microbatch
from rewards.base import find_function
from rewards.foreign import accepted

MAX_LOG_RATIO = 20.0
"""Where a log-ratio of two policies is held, in nats: exp of more than 88 is infinite in float32,
and infinity times the 0 of a clipped gradient is NaN. On-policy no ratio comes near it."""


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    completion_ids: Tensor,
    *,
    kind: str,
    clip_low: float,
    clip_high: float,
    packages: Sequence[str] = (),
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the policy-gradient loss of each token, by a variant below or a function elsewhere.

    Summed over a completion, those below have the gradient `-A` with respect to the log-prob of a
    token while the policy is still the old one; they differ from the second update of a step on.

    Args:
        logprobs: [N] under the current policy; the gradient flows through them.
        old_logprobs: [N] under the policy before this batch's first update, without gradient.
            On-policy they are `logprobs.detach()`: then the ratio `r` is exactly 1, but its
            gradient is not 0.
        advantages: [N] advantage of the token's completion.
        completion_ids: [N] integers on any device, which completion a token belongs to; the tokens
            of a completion are consecutive and complete. Only `gspo` looks at them.
        kind: `loss.policy`: a name, or `module:function`, which is called with those of
            `LOSS_INPUTS` that it has a name for and returns the loss [N].
        clip_low: The ratio is clipped below at `1 - clip_low`; in [0, 1].
        clip_high: The ratio is clipped above at `1 + clip_high`; >= 0.
        packages: `rewards.packages`.

    Returns:
        The loss [N], and detached metrics [N]: `ratio`, and `clipped` (bool), True where the clip
        changes a token's gradient: to 0 with `clip` and `gspo`, to its bound with `cispo`; of a
        function elsewhere that is not known.

    Raises:
        RewardError: The function is not in these packages, or cannot be imported.
        ValueError: It returned something else than [N], or nothing to learn from.
    """
    low, high = 1.0 - clip_low, 1.0 + clip_high
    values = (logprobs, old_logprobs, advantages, completion_ids, low, high)
    if kind in _POLICY_KINDS:
        return _POLICY_KINDS[kind](*values)
    function = find_function("policy loss", kind, packages)
    loss = function(**accepted(function, dict(zip(LOSS_INPUTS, values, strict=True))))
    if getattr(loss, "shape", None) != logprobs.shape:
        shown = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss.policy: {kind} returned {shown}, expected {tuple(logprobs.shape)}")
    if logprobs.requires_grad and not loss.requires_grad:
        raise ValueError(f"loss.policy: {kind} returned a loss without a gradient")
    return loss, {"ratio": _ratio(logprobs.detach() - old_logprobs)}


def clip_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, _: Tensor, low: float, high: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `-min(r A, clip(r) A)` with the ratio `r` of each token.

    Source: PPO (arXiv 1707.06347), eq. 7; separate bounds: DAPO (arXiv 2503.14476), section 3.1.
    """
    return _surrogate(_ratio(logprobs - old_logprobs), advantages, low, high)


def gspo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    completion_ids: Tensor,
    low: float,
    high: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `-min(s A, clip(s) A)`, `s` the geometric mean of the ratios of a completion.

    Every token carries its completion's value, and a token's gradient is the mean over the
    completion: the whole completion is kept or held back. The paper's token-level form has the same
    value and gradient where all tokens of a completion share an advantage, as they do here.

    Source: GSPO (arXiv 2507.18071), eq. 5 to 7.
    """
    lengths = torch.unique_consecutive(completion_ids, return_counts=True)[1].tolist()
    parts = torch.split(logprobs - old_logprobs, lengths)
    ratio = _ratio(torch.cat([part.mean().expand(len(part)) for part in parts]))
    return _surrogate(ratio, advantages, low, high)


def cispo_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, _: Tensor, low: float, high: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return `-c A logprob`, `c` the clipped ratio of each token, without gradient.

    No token loses its gradient. The value itself means nothing; its gradient is `-c A`.

    Source: CISPO (MiniMax-M1, arXiv 2506.13585), section 3.1; their runs bound it above only.
    """
    ratio = _ratio(logprobs - old_logprobs).detach()
    weight = torch.clamp(ratio, low, high)
    return -weight * advantages * logprobs, {"ratio": ratio, "clipped": weight != ratio}


def _ratio(log_ratio: Tensor) -> Tensor:
    """Return `exp` of a log-ratio in nats, which beyond 20 stays there and has no gradient."""
    return torch.exp(log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))


def _surrogate(
    ratio: Tensor, advantages: Tensor, low: float, high: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """PPO's pessimistic bound, and where it holds a token back."""
    bounded = torch.clamp(ratio, low, high)
    loss = -torch.minimum(ratio * advantages, bounded * advantages)
    fixed = ratio.detach()
    clipped = ((advantages > 0) & (fixed > high)) | ((advantages < 0) & (fixed < low))
    return loss, {"ratio": fixed, "clipped": clipped}


_POLICY_KINDS = {"clip": clip_loss, "gspo": gspo_loss, "cispo": cispo_loss}


def kl_estimate(logprobs: Tensor, ref_logprobs: Tensor, kind: Literal["k1", "k2", "k3"]) -> Tensor:
    """Return an estimate of the policy's divergence from the reference policy, per token.

    With `d = ref_logprobs - logprobs`: k1 = -d, k2 = d^2 / 2, k3 = exp(d) - d - 1. As loss terms
    their gradients with respect to `logprobs` are 1, -d and 1 - exp(d). In k3, d is held at 20:
    beyond it there is no gradient.

    Args:
        logprobs: [N] under the current policy; the gradient flows through them.
        ref_logprobs: [N] under the reference policy, without gradient.
        kind: Which estimator; k2 and k3 are never negative, k1 has mean KL but any sign.

    Returns:
        [N] in nats.

    Source: J. Schulman, "Approximating KL divergence" (2020); k3 as a loss term: DeepSeekMath
    (arXiv 2402.03300), eq. 4.
    """
    return _KL_KINDS[kind](ref_logprobs - logprobs)


def _k1(d: Tensor) -> Tensor:
    return -d


def _k2(d: Tensor) -> Tensor:
    return 0.5 * d * d


def _k3(d: Tensor) -> Tensor:
    # expm1 keeps the digits that exp(d) - 1 loses where the two policies nearly agree.
    held = d.clamp(max=MAX_LOG_RATIO)
    return torch.expm1(held) - held


_KL_KINDS = {"k1": _k1, "k2": _k2, "k3": _k3}


def importance_weights(old_logprobs: Tensor, rollout_logprobs: Tensor, cap: float) -> Tensor:
    """Return the weight that corrects each token for the gap between engine and learner.

    Args:
        old_logprobs: [N] by the learner, for the weights that sampled the tokens.
        rollout_logprobs: [N] by the engine, when it sampled them.
        cap: Largest weight; 0 switches the correction off.

    Returns:
        [N] without gradient: `min(exp(old - rollout), cap)` in (0, cap], or ones if off.

    Source: the truncated ratio of IMPALA (arXiv 1802.01561), section 4.1, used between two
    implementations of the same policy.
    """
    if cap == 0:
        return torch.ones_like(old_logprobs, requires_grad=False)
    return torch.exp(old_logprobs - rollout_logprobs).detach().clamp(max=cap)


def sft_loss(logprobs: Tensor, credits: Tensor) -> Tensor:
    """Return the weighted negative log-likelihood `-c logprob` of each target token, in nats.

    Args:
        logprobs: [N] of the target tokens; the gradient flows through them.
        credits: [N] weight of the answer that a token belongs to: 1 for a reference answer, the
            share of each where several answers to one question are known.
    """
    return -credits * logprobs


class FrozenScores(NamedTuple):
    """What is fixed during a step, per row; None where the loss does not ask for it."""

    old: torch.Tensor | None
    """[N] log-probs before the step's first update."""
    reference: torch.Tensor | None
    """[N] log-probs of the start policy."""


def policy_terms(
    logprobs: torch.Tensor,
    row: Microbatch,
    frozen: FrozenScores,
    loss: LossConfig,
    *,
    entropy: torch.Tensor | None = None,
    whole: torch.Tensor | None = None,
    packages: Sequence[str] = (),
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the policy loss of each token of a row, KL and entropy bonus included, and metrics.

    Args:
        logprobs: [N] under the current policy, with gradient.
        frozen: its scores before the step's first update, on the same device.
        entropy: [N] of the next-token distributions, with gradient, for the bonus
            `-entropy_coef * H`; it may be left out where that is 0.
        whole: [N] log-probs under the current policy in the whole distribution, with gradient, if
            `logprobs` are those among the tokens that sampling keeps. The KL is between whole
            distributions: a token that one policy keeps and the other does not would make it
            infinite.
        packages: `rewards.packages`, for a `loss.policy` from one of them.

    Returns:
        The loss [N] before `row.loss_weights`, and detached metrics [N].
    """
    advantages = torch.from_numpy(row.advantages).to(logprobs.device)
    rollout = torch.from_numpy(row.rollout_logprobs).to(logprobs.device)
    per_token, clipping = policy_loss(
        logprobs,
        frozen.old,
        advantages,
        # Only counted on the host: on a GPU this would wait for the forward pass.
        torch.from_numpy(row.completion_ids),
        kind=loss.policy,
        clip_low=loss.clip_low,
        clip_high=loss.clip_high,
        packages=packages,
    )
    correction = importance_weights(frozen.old, rollout, loss.importance_cap)
    per_token = per_token * correction
    metrics = {
        "policy/ratio_mean": clipping["ratio"],
        "policy/importance_weight_mean": correction,
        "policy/logprob_gap": (frozen.old - rollout).abs(),
    }
    if "clipped" in clipping:
        metrics["policy/clip_frac"] = clipping["clipped"].float()
    if frozen.reference is not None:
        now = logprobs if whole is None else whole
        kl = kl_estimate(now, frozen.reference, loss.kl_estimator)
        per_token = per_token + loss.kl_coef * kl
        metrics["policy/kl"] = kl.detach()
    if loss.entropy_coef:
        assert entropy is not None
        per_token = per_token - loss.entropy_coef * entropy
    return per_token, metrics
