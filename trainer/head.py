"""The last layer: from hidden states to log-probabilities of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from data.prompts import FORBIDDEN_LOGIT

KEPT_BYTES = 2**30
"""Most bytes of probabilities that a row keeps for its backward pass, in float32."""


class VocabularyHead(nn.Module):
    """A vocabulary projection that gives log-probabilities, in chunks inside one call.

    One call, because under ZeRO-3 every call of a module that holds weights is a collective. Ranks
    have rows with different numbers of tokens, so chunks that were calls of their own would leave
    ranks waiting for each other for ever. The weights are also gathered once a row, not once a
    chunk.

    The probabilities wait for the backward pass if those of the row take no more than
    `KEPT_BYTES`; else every chunk's logits are computed again there.

    Args:
        weight: [V, hidden], the projection of the model.
        chunk_tokens: tokens whose [chunk, V] logits are worked on at a time.
        float32: project in float32 whatever the format of the weight, else in that format.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        *,
        temperature: float,
        forbidden_token_ids: Sequence[int],
        chunk_tokens: int,
        float32: bool,
    ) -> None:
        super().__init__()
        self.weight = weight
        self._temperature = temperature
        self._forbidden = list(forbidden_token_ids)
        self._chunk_tokens = chunk_tokens
        self._float32 = float32

    def forward(self, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Score the tokens that follow hidden states.

        Args:
            hidden: [N, hidden] of the tokens that predict.
            target: [N] the tokens that came.

        Returns:
            Log-probability of each target and entropy of each next-token distribution, [N] float32
            nats each; entropies carry no gradient.
        """
        weight = self.weight
        if self._float32:
            hidden, weight = hidden.float(), weight.float()
        forbidden = torch.tensor(self._forbidden, dtype=torch.long, device=hidden.device)
        keeps = torch.is_grad_enabled() and 4 * len(target) * len(weight) <= KEPT_BYTES
        return _TokenScores.apply(
            hidden, weight, target, forbidden, self._temperature, self._chunk_tokens, keeps
        )


class _TokenScores(Function):
    """Log-probabilities and entropies; the gradient follows from the probabilities alone.

    With `p = softmax(z)`, logits `z = h W^T / temperature` and a gradient `g` of the log-prob of
    token `y`, the gradient of `z` is `g (onehot(y) - p)`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor,
        forbidden: Tensor,
        temperature: float,
        chunk_tokens: int,
        keeps: bool,
    ) -> tuple[Tensor, Tensor]:
        logprobs, entropies = hidden.new_empty((2, len(target)), dtype=torch.float32)
        kept = None
        if keeps:
            kept = hidden.new_empty((len(target), len(weight)), dtype=torch.float32)
        for start in range(0, len(target), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            scores = _log_softmax(hidden[part], weight, forbidden, temperature)
            logprobs[part] = scores.gather(-1, target[part, None])[:, 0]
            probabilities = torch.exp(scores, out=None if kept is None else kept[part])
            entropies[part] = -scores.mul_(probabilities).sum(-1)
        ctx.save_for_backward(hidden, weight, target, forbidden, kept)
        ctx.temperature, ctx.chunk_tokens = temperature, chunk_tokens
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, target, forbidden, kept = ctx.saved_tensors
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        grad_hidden = torch.empty_like(hidden) if wants_hidden else None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        for start in range(0, len(target), ctx.chunk_tokens):
            part = slice(start, start + ctx.chunk_tokens)
            if kept is None:
                scores = _log_softmax(hidden[part], weight, forbidden, ctx.temperature)
                probabilities = scores.exp_()
            else:
                probabilities = kept[part]
            change = grad[part, None]
            slope = (probabilities * -change).scatter_add_(-1, target[part, None], change)
            if ctx.temperature != 1:
                slope /= ctx.temperature
            slope = slope.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(slope, weight, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight.addmm_(slope.T, hidden[part])
        return grad_hidden, grad_weight, None, None, None, None, None


def _log_softmax(hidden: Tensor, weight: Tensor, forbidden: Tensor, temperature: float) -> Tensor:
    """Log-distributions [chunk, V] in float32; forbidden tokens are as good as out."""
    logits = linear(hidden, weight).float()
    if temperature != 1:
        logits /= temperature
    logits[:, forbidden] += FORBIDDEN_LOGIT
    return torch.log_softmax(logits, dim=-1)
