"""Token losses and their gradients by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewards.base import RewardError
from trainer.losses import importance_weights, kl_estimate, policy_loss, sft_loss

E = math.exp


def tensor(*values: float, grad: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def gradient(loss: torch.Tensor, of: torch.Tensor) -> list[float]:
    return torch.autograd.grad(loss.sum(), of)[0].tolist()


def loss_of(kind, logprobs, old, advantages, ids=None, packages=()):
    """Policy loss with the clip [0.8, 1.3]; by default all tokens are of one completion."""
    completion_ids = torch.tensor(ids if ids is not None else [0] * len(logprobs))
    return policy_loss(
        logprobs,
        old,
        advantages,
        completion_ids,
        kind=kind,
        clip_low=0.2,
        clip_high=0.3,
        packages=packages,
    )


# With old log-prob 0 the ratio is the value given; the clip is [0.8, 1.3].
CLIP_CASES = {
    # name: (ratio, advantage, loss, gradient with respect to the log-prob, clipped)
    "inside, good": (1.1, 2.0, -2.2, -2.2, False),
    "inside, bad": (1.1, -2.0, 2.2, 2.2, False),
    "above, good": (1.5, 2.0, -2.6, 0.0, True),
    "above, bad": (1.5, -2.0, 3.0, 3.0, False),
    "below, good": (0.5, 2.0, -1.0, -1.0, False),
    "below, bad": (0.5, -2.0, 1.6, 0.0, True),
    "between the two bounds' sizes": (1.25, 2.0, -2.5, -2.5, False),
    "no advantage": (1.5, 0.0, 0.0, 0.0, False),
}


@pytest.mark.parametrize("name", CLIP_CASES)
def test_clip(name: str):
    ratio, advantage, value, slope, clipped = CLIP_CASES[name]
    logprobs = tensor(math.log(ratio), grad=True)
    loss, stats = loss_of("clip", logprobs, tensor(0.0), tensor(advantage))
    assert loss.item() == pytest.approx(value)
    assert gradient(loss, logprobs) == pytest.approx([slope])
    assert stats["ratio"].item() == pytest.approx(ratio)
    assert stats["clipped"].tolist() == [clipped]
    assert not stats["ratio"].requires_grad


def test_on_policy_the_ratio_is_exactly_one_and_the_gradient_is_the_advantage():
    logprobs = torch.tensor([-0.1, -7.3, -1e-6, -40.0], requires_grad=True)
    advantages = torch.tensor([1.5, -0.5, 0.25, 3.0])
    for kind in ("clip", "gspo", "cispo"):
        # One token a completion: then gspo is a token's ratio too.
        loss, stats = loss_of(kind, logprobs, logprobs.detach(), advantages, ids=[0, 1, 2, 3])
        assert stats["ratio"].tolist() == [1.0] * 4
        assert not stats["clipped"].any()
        assert gradient(loss, logprobs) == [-1.5, 0.5, -0.25, -3.0]
        if kind != "cispo":
            assert loss.tolist() == [-1.5, 0.5, -0.25, -3.0]


def test_gspo_by_hand():
    # Completion 0 has ratios 1.2 and 0.9, completion 1 has 1.6 and 1.0; old log-probs are 0.
    logprobs = tensor(math.log(1.2), math.log(0.9), math.log(1.6), 0.0, grad=True)
    advantages = tensor(2.0, 2.0, -1.0, -1.0)
    loss, stats = loss_of("gspo", logprobs, tensor(0.0), advantages, ids=[0, 0, 1, 1])
    first, second = math.sqrt(1.2 * 0.9), math.sqrt(1.6)
    assert stats["ratio"].tolist() == pytest.approx([first, first, second, second])
    assert loss.tolist() == pytest.approx([-2 * first, -2 * first, second, second])
    # Every token carries the whole value and half of its slope: twice half of it in the sum.
    assert gradient(loss, logprobs) == pytest.approx([-2 * first, -2 * first, second, second])


def test_gspo_holds_a_whole_completion_back():
    # A geometric mean of 1.4 is above 1.3 although one token is not; the other one is inside.
    logprobs = tensor(math.log(1.96), 0.0, math.log(1.1), math.log(1.1), grad=True)
    advantages = tensor(1.0, 1.0, 1.0, 1.0)
    loss, stats = loss_of("gspo", logprobs, tensor(0.0), advantages, ids=[0, 0, 1, 1])
    assert loss.tolist() == pytest.approx([-1.3, -1.3, -1.1, -1.1])
    assert stats["clipped"].tolist() == [True, True, False, False]
    assert gradient(loss, logprobs) == pytest.approx([0.0, 0.0, -1.1, -1.1])


def test_cispo_by_hand():
    logprobs = tensor(math.log(1.1), math.log(1.5), math.log(0.5), math.log(1.5), grad=True)
    advantages = tensor(2.0, 2.0, 2.0, -2.0)
    loss, stats = loss_of("cispo", logprobs, tensor(0.0), advantages)
    # The weights 1.1, 1.3, 0.8 and 1.3 carry no gradient: no token is dropped.
    assert gradient(loss, logprobs) == pytest.approx([-2.2, -2.6, -1.6, 2.6])
    assert loss.tolist() == pytest.approx(
        [-2.2 * math.log(1.1), -2.6 * math.log(1.5), -1.6 * math.log(0.5), 2.6 * math.log(1.5)]
    )
    assert stats["clipped"].tolist() == [False, True, True, True]
    assert stats["ratio"].tolist() == pytest.approx([1.1, 1.5, 0.5, 1.5])


@pytest.mark.parametrize("kind", ["clip", "gspo", "cispo"])
def test_a_loss_in_parts_is_the_loss_of_the_whole(kind: str):
    draw = torch.Generator().manual_seed(0)
    ids = torch.arange(6).repeat_interleave(torch.tensor([3, 1, 4, 2, 5, 2]))
    old = -torch.rand(len(ids), generator=draw, dtype=torch.float64)
    logprobs = (old + 0.4 * torch.randn(len(ids), generator=draw, dtype=torch.float64)).detach()
    advantages = torch.randn(6, generator=draw, dtype=torch.float64)[ids]
    weights = torch.rand(6, generator=draw, dtype=torch.float64)[ids]

    def summed(chosen: torch.Tensor) -> tuple[float, torch.Tensor]:
        part = logprobs[chosen].requires_grad_()
        loss, _ = loss_of(kind, part, old[chosen], advantages[chosen], ids[chosen].tolist())
        total = (loss * weights[chosen]).sum()
        return total.item(), torch.autograd.grad(total, part)[0]

    whole, slopes = summed(torch.ones(len(ids), dtype=torch.bool))
    # Two ranks with three rows of one completion each.
    parts = [summed(ids == i) for i in range(6)]
    assert sum(value for value, _ in parts) == pytest.approx(whole, rel=1e-12)
    assert torch.cat([slope for _, slope in parts]).tolist() == pytest.approx(slopes.tolist())


@pytest.mark.parametrize(
    ("kind", "values", "slopes"),
    [
        ("k1", [0.0, 0.5, -1.0], [1.0, 1.0, 1.0]),
        ("k2", [0.0, 0.125, 0.5], [0.0, 0.5, -1.0]),
        ("k3", [0.0, E(-0.5) + 0.5 - 1, E(1.0) - 2], [0.0, 1 - E(-0.5), 1 - E(1.0)]),
    ],
)
def test_kl_estimates(kind, values: list[float], slopes: list[float]):
    logprobs = tensor(-1.0, -1.5, -3.0, grad=True)
    ref = tensor(-1.0, -2.0, -2.0)
    kl = kl_estimate(logprobs, ref, kind)
    assert kl.tolist() == pytest.approx(values)
    assert gradient(kl, logprobs) == pytest.approx(slopes)


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k3_is_never_negative_and_pulls_towards_the_reference(logprob: float, ref: float):
    logprobs = tensor(logprob, grad=True)
    kl = kl_estimate(logprobs, tensor(ref), "k3")
    (slope,) = gradient(kl, logprobs)
    assert kl.item() >= 0
    assert slope * (logprob - ref) >= 0


def test_k3_keeps_small_differences_in_float32():
    kl = kl_estimate(torch.tensor([-1.0]), torch.tensor([-1.0 + 2**-10]), "k3")
    assert kl.item() == pytest.approx(2**-21, rel=1e-3)


def test_the_mean_of_every_estimator_is_the_divergence():
    policy = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    ref = torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)
    exact = (policy * (policy / ref).log()).sum().item()
    for kind in ("k1", "k3"):
        estimate = kl_estimate(policy.log(), ref.log(), kind)
        assert (policy * estimate).sum().item() == pytest.approx(exact)


def test_importance_weights_are_truncated_above_only_and_carry_no_gradient():
    old = tensor(-1.0, -1.0, -1.0, -1.0, grad=True)
    rollout = tensor(-1.0, -1.0 - math.log(1.5), -4.0, -1.0 + math.log(4.0))
    weights = importance_weights(old, rollout, cap=2.0)
    assert weights.tolist() == pytest.approx([1.0, 1.5, 2.0, 0.25])
    assert not weights.requires_grad


def test_importance_weights_off_are_ones():
    old = tensor(-1.0, -9.0, grad=True)
    weights = importance_weights(old, tensor(-5.0, -1.0), cap=0.0)
    assert weights.tolist() == [1.0, 1.0]
    assert not weights.requires_grad


def test_importance_weights_of_an_impossible_token_stay_finite():
    assert importance_weights(tensor(0.0), tensor(-2000.0), cap=2.0).tolist() == [2.0]


def test_sft_loss_is_the_negative_log_likelihood():
    logprobs = tensor(math.log(0.5), math.log(0.25), grad=True)
    loss = sft_loss(logprobs, tensor(1.0, 1.0))
    assert loss.tolist() == pytest.approx([math.log(2), math.log(4)])
    assert gradient(loss, logprobs) == [-1.0, -1.0]


def test_sft_loss_weighs_each_answer_by_its_share():
    logprobs = tensor(math.log(0.5), math.log(0.25), grad=True)
    loss = sft_loss(logprobs, tensor(0.25, 0.75))
    assert loss.tolist() == pytest.approx([0.25 * math.log(2), 0.75 * math.log(4)])
    assert gradient(loss, logprobs) == [-0.25, -0.75]


@pytest.mark.parametrize("kind", ["clip", "gspo", "cispo"])
@pytest.mark.parametrize("advantage", [1.0, -1.0, 0.0])
def test_a_ratio_that_no_float_can_hold_gives_no_nan(kind: str, advantage: float):
    """exp(100) is infinite in float32, and infinity times a clipped gradient of 0 is NaN."""
    logprobs = torch.tensor([-0.5, -120.0], requires_grad=True)
    old = torch.tensor([-100.5, -0.5])
    loss, stats = loss_of(kind, logprobs, old, torch.full((2,), advantage), ids=[0, 1])
    assert loss.isfinite().all() and stats["ratio"].isfinite().all()
    assert all(map(math.isfinite, gradient(loss, logprobs)))


def test_k3_of_a_token_that_the_reference_alone_expects_stays_finite():
    logprobs = torch.tensor([-100.0, -15.0], requires_grad=True)
    kl = kl_estimate(logprobs, torch.tensor([-0.5, -0.5]), "k3")
    assert kl.isfinite().all()
    # Up to 20 nats nothing changes: 1 - exp(14.5).
    slopes = gradient(kl, logprobs)
    assert slopes[0] == 0 and slopes[1] == pytest.approx(1 - E(14.5))


def reinforce(logprobs: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    return -advantages * logprobs


def held_above(*, logprobs: torch.Tensor, high: float, **_: object) -> torch.Tensor:
    return logprobs.clamp(max=high)


def mean_of_all(logprobs: torch.Tensor) -> torch.Tensor:
    return logprobs.mean()


def without_gradient(logprobs: torch.Tensor) -> torch.Tensor:
    return -logprobs.detach()


HERE = "tests.unit.trainer.test_losses"


def test_a_loss_of_a_users_own_is_given_what_it_names():
    logprobs, old = tensor(-1.0, -2.0, grad=True), tensor(-1.0, -2.5)
    loss, stats = loss_of(f"{HERE}:reinforce", logprobs, old, tensor(2.0, -1.0), None, ["tests"])
    assert loss.tolist() == [2.0, -2.0] and gradient(loss, logprobs) == [-2.0, 1.0]
    # What its clip is, if it has one, nobody knows: missing, and not 0.
    assert stats.keys() == {"ratio"} and stats["ratio"].tolist() == [1.0, E(0.5)]
    loss, _ = loss_of(f"{HERE}:held_above", tensor(1.0, 2.0), old, old, None, ["tests"])
    assert loss.tolist() == [1.0, 1.3]  # 1 + clip_high


def test_a_loss_that_is_not_one_number_a_token_or_not_allowed_is_refused():
    old = tensor(-1.0, -2.0)
    with pytest.raises(ValueError, match=r"mean_of_all returned \(\), expected \(2,\)"):
        loss_of(f"{HERE}:mean_of_all", old, old, old, None, ["tests"])
    # With a KL term beside it, such a run would go on, and learn nothing from its rewards.
    with pytest.raises(ValueError, match="without_gradient returned a loss without a gradient"):
        loss_of(
            f"{HERE}:without_gradient", tensor(-1.0, grad=True), old[:1], old[:1], None, ["tests"]
        )
    with pytest.raises(RewardError, match="package 'tests' is not in"):
        loss_of(f"{HERE}:reinforce", old, old, old)
