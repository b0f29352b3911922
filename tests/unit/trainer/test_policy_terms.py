"""What the learner minimizes on a row, by hand: every option of the loss arrives there."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.schema import LossConfig
from data.records import Group, GroupSample, Microbatch
from tests.unit.make_samples import make_completion, make_sample
from trainer.losses import FrozenScores, policy_terms
from trainer.packing import build_row, completion_weights, padding_row

# One completion of two tokens with ratios 1.96 and 1, one of a single token with ratio 0.5.
RATIOS = torch.tensor([1.96, 1.0, 0.5], dtype=torch.float64)
OLD = torch.full((3,), -1.0, dtype=torch.float64)
PLAIN = LossConfig(clip_low=0.2, clip_high=0.3, kl_coef=0, importance_cap=0)


@pytest.fixture
def row() -> Microbatch:
    sample = make_sample([1], [[5, 6], [7]], advantages=[1.0, -1.0])
    group = Group(
        sample.group.prompt,
        (make_completion([5, 6], [-1.0, -1.0 - math.log(3)]), make_completion([7], [-1.0])),
    )
    sample = GroupSample(group, sample.advantages, sample.loss_mask)
    return build_row([sample], completion_weights([sample], "sequence_mean"))


def terms(row: Microbatch, loss: LossConfig, reference: torch.Tensor | None = None):
    """Loss [3], its gradient after the row's weights, and the metrics."""
    logprobs = (OLD + RATIOS.log()).requires_grad_()
    per_token, figures = policy_terms(logprobs, row, FrozenScores(OLD, reference), loss)
    total = (per_token * torch.from_numpy(row.loss_weights)).sum()
    (slopes,) = torch.autograd.grad(total, logprobs)
    return per_token.detach(), slopes, figures


# Loss weights are 1/4, 1/4 and 1/2; the bounds 0.8 and 1.3.
@pytest.mark.parametrize(
    ("kind", "values", "slopes", "ratios", "clipped"),
    [
        ("clip", [-1.3, -1.0, 0.8], [0.0, -0.25, 0.0], [1.96, 1.0, 0.5], [1, 0, 1]),
        ("gspo", [-1.3, -1.3, 0.8], [0.0, 0.0, 0.0], [1.4, 1.4, 0.5], [1, 1, 1]),
        (
            "cispo",
            [-1.3 * (math.log(1.96) - 1), 1.0, 0.8 * (math.log(0.5) - 1)],
            [-0.325, -0.25, 0.4],
            [1.96, 1.0, 0.5],
            [1, 0, 1],
        ),
    ],
)
def test_the_policy_loss_is_the_chosen_one(row, kind, values, slopes, ratios, clipped):
    found, gradient, figures = terms(row, replace(PLAIN, policy=kind))
    assert found.tolist() == pytest.approx(values)
    assert gradient.tolist() == pytest.approx(slopes)
    assert figures["policy/ratio_mean"].tolist() == pytest.approx(ratios)
    assert figures["policy/clip_frac"].tolist() == clipped


@pytest.mark.parametrize("kind", ["clip", "gspo", "cispo"])
def test_a_padding_row_has_a_finite_loss_and_no_gradient(row: Microbatch, kind: str):
    found, gradient, _ = terms(padding_row(row), replace(PLAIN, policy=kind))
    assert found.isfinite().all()
    assert gradient.tolist() == [0.0] * 3


def test_the_importance_weight_scales_each_tokens_loss(row: Microbatch):
    plain, _, _ = terms(row, PLAIN)
    corrected, _, figures = terms(row, replace(PLAIN, importance_cap=2.0))
    # The engine gave the second token a third of its probability: 3, truncated to 2.
    assert figures["policy/importance_weight_mean"].tolist() == pytest.approx([1.0, 2.0, 1.0])
    assert (corrected / plain).tolist() == pytest.approx([1.0, 2.0, 1.0])
    assert figures["policy/logprob_gap"].tolist() == pytest.approx([0.0, math.log(3), 0.0])


@pytest.mark.parametrize(("kind", "slope"), [("k1", 1.0), ("k2", 0.5), ("k3", 1 - math.exp(-0.5))])
def test_kl_adds_its_own_gradient(row: Microbatch, kind: str, slope: float):
    reference = OLD + RATIOS.log() - 0.5
    _, plain, _ = terms(row, PLAIN)
    _, pulled, figures = terms(row, replace(PLAIN, kl_coef=0.1, kl_estimator=kind), reference)
    expected = 0.1 * slope * np.array([0.25, 0.25, 0.5])
    assert (pulled - plain).tolist() == pytest.approx(expected.tolist())
    assert not figures["policy/kl"].requires_grad


def test_the_entropy_bonus_by_hand(row):
    logprobs = OLD.clone()
    entropy = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64, requires_grad=True)
    frozen = FrozenScores(OLD, None)
    plain, _ = policy_terms(logprobs, row, frozen, PLAIN, entropy=entropy)
    assert not plain.requires_grad
    loss = replace(PLAIN, entropy_coef=0.01)
    with_bonus, _ = policy_terms(logprobs, row, frozen, loss, entropy=entropy)
    assert (with_bonus - plain).tolist() == pytest.approx([-0.02, -0.01, -0.005])
    total = (with_bonus * torch.from_numpy(row.loss_weights)).sum()
    (slopes,) = torch.autograd.grad(total, entropy)
    assert slopes.tolist() == pytest.approx([-0.0025, -0.0025, -0.005])


def test_the_kl_is_between_whole_distributions(row):
    whole = (OLD - 0.1).requires_grad_()
    reference = OLD - 0.3
    loss = replace(PLAIN, kl_coef=0.5, kl_estimator="k1")
    frozen = FrozenScores(OLD, reference)
    per_token, metrics = policy_terms(OLD.clone(), row, frozen, loss, whole=whole)
    assert metrics["policy/kl"].tolist() == pytest.approx([0.2] * 3)
    (slopes,) = torch.autograd.grad(per_token.sum(), whole)
    assert slopes.tolist() == pytest.approx([0.5] * 3)
