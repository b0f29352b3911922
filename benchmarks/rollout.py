#!/usr/bin/env python
"""Rollouts: completion tokens per second of the engine pool against vLLM alone.

python benchmarks/rollout.py [--quick] [key=value ...]

32 prompts with 8 completions of 64 tokens on 8 s clips. vLLM alone is `LLM.generate` in an actor of
its own that idles while the pool runs, with the same features and engine settings:

- pool: `EnginePool.generate` with one engine, up to the last streamed group, with its texts;
- vllm: `LLM.generate` with the pool's sampling (forbidden tokens biased away), texts included;
- plain: the same without the bias, as one would call vLLM by hand.

Every round starts without any cache of prefixes or clips. On GPUs both engines share one, or have
`rollout.tensor_parallel` each.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.options import Option, parse_options
from benchmarks.setup import device_of, endless, make_prompts, tiny_run
from benchmarks.timing import in_turns, median_ratio, print_machine, print_table, spread

# isort: split
# Ray comes after launch.preflight, which keeps a local instance off the network.
import ray

from configs.schema import RunConfig
from data.prompts import FORBIDDEN_LOGIT, PromptBuilder
from data.records import Prompt
from launch.cluster import connect, place
from rollout.actors import with_environment
from rollout.engine import EngineSpec, engine_environment, memory_options
from rollout.pool import EnginePool

WITHOUT_LEARNER = ("rollout.colocate=false", "sync.transport=nccl", "rollout.gpu_memory_frac=0.4")
"""On GPUs: no learner lives beside the engines, and two of them fit on one."""

OPTIONS = {
    "prompts": Option(32, "prompts per round", quick=4),
    "tokens": Option(64, "tokens per completion", quick=16),
    "seconds": Option(8.0, "length of a clip"),
}


class PlainEngine:
    """vLLM with the pool's engine settings and nothing around it.

    Args:
        spec: what the pool's engine has.
        prompts: what `generate` completes; features as arrays.
    """

    def __init__(self, spec: EngineSpec, prompts: Sequence[Prompt]) -> None:
        import torch
        from vllm import LLM

        self._rollout = rollout = spec.rollout
        self._requests = [
            {
                "prompt": prompt.text,
                "multi_modal_data": {
                    "audio": {
                        "input_audio_features": torch.from_numpy(prompt.features),
                        "audio_feature_lengths": torch.tensor([prompt.num_frames]),
                        "feature_attention_mask": torch.ones(
                            1, prompt.num_frames, dtype=torch.long
                        ),
                    }
                },
            }
            for prompt in prompts
        ]
        self._llm = LLM(
            model=spec.model.path,
            dtype=spec.model.dtype,
            tensor_parallel_size=rollout.tensor_parallel,
            **memory_options(spec),
            enforce_eager=rollout.enforce_eager or spec.device == "cpu",
            max_model_len=rollout.max_model_len,
            max_num_seqs=rollout.max_num_seqs,
            enable_mm_embeds=True,
            limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
            generation_config="vllm",
        )

    def generate(self, forbidden_token_ids: Sequence[int]) -> tuple[float, int]:
        """Return the seconds that all prompts take and the tokens of their completions."""
        from vllm import SamplingParams

        params = SamplingParams(
            n=self._rollout.group_size,
            temperature=self._rollout.temperature,
            max_tokens=self._rollout.max_completion_tokens,
            logprobs=0,
            ignore_eos=True,
            logit_bias=dict.fromkeys(forbidden_token_ids, FORBIDDEN_LOGIT) or None,
        )
        self._llm.reset_prefix_cache()
        self._llm.llm_engine.reset_mm_cache()
        self._llm.llm_engine.reset_encoder_cache()
        start = time.perf_counter()
        outputs = self._llm.generate(self._requests, params, use_tqdm=False)
        seconds = time.perf_counter() - start
        return seconds, sum(len(item.token_ids) for output in outputs for item in output.outputs)


class Variants:
    """The two engines, each with the same prompts; only one of them works at a time.

    Args:
        config: the run; Ray is connected.
        builder: of its model.
        num_prompts: prompts of a round.
        duration_s: length of a clip.
    """

    def __init__(
        self, config: RunConfig, builder: PromptBuilder, num_prompts: int, duration_s: float
    ) -> None:
        self.prompts = make_prompts(
            builder,
            config,
            num_prompts=num_prompts,
            duration_s=duration_s,
            seed=0,
            shared=True,
        )
        self._num_tokens = (
            num_prompts * config.rollout.group_size * config.rollout.max_completion_tokens
        )
        arrays = [replace(p, features=ray.get(p.features)) for p in self.prompts]
        options = actor_options(config)
        spec = replace(EngineSpec.of(config, builder), forbidden_token_ids=endless(builder))
        # One after the other: an engine measures the memory that is left when it starts.
        self._pool = EnginePool(spec, [options])
        self._pool.start()
        actor = ray.remote(PlainEngine).options(
            **with_environment(options, engine_environment(spec))
        )
        self._plain = actor.remote(spec, arrays)

    def pool(self) -> float:
        """Return the seconds of a round of the pool."""
        self._pool.activate(0)  # drops all caches
        start = time.perf_counter()
        groups = list(self._pool.generate(self.prompts))
        seconds = time.perf_counter() - start
        self._check(sum(len(c.token_ids) for group in groups for c in group.completions))
        return seconds

    def plain(self, forbidden_token_ids: Sequence[int]) -> float:
        """Return the seconds of a round of vLLM alone."""
        seconds, num_tokens = ray.get(self._plain.generate.remote(forbidden_token_ids))
        self._check(num_tokens)
        return seconds

    def _check(self, num_tokens: int) -> None:
        if num_tokens != self._num_tokens:
            raise RuntimeError(f"{num_tokens} completion tokens instead of {self._num_tokens}")

    def rates(self, seconds: Sequence[float]) -> list[float]:
        """Return the completion tokens per second of rounds."""
        return [self._num_tokens / value for value in seconds]

    def close(self) -> None:
        """End the pool; the other actor ends with this process."""
        self._pool.close()


def actor_options(config: RunConfig) -> dict[str, Any]:
    """Return the Ray options of each of the two engines: they share a GPU, or have their own.

    Raises:
        SystemExit: there are too few GPUs, or the two ask for more memory than one has.
    """
    if config.device == "cpu":
        return place(config, learns=False).engines[0]
    each = config.rollout.tensor_parallel if config.rollout.tensor_parallel > 1 else 0.5
    num_gpus = int(ray.cluster_resources().get("GPU", 0))
    if num_gpus < 2 * each:
        raise SystemExit(
            f"two engines of {each} GPUs take {2 * each:g}, Ray has {num_gpus}: "
            "set rollout.tensor_parallel=1, and both share one GPU"
        )
    if each < 1 and config.rollout.gpu_memory_frac > 0.45:
        raise SystemExit(
            f"rollout.gpu_memory_frac: {config.rollout.gpu_memory_frac:g} for each of two engines "
            "on one GPU; 0.45 is the most"
        )
    return {"num_cpus": 1, "num_gpus": each}


parse = partial(parse_options, __doc__, OPTIONS)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    print_machine()
    on_gpu = WITHOUT_LEARNER if device_of(parsed.overrides) == "cuda" else ()
    one = ("rollout.num_engines=1", "rollout.cpu_threads=2")
    overrides = (*one, *on_gpu, f"rollout.max_completion_tokens={parsed.tokens}", *parsed.overrides)
    with tiny_run(*overrides) as (config, builder):
        if config.rollout.num_engines != 1:
            raise SystemExit("rollout.num_engines: one engine is set against one")
        connect(config, learns=False)
        variants = Variants(config, builder, parsed.prompts, parsed.seconds)
        seconds = in_turns(
            {
                "pool": variants.pool,
                "vllm": lambda: variants.plain(endless(builder)),
                "plain": lambda: variants.plain(()),
            },
            2 if parsed.quick else 5,
        )
        variants.close()
    print(
        f"{parsed.prompts} prompts of {len(variants.prompts[0].token_ids)} tokens x "
        f"{config.rollout.group_size} completions of {parsed.tokens} tokens\n"
    )
    rates = {name: variants.rates(times) for name, times in seconds.items()}
    print_table(
        ["rollout", "completion tokens/s", "pool / this"],
        [
            [name, spread(rate, digits=0), f"{median_ratio(rates['pool'], rate):.2f}"]
            for name, rate in rates.items()
        ],
    )


if __name__ == "__main__":
    main()
