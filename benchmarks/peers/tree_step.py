"""Shared-prefix update of text groups: packed rows against TRL's prefix trie, in turns.

Runs in TRL's environment, which has our packages too: one process, the same weights and samples. 4
groups of 8 completions of 40 to 120 tokens on prompts of 217 tokens, no clip, no reference policy,
audio tower frozen, learning rate 0.

TRL's side is TRL's code: `TreeRow` and `DataCollatorForRollout` build the batch, and the training
step of `AsyncGRPOTrainer` computes loss and gradient with transformers' Qwen2, which has the
thinker's weights. Two things there need CUDA and are replaced: the attention kernel
(FlashAttention 3 from a hub: `_flash_attn` in trl/experimental/async_grpo/packing.py), for which
`varlen_attention` stands in, and the peak FLOP/s of the device (`get_peak_flops_per_device` in
trl/trainer/utils.py), of which only a metric is made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM
from trl.experimental.async_grpo import async_grpo_trainer, packing

from benchmarks.learner import learner_logprobs, on_policy
from benchmarks.options import parse_options
from benchmarks.setup import make_samples, start_learner, tiny_run
from benchmarks.timing import in_turns, median_ratio, print_machine, print_table, spread, timed
from configs.schema import RunConfig
from data.features import NUM_MEL_BINS
from data.records import Example, FloatArray, GroupSample, Prompt
from demo.checkpoint import SPECIAL_TOKENS
from trainer.packing import num_row_tokens, plan_update
from trainer.policy import load_thinker

OVERRIDES = ("loss.kl_coef=0", "learner.tokens_per_microbatch=4096", "model.freeze=[audio_tower]")
"""No reference policy; the whole step is one row on either side."""

NUM_PROMPT_TOKENS = 217

MAX_GAP = 1e-5
"""Between log-probs in nats, and between gradient norms as a share."""

TEXT_SIZES = [
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "hidden_act",
    "tie_word_embeddings",
    "pad_token_id",
    "eos_token_id",
]
"""What the text model of a thinker and transformers' Qwen2 call alike."""


@cache
def _late_causal(num_queries: int, num_keys: int) -> Tensor:
    """[queries, keys] 0 or -inf: the last query sees all keys, the one before all but one, ..."""
    last_seen = torch.arange(num_queries)[:, None] + num_keys - num_queries
    hidden = torch.arange(num_keys) > last_seen
    return torch.zeros(num_queries, num_keys).masked_fill_(hidden, -torch.inf)


def varlen_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    *_: Any,
    softmax_scale: float,
    causal: bool,
    window_size: tuple[int, int],
) -> Tensor:
    """Attend as `flash_attn_varlen_func` does, a segment of the trie at a time.

    Of three ways the fastest on a CPU: one padded batch of all branches took 1.2 times as long, and
    keys repeated for every query head slightly longer.
    """
    assert causal and window_size == (-1, -1)
    sizes_q, sizes_k = (cu.diff().tolist() for cu in (cu_seqlens_q, cu_seqlens_k))
    parts = []
    for segment in zip(query.split(sizes_q), key.split(sizes_k), value.split(sizes_k), strict=True):
        q, k, v = (x.transpose(0, 1)[None] for x in segment)
        is_root = q.shape[2] == k.shape[2]
        attended = scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if is_root else _late_causal(q.shape[2], k.shape[2]),
            is_causal=is_root,
            scale=softmax_scale,
            enable_gqa=True,
        )
        parts.append(attended[0].transpose(0, 1))
    return torch.cat(parts)


def write_text_model(config: RunConfig, folder: Path) -> None:
    """Write the language model of the thinker as a Qwen2 of its own."""
    thinker = load_thinker(config.model.path, config.model.dtype)
    text = thinker.config.text_config.to_dict()
    rotary = {"rope_type": "default", "rope_theta": text["rope_parameters"]["rope_theta"]}
    sizes = {name: text[name] for name in TEXT_SIZES}
    model = Qwen2ForCausalLM(Qwen2Config(**sizes, rope_parameters=rotary))
    model.model.load_state_dict(thinker.model.state_dict())
    model.lm_head.load_state_dict(thinker.lm_head.state_dict())
    model.save_pretrained(folder)


