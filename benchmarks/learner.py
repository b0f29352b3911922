#!/usr/bin/env python
"""Learner step: packed groups against one row per completion and against plain padded batches.

python benchmarks/learner.py [--quick] [key=value ...] [--ways packed repeated padded]

One step of 4 prompts with 8 completions of 40 to 120 tokens on 8 s clips, in this process:

- packed: prompt and clip once per group, then its completions (`trainer.packing`);
- repeated: the same learner, but every completion comes with prompt and clip again;
- padded: the model's own forward pass over padded batches of one group, torch AdamW, no DeepSpeed.

All three compute the same log-probs and gradients, as the last two columns show. The learning rate
is 0, so that every round does the same work on the same weights. On a GPU the learner (18 bytes a
weight in bfloat16) and the padded model (8 more) are there at the same time; `--ways packed
repeated` leaves the latter out. Larger models without an optimizer: benchmarks/at_size.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

# Instead of this folder, whose modules are named like our packages.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from torch import Tensor

from benchmarks.groups import one_completion_each, padded_logits
from benchmarks.options import Option, parse_options
from benchmarks.setup import (
    device_wait,
    make_prompts,
    make_samples,
    start_learner,
    tiny_run,
)
from benchmarks.timing import in_turns, median_ratio, print_machine, print_table, spread, timed
from configs.schema import RunConfig
from data.prompts import FORBIDDEN_LOGIT
from data.records import Completion, FloatArray, GroupSample
from trainer.learner import Learner
from trainer.packing import completion_weights, plan_update
from trainer.policy import load_thinker, prepare_thinker

OVERRIDES = ("loss.kl_coef=0", "learner.tokens_per_microbatch=4096")
"""No reference policy, so that the three ways do the same; a packed step then fits in one row."""

WAYS = ("packed", "repeated", "padded")


class PaddedLearner:
    """A policy-gradient step in the usual way: every completion a padded row with its own clip.

    Args:
        config: model and optimizer settings.
        forbidden_token_ids: as in the learner.
    """

    def __init__(self, config: RunConfig, forbidden_token_ids: Sequence[int]) -> None:
        self._device = torch.device(config.device)
        self._model = load_thinker(config.model.path, config.model.dtype).to(self._device)
        prepare_thinker(self._model, config.model)
        self._weights = [w for w in self._model.parameters() if w.requires_grad]
        self._optimizer = torch.optim.AdamW(self._weights, lr=0.0, weight_decay=0.0)
        self._grad_clip = config.optim.grad_clip
        self._bias = torch.zeros(self._model.config.text_config.vocab_size, device=self._device)
        self._bias[list(forbidden_token_ids)] = FORBIDDEN_LOGIT

    def logprobs(self, sample: GroupSample) -> list[Tensor]:
        """Return the log-probs of each completion, [C] nats."""
        logits, tokens = padded_logits(self._model, sample, self._device)
        scores = torch.log_softmax(logits.float() + self._bias, dim=-1)
        chosen = scores.gather(-1, tokens[..., None])[..., 0]
        lengths = [len(c.token_ids) for c in sample.group.completions]
        return [row[:length] for row, length in zip(chosen, lengths, strict=True)]

    def update(self, samples: Sequence[GroupSample]) -> float:
        """Run one optimizer step, a group at a time; return the norm of its gradient."""
        weights = completion_weights(samples, "token_mean")
        for sample, shares in zip(samples, weights, strict=True):
            losses = [
                -(scores.sum() * float(advantage) * share)
                for scores, advantage, share in zip(
                    self.logprobs(sample), sample.advantages, shares, strict=True
                )
            ]
            torch.stack(losses).sum().backward()
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self._grad_clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(norm)


def learner_logprobs(learner: Learner, samples: Sequence[GroupSample]) -> FloatArray:
    """Return the log-probs of all completions in order, a group per row."""
    plans = [
        plan_update([sample], budget=1, num_ranks=1, aggregation="token_mean")[0][0]
        for sample in samples
    ]
    return np.concatenate(learner.logprobs(plans))


def on_policy(samples: Sequence[GroupSample], logprobs: FloatArray) -> list[GroupSample]:
    """Return the samples with these log-probs as those of the rollout."""
    start = 0
    result = []
    for sample in samples:
        completions: list[Completion] = []
        for completion in sample.group.completions:
            stop = start + len(completion.token_ids)
            completions.append(replace(completion, rollout_logprobs=logprobs[start:stop]))
            start = stop
        group = replace(sample.group, completions=tuple(completions))
        result.append(replace(sample, group=group))
    return result


def make_steps(
    config: RunConfig,
    samples: Sequence[GroupSample],
    learner: Learner,
    padded: PaddedLearner | None,
    norms: dict[str, float],
) -> dict[str, Callable[[], None]]:
    """Return way -> function that runs one step and notes the norm of its gradient."""

    def packed_step(name: str, groups: Sequence[GroupSample]) -> Callable[[], None]:
        def step() -> None:
            budget = config.learner.tokens_per_microbatch
            plan = plan_update(groups, budget=budget, num_ranks=1, aggregation="token_mean")
            norms[name] = learner.update([plan[0]], lr=0.0)["optim/grad_norm"]

        return step

    def padded_step() -> None:
        assert padded is not None, "asked for"
        norms["padded"] = padded.update(samples)

    return {
        "packed": packed_step("packed", samples),
        "repeated": packed_step("repeated", one_completion_each(samples)),
        "padded": padded_step,
    }


def main() -> None:
    """Measure and print."""
    parsed = parse_options(__doc__, {"ways": Option(WAYS, "what is compared", choices=WAYS)})
    ways = ("packed", *(way for way in WAYS[1:] if way in parsed.ways))
    print_machine()
    with tiny_run(*OVERRIDES, *parsed.overrides) as (config, builder):
        prompts = make_prompts(builder, config, num_prompts=4, duration_s=8.0, seed=0, shared=False)
        samples = make_samples(prompts, group_size=8, min_tokens=40, max_tokens=120, seed=0)
        learner = start_learner(config, builder.forbidden_token_ids)
        padded = PaddedLearner(config, builder.forbidden_token_ids) if "padded" in ways else None
        scores = {"packed": learner_logprobs(learner, samples)}
        samples = on_policy(samples, scores["packed"])
        if "repeated" in ways:
            scores["repeated"] = learner_logprobs(learner, one_completion_each(samples))
        if padded is not None:
            with torch.no_grad():
                parts = [torch.cat(padded.logprobs(sample)) for sample in samples]
            scores["padded"] = torch.cat(parts).cpu().numpy()
        norms: dict[str, float] = {}
        steps = make_steps(config, samples, learner, padded, norms)
        wait = device_wait(config)
        seconds = in_turns(
            {way: timed(steps[way], wait) for way in ways}, 2 if parsed.quick else 10
        )
        print(
            f"{len(samples)} groups of 8, prompt of {len(prompts[0].token_ids)} tokens, "
            f"{len(scores['packed'])} completion tokens\n"
        )
        print_table(
            ["learner step", "ms", "time / packed", "log-prob difference", "gradient norm"],
            [
                [
                    way,
                    spread(seconds[way], scale=1e3, digits=0),
                    f"{median_ratio(seconds[way], seconds['packed']):.2f}",
                    f"{np.abs(scores[way] - scores['packed']).max():.1e}",
                    f"{norms[way]:.6f}",
                ]
                for way in ways
            ],
        )
        learner.close()


if __name__ == "__main__":
    main()
