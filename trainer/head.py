"""The last layer: from hidden states to log-probabilities of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from data.prompts import FORBIDDEN_LOGIT

KEPT_BYTES = 2**30
"""Most bytes of probabilities that a row keeps for its backward pass, in float32."""


class Truncation(NamedTuple):
    """What sampling leaves out of a next-token distribution: the unlikely tokens."""

    top_p: float = 1.0
    """The likeliest tokens that add up to this share are kept; 1 = all."""
    top_k: int = 0
    """As many of the likeliest tokens are kept; 0 = all."""

    @property
    def is_on(self) -> bool:
        """Whether anything is left out."""
        return self.top_p < 1 or self.top_k > 0


EVERYTHING = Truncation()
"""Nothing is left out."""


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
        truncation: what the engines leave out when they sample.
        entropy_grad: entropies carry a gradient.
    """

    def __init__(
        self,
        weight: nn.Parameter,
        *,
        temperature: float,
        forbidden_token_ids: Sequence[int],
        chunk_tokens: int,
        float32: bool,
        truncation: Truncation = EVERYTHING,
        entropy_grad: bool = False,
    ) -> None:
        super().__init__()
        self.weight = weight
        self._temperature = temperature
        self._forbidden = list(forbidden_token_ids)
        self._chunk_tokens = chunk_tokens
        self._float32 = float32
        self._truncation = truncation
        self._entropy_grad = entropy_grad

    def forward(self, hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Score the tokens that follow hidden states.

        Args:
            hidden: [N, hidden] of the tokens that predict.
            target: [N] the tokens that came.

        Returns:
            Log-probability of each target and entropy of each next-token distribution, [N] float32
            nats each. With a truncation the first is that of the truncated distribution, in which
            a target is always kept, and the third that of the whole one, as the entropy is; without
            one the third is None.
        """
        weight = self.weight
        if self._float32:
            hidden, weight = hidden.float(), weight.float()
        forbidden = torch.tensor(self._forbidden, dtype=torch.long, device=hidden.device)
        keeps = torch.is_grad_enabled() and 4 * len(target) * len(weight) <= KEPT_BYTES
        logprobs, entropies, sampled = _TokenScores.apply(
            hidden,
            weight,
            target,
            forbidden,
            self._temperature,
            self._chunk_tokens,
            keeps,
            self._truncation,
            self._entropy_grad,
        )
        return (
            (sampled, entropies, logprobs)
            if self._truncation.is_on
            else (logprobs, entropies, None)
        )


class _TokenScores(Function):
    """Log-probabilities and entropies; the gradient follows from the probabilities alone.

    With `p = softmax(z)`, logits `z = h W^T / temperature` and a gradient `g` of the log-prob of
    token `y`, the gradient of `z` is `g (onehot(y) - p)`; of the log-prob among the kept tokens it
    is `g (onehot(y) - q)`, `q` being `p` without the others, scaled to sum 1; of the entropy `H` it
    is `-g p (log p + H)`.
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
        truncation: Truncation,
        entropy_grad: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        logprobs, entropies = hidden.new_empty((2, len(target)), dtype=torch.float32)
        sampled = torch.empty_like(logprobs) if truncation.is_on else None
        kept = None
        if keeps:
            kept = hidden.new_empty((len(target), len(weight)), dtype=torch.float32)
        for start in range(0, len(target), chunk_tokens):
            part = slice(start, start + chunk_tokens)
            scores = _log_softmax(hidden[part], weight, forbidden, temperature)
            logprobs[part] = scores.gather(-1, target[part, None])[:, 0]
            probabilities = torch.exp(scores, out=None if kept is None else kept[part])
            entropies[part] = -scores.mul_(probabilities).sum(-1)
            if sampled is not None:
                mass = _among_kept(probabilities, target[part], truncation).sum(-1)
                sampled[part] = logprobs[part] - mass.log()
        ctx.save_for_backward(
            hidden, weight, target, forbidden, kept, entropies if entropy_grad else None
        )
        ctx.temperature, ctx.chunk_tokens, ctx.truncation = temperature, chunk_tokens, truncation
        if not entropy_grad:
            ctx.mark_non_differentiable(entropies)
        return logprobs, entropies, sampled

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad: Tensor, entropy_grad: Tensor, sampled_grad: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        hidden, weight, target, forbidden, kept, entropies = ctx.saved_tensors
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
            if sampled_grad is not None:
                change = sampled_grad[part, None]
                among = _among_kept(probabilities, target[part], ctx.truncation)
                slope -= among.mul_(change / among.sum(-1, keepdim=True))
                slope.scatter_add_(-1, target[part, None], change)
            if entropies is not None:
                # -p log p without the NaN at p = 0.
                surprise = torch.special.entr(probabilities)
                surprise -= probabilities * entropies[part, None]
                slope += surprise.mul_(entropy_grad[part, None])
            if ctx.temperature != 1:
                slope /= ctx.temperature
            slope = slope.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(slope, weight, out=grad_hidden[part])
            if grad_weight is not None:
                grad_weight.addmm_(slope.T, hidden[part])
        return grad_hidden, grad_weight, *(None,) * 7


def _among_kept(probabilities: Tensor, target: Tensor, truncation: Truncation) -> Tensor:
    """Return the probabilities [chunk, V] of the tokens that sampling keeps, and 0 for the others.

    As vLLM does it: first the `top_k` likeliest with all that are as likely as the last of them;
    then, of what is left scaled to sum 1, the unlikeliest that add up to `1 - top_p` go, at least
    one token staying. A target was sampled, so it is kept even where rounding would put it out.
    """
    among = probabilities.clone()
    if truncation.top_k:
        least = among.topk(min(truncation.top_k, among.shape[-1])).values[:, -1:]
        among.masked_fill_(among < least, 0.0)
    if truncation.top_p < 1:
        ascending, order = among.sort(dim=-1)
        below = ascending.cumsum(-1).div_(ascending.sum(-1, keepdim=True))
        out = below <= 1 - truncation.top_p
        out[:, -1] = False
        among.masked_fill_(torch.empty_like(out).scatter_(-1, order, out), 0.0)
    return among.scatter_(-1, target[:, None], probabilities.gather(-1, target[:, None]))


def _log_softmax(hidden: Tensor, weight: Tensor, forbidden: Tensor, temperature: float) -> Tensor:
    """Log-distributions [chunk, V] in float32; forbidden tokens are as good as out."""
    logits = linear(hidden, weight).float()
    if temperature != 1:
        logits /= temperature
    logits[:, forbidden] += FORBIDDEN_LOGIT
    return torch.log_softmax(logits, dim=-1)
