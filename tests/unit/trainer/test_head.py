"""The vocabulary projection: its chunks, and its number format."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from data.prompts import FORBIDDEN_LOGIT
from trainer import head as heads
from trainer.head import Truncation, VocabularyHead

NUM_TOKENS, WIDTH, VOCABULARY = 40, 32, 100


def inputs() -> tuple[Tensor, Tensor, nn.Parameter]:
    """Hidden states and weights in bfloat16 whose logits reach 30, and targets."""
    torch.manual_seed(0)
    hidden = (3 * torch.randn(NUM_TOKENS, WIDTH)).bfloat16()
    weight = nn.Parameter(torch.randn(VOCABULARY, WIDTH).bfloat16())
    return hidden, torch.randint(VOCABULARY, (NUM_TOKENS,)), weight


def head(weight: nn.Parameter, *, chunk_tokens: int = 1024, float32: bool) -> VocabularyHead:
    return VocabularyHead(
        weight,
        temperature=1.0,
        forbidden_token_ids=[],
        chunk_tokens=chunk_tokens,
        float32=float32,
    )


def largest_error(*, float32: bool) -> float:
    hidden, target, weight = inputs()
    logprobs, _, _ = head(weight, float32=float32)(hidden, target)
    exact = torch.log_softmax(hidden.double() @ weight.double().T, dim=-1)
    return (logprobs - exact.gather(-1, target[:, None])[:, 0]).abs().max().item()


def test_a_float32_head_has_no_steps_between_its_logits() -> None:
    assert largest_error(float32=True) < 1e-5
    # Half of a step of bfloat16 between 16 and 32 is 0.0625.
    assert largest_error(float32=False) > 0.02


@pytest.mark.parametrize("chunk_tokens", [7, NUM_TOKENS])
@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_numbers_and_gradients_are_those_of_plain_operations(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int, chunk_tokens: int
) -> None:
    monkeypatch.setattr(heads, "KEPT_BYTES", kept_bytes)
    factors = torch.linspace(-1, 1, NUM_TOKENS)
    outcomes = []
    for ours in (True, False):
        hidden, target, weight = inputs()
        hidden, weight = hidden.float().requires_grad_(), nn.Parameter(weight.float())
        if ours:
            layer = VocabularyHead(
                weight,
                temperature=0.7,
                forbidden_token_ids=[3, 6],
                chunk_tokens=chunk_tokens,
                float32=False,
            )
            logprobs, entropy, _ = layer(hidden, target)
        else:
            bias = torch.zeros(VOCABULARY).index_fill(0, torch.tensor([3, 6]), FORBIDDEN_LOGIT)
            scores = torch.log_softmax(hidden @ weight.T / 0.7 + bias, dim=-1)
            logprobs = scores.gather(-1, target[:, None])[:, 0]
            entropy = -(scores.exp() * scores).sum(-1)
        (logprobs * factors).sum().backward()
        outcomes.append((logprobs, entropy, hidden.grad, weight.grad))
    for found, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kept_bytes", "kept"), [(4 * NUM_TOKENS * VOCABULARY, 1), (0, 0)])
def test_probabilities_are_kept_where_they_are_small(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int, kept: int
) -> None:
    monkeypatch.setattr(heads, "KEPT_BYTES", kept_bytes)
    shapes = []

    def note(tensor: Tensor) -> Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor

    hidden, target, weight = inputs()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        head(weight, chunk_tokens=7, float32=False)(hidden, target)
    assert shapes.count((NUM_TOKENS, VOCABULARY)) == kept
    assert (7, VOCABULARY) not in shapes


@pytest.mark.parametrize("float32", [False, True])
def test_chunks_change_neither_numbers_nor_gradients(float32: bool) -> None:
    outcomes = []
    for chunk_tokens in (NUM_TOKENS, 7):
        hidden, target, weight = inputs()
        hidden.requires_grad_()
        logprobs, entropy, _ = head(weight, chunk_tokens=chunk_tokens, float32=float32)(
            hidden, target
        )
        (logprobs * torch.arange(NUM_TOKENS)).sum().backward()
        outcomes.append((logprobs, entropy, hidden.grad, weight.grad))
    whole, chunked = outcomes
    for ours, theirs in zip(chunked[:3], whole[:3], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    # The weights' gradient is a sum over chunks, which bfloat16 rounds after each of them.
    limit = 1e-6 if float32 else 1e-2
    error = torch.linalg.norm((chunked[3] - whole[3]).float())
    assert error <= limit * torch.linalg.norm(whole[3].float())


def by_hand(logits: list[float], target: int, **options: float) -> tuple[float, float]:
    """Log-probs of a token among those that are kept, and in the whole distribution."""
    layer = VocabularyHead(
        nn.Parameter(torch.tensor(logits)[:, None]),
        temperature=1.0,
        forbidden_token_ids=[],
        chunk_tokens=8,
        float32=False,
        truncation=Truncation(**options),  # type: ignore[arg-type]
    )
    sampled, _, whole = layer(torch.ones(1, 1), torch.tensor([target]))
    return sampled.item(), whole.item()


SHARES = [0.5, 0.25, 0.15, 0.1]


@pytest.mark.parametrize(
    ("options", "target", "share"),
    [
        ({"top_p": 0.8}, 0, 0.5 / 0.9),  # 0.5 + 0.25 is not 0.8 yet
        ({"top_p": 0.8}, 2, 0.15 / 0.9),
        ({"top_p": 0.7}, 1, 0.25 / 0.75),
        ({"top_k": 2}, 0, 0.5 / 0.75),
        ({"top_k": 3, "top_p": 0.7}, 0, 0.5 / 0.75),  # 0.5 / 0.9 is not 0.7 yet
        ({"top_k": 9}, 3, 0.1),
        ({"top_p": 0.01}, 0, 1.0),  # one token stays
        ({"top_p": 0.7}, 3, 0.1 / 0.85),  # sampled, so it was kept
    ],
)
def test_what_is_kept_by_hand(options: dict[str, float], target: int, share: float) -> None:
    sampled, whole = by_hand(torch.tensor(SHARES).log().tolist(), target, **options)
    assert sampled == pytest.approx(torch.tensor(share).log().item(), abs=1e-6)
    assert whole == pytest.approx(torch.tensor(SHARES[target]).log().item(), abs=1e-6)


def test_equals_at_the_last_place_of_top_k_stay_together() -> None:
    shares = torch.tensor([0.4, 0.2, 0.2, 0.2])
    sampled, _ = by_hand(shares.log().tolist(), 0, top_k=2)
    assert sampled == pytest.approx(torch.tensor(0.4).log().item(), abs=1e-6)


def kept_by_vllms_rule(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """The rule as vLLM states it, on logits; another way to the same tokens."""
    kept = torch.zeros_like(logits, dtype=torch.bool)
    for row, out in zip(logits, kept, strict=True):
        order = row.argsort(descending=True)[:top_k]
        shares = row[order].softmax(-1)
        before = shares.cumsum(-1) - shares
        out[order[before < top_p]] = True
    return kept


@pytest.mark.parametrize("kept_bytes", [0, 2**30])
def test_truncated_numbers_and_all_gradients_are_those_of_plain_operations(
    monkeypatch: pytest.MonkeyPatch, kept_bytes: int
) -> None:
    monkeypatch.setattr(heads, "KEPT_BYTES", kept_bytes)
    factors = torch.linspace(-1, 1, NUM_TOKENS, dtype=torch.float64)
    outcomes = []
    for ours in (True, False):
        hidden, target, weight = inputs()
        hidden = (hidden.double() / 8).requires_grad_()
        weight = nn.Parameter(weight.double())
        if ours:
            layer = VocabularyHead(
                weight,
                temperature=0.7,
                forbidden_token_ids=[],
                chunk_tokens=7,
                float32=True,
                truncation=Truncation(0.8, 20),
                entropy_grad=True,
            )
            sampled, entropy, whole = layer(hidden, target)
        else:
            logits = hidden @ weight.T / 0.7
            kept = kept_by_vllms_rule(logits.detach(), 20, 0.8)
            kept[torch.arange(NUM_TOKENS), target] = True
            scores = torch.log_softmax(logits, dim=-1)
            entropy = -(scores.exp() * scores).sum(-1)
            whole = scores.gather(-1, target[:, None])[:, 0]
            among = torch.log_softmax(logits.masked_fill(~kept, -torch.inf), dim=-1)
            sampled = among.gather(-1, target[:, None])[:, 0]
        (sampled * factors + whole * factors.flip(0) ** 2 + entropy * factors**3).sum().backward()
        outcomes.append((sampled, entropy, whole, hidden.grad, weight.grad))
    for found, expected in zip(*outcomes, strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


def test_entropies_carry_no_gradient_unless_asked_for() -> None:
    hidden, target, weight = inputs()
    assert not head(weight, float32=True)(hidden, target)[1].requires_grad
