"""The last layer: from hidden states to log-probabilities of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from data.prompts import FORBIDDEN_LOGIT


class VocabularyHead(nn.Module):
    """A vocabulary projection that gives log-probabilities, in chunks inside one call.

    One call, because under ZeRO-3 every call of a module that holds weights is a collective. Ranks
    have rows with different numbers of tokens, so chunks that were calls of their own would leave
    ranks waiting for each other for ever. The weights are also gathered once a row, not once a
    chunk.

    Args:
        weight: [V, hidden], the projection of the model.
        chunk_tokens: tokens whose [chunk, V] logits exist at a time.
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
        if len(target) <= self._chunk_tokens:
            return self._project(hidden, weight, target)
        # A lone chunk keeps its logits for the backward pass, several compute them again.
        parts = [
            checkpoint(self._project, chunk, weight, chunk_target, use_reentrant=False)
            for chunk, chunk_target in zip(
                hidden.split(self._chunk_tokens), target.split(self._chunk_tokens), strict=True
            )
        ]
        logprobs, entropies = zip(*parts, strict=True)
        return torch.cat(logprobs), torch.cat(entropies)

    def _project(self, hidden: Tensor, weight: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        logits = linear(hidden, weight).float() / self._temperature
        logits = logits.index_add(
            1,
            torch.tensor(self._forbidden, dtype=torch.long, device=logits.device),
            torch.full((len(target), len(self._forbidden)), FORBIDDEN_LOGIT, device=logits.device),
        )
        logprobs = torch.log_softmax(logits, dim=-1)
        with torch.no_grad():
            entropy = -(logprobs.exp() * logprobs).sum(-1)
        return logprobs.gather(-1, target[:, None])[:, 0], entropy