class TreeLearner:
    """TRL's asynchronous GRPO trainer without servers.

    Args:
        config: model and optimizer settings.
        folder: where the model is written for it.
    """

    def __init__(self, config: RunConfig, folder: Path) -> None:
        write_text_model(config, folder)
        tokenizer = AutoTokenizer.from_pretrained(config.model.path)
        optim = config.optim
        packing._flash_attn = lambda: SimpleNamespace(flash_attn_varlen_func=varlen_attention)
        async_grpo_trainer.get_peak_flops_per_device = lambda *_: None
        self._trainer = async_grpo_trainer.AsyncGRPOTrainer(
            model=str(folder),
            args=async_grpo_trainer.AsyncGRPOConfig(
                output_dir=str(folder),
                use_cpu=True,
                bf16=False,
                dtype="float32",
                gradient_checkpointing=False,
                learning_rate=0.0,
                weight_decay=0.0,
                adam_beta1=optim.beta1,
                adam_beta2=optim.beta2,
                max_steps=1,
                report_to="none",
            ),
            train_dataset=[{"prompt": ""}],
            processing_class=tokenizer,
            rollout_worker=SimpleNamespace(rollout_buffer=None),
            weight_transfer=SimpleNamespace(),
        )
        self._trainer.current_gradient_accumulation_steps = 1
        self._optimizer = self._trainer.accelerator.prepare(self._trainer.create_optimizer())
        self._grad_clip = optim.grad_clip
        self._collate = async_grpo_trainer.DataCollatorForRollout(
            tokenizer.pad_token_id, metrics=self._trainer._metrics["train"]
        )

    def batch(self, samples: Sequence[GroupSample]) -> dict[str, Tensor]:
        """Fold all completions into one trie and lay it out."""
        row = packing.TreeRow()
        for group_id, sample in enumerate(samples):
            prompt = torch.from_numpy(sample.group.prompt.token_ids)
            before = torch.zeros_like(prompt)
            for completion, advantage in zip(
                sample.group.completions, sample.advantages, strict=True
            ):
                tokens, scores = map(
                    torch.from_numpy, (completion.token_ids, completion.rollout_logprobs)
                )
                row.add(
                    {
                        "input_ids": torch.cat([prompt, tokens]),
                        "completion_mask": torch.cat([before, torch.ones_like(tokens)]),
                        "old_log_probs": torch.cat([before.float(), scores]),
                        "advantage": float(advantage),
                        "group_id": group_id,
                        "metrics": {},
                    }
                )
        return self._collate.torch_call([[row]])

    @torch.no_grad()
    def logprobs(self, samples: Sequence[GroupSample]) -> FloatArray:
        """Return the log-probs of all completion tokens in order, in nats."""
        model, batch = self._trainer.model, self.batch(samples)
        seen: list[Tensor] = []
        hook = model.register_forward_hook(lambda *call: seen.append(call[-1].log_probs))
        self._trainer.compute_loss(model, batch)
        hook.remove()
        return seen[0].flatten()[batch["token_index"][0]].numpy()

    def update(self, samples: Sequence[GroupSample]) -> float:
        """Run one optimizer step; return the norm of its gradient."""
        trainer = self._trainer
        trainer.training_step(trainer.model, self.batch(samples), None)
        norm = trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), self._grad_clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return float(norm)


def text_samples(num_groups: int) -> list[GroupSample]:
    """Return groups of random tokens."""
    draw = np.random.default_rng(0)
    no_clip = np.zeros((NUM_MEL_BINS, 0), np.float32)
    example = Example("text", "", "", "", ("",))
    tokens = draw.integers(len(SPECIAL_TOKENS), 300, (num_groups, NUM_PROMPT_TOKENS))
    prompts = [Prompt(example, "", row, no_clip, 0) for row in tokens]
    return make_samples(prompts, group_size=8, min_tokens=40, max_tokens=120, seed=0)


def check(scores: Mapping[str, FloatArray], norms: Mapping[str, float]) -> None:
    """Raise RuntimeError if the two do not compute the same."""
    gap = np.abs(scores["trie"] - scores["packed"]).max()
    if gap > MAX_GAP or not np.isclose(norms["trie"], norms["packed"], rtol=MAX_GAP):
        raise RuntimeError(f"log-probs differ by {gap:.1e}, gradient norms are {norms}")


def main() -> None:
    """Measure and print."""
    parsed = parse_options(__doc__, {})
    print_machine()
    with (
        tiny_run(*OVERRIDES, *parsed.overrides) as (config, _),
        tempfile.TemporaryDirectory() as folder,
    ):
        samples = text_samples(num_groups=4)
        # Nothing is forbidden: TRL has no such mask.
        learner = start_learner(config, ())
        tree = TreeLearner(config, Path(folder))
        scores = {"packed": learner_logprobs(learner, samples)}
        samples = on_policy(samples, scores["packed"])
        scores["trie"] = tree.logprobs(samples)
        norms: dict[str, float] = {}

        def packed_step() -> None:
            budget = config.learner.tokens_per_microbatch
            plan = plan_update(samples, budget=budget, num_ranks=1, aggregation="token_mean")
            norms["packed"] = learner.update([plan[0]], lr=0.0)["optim/grad_norm"]

        def tree_step() -> None:
            norms["trie"] = tree.update(samples)

        ways = {"packed": timed(packed_step), "trie": timed(tree_step)}
        seconds = in_turns(ways, 2 if parsed.quick else 20)
        check(scores, norms)
        tokens = {
            "packed": sum(map(num_row_tokens, samples)),
            "trie": tree.batch(samples)["input_ids"].numel(),
        }
        print_table(
            ["update", "ms", "time / packed", "tokens", "log-prob difference", "gradient norm"],
            [
                [
                    way,
                    spread(seconds[way], scale=1e3, digits=0),
                    f"{median_ratio(seconds[way], seconds['packed']):.2f}",
                    str(tokens[way]),
                    f"{np.abs(scores[way] - scores['packed']).max():.1e}",
                    f"{norms[way]:.6f}",
                ]
                for way in ways
            ],
        )
        learner.close()


if __name__ == "__main__":
    main()
