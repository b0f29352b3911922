"""The vocabulary projection: its chunks, and its number format."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from data.prompts import FORBIDDEN_LOGIT
from trainer import head as heads
from trainer.head import VocabularyHead

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
    logprobs, _ = head(weight, float32=float32)(hidden, target)
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
            logprobs, entropy = layer(hidden, target)
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
        logprobs, entropy = head(weight, chunk_tokens=chunk_tokens, float32=float32)(hidden, target)
        (logprobs * torch.arange(NUM_TOKENS)).sum().backward()
        outcomes.append((logprobs, entropy, hidden.grad, weight.grad))
    whole, chunked = outcomes
    for ours, theirs in zip(chunked[:3], whole[:3], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    # The weights' gradient is a sum over chunks, which bfloat16 rounds after each of them.
    limit = 1e-6 if float32 else 1e-2
    error = torch.linalg.norm((chunked[3] - whole[3]).float())
    assert error <= limit * torch.linalg.norm(whole[3].float())
