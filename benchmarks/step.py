#!/usr/bin/env python
"""One step of the loop: seconds of its parts, completions and completion tokens per second.

python benchmarks/step.py [--quick] [--prompts 8] [--tokens 64] [--clips 1.3 8] [--steps 10]
                          [--profile] [key=value ...]

The job on which other trainers were measured: 8 prompts with 8 completions of 64 tokens, a KL term
against a reference, 1.3 million weights. The objects are those of a run (engine pool, reward pool
with format and accuracy, learner group, weight sync) in the order of `trainer/loop.py`, without
metrics, samples and checkpoints. Every step has new clips; features are computed within the step.
With `device=cuda` learner and engine share a GPU; `rollout.colocate=false sync.transport=nccl`
gives every rank and engine one of its own.

`--profile` shows instead where the time of a learner update goes, in this process.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
from functools import partial
from pathlib import Path

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from torch.profiler import ProfilerActivity, profile

from benchmarks.options import Option, parse_options
from benchmarks.setup import (
    make_engines,
    make_learner,
    make_prompts,
    make_samples,
    start_learner,
    tiny_run,
    with_drawn_advantages,
)
from benchmarks.timing import print_machine, print_table
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from launch.cluster import connect, place
from rewards.base import with_run_options
from rewards.combine import CombineRules, combine
from rewards.pool import RewardPool
from rewards.schedule import Schedule
from rollout.pool import EnginePool
from trainer.clock import StepClock
from trainer.learner_group import LearnerGroup
from trainer.loop import in_prompt_order, sync_weights
from trainer.packing import plan_update

NUM_WARMUP_STEPS = 3
PARTS = ("data", "rollout", "reward", "update", "sync")

OPTIONS = {
    "prompts": Option(8, "prompts per step", quick=2),
    "tokens": Option(64, "tokens per completion", quick=16),
    "clips": Option((1.3, 8.0), "clip lengths in seconds"),
    "steps": Option(10, "steps that count, per clip length", quick=2),
    "profile": Option(False, "profile a learner update instead"),
}


class Job:
    """The parts of a run, up and ready.

    Args:
        config: the run; Ray is connected.
        builder: of its model.
    """

    def __init__(self, config: RunConfig, builder: PromptBuilder) -> None:
        self._config = config
        self._builder = builder
        places = place(config)
        self._learner: LearnerGroup = make_learner(config, builder, places)
        self._learner.start()
        self._engines: EnginePool = make_engines(config, builder, places)
        terms = with_run_options(config)
        self._rewards = RewardPool(terms, config.rewards.packages)
        self._schedule = Schedule(terms, config.rewards.outcome)
        self._rules = CombineRules.from_config(config.rewards)
        self._draw = np.random.default_rng(0)
        self._step = 0
        self._engines.start()
        self._rewards.ping()
        self._learner.connect(self._engines.actors)

    def step(
        self, duration_s: float, *, num_prompts: int = 0, group_size: int | None = None
    ) -> dict[str, float]:
        """Run one step on clips of this length and return its figures.

        Args:
            duration_s: Of every clip.
            num_prompts: 0 = as configured.
            group_size: None = as configured.

        Returns:
            `time/PART_s` and `time/step_s` as in a run, `tokens`: mean tokens per completion, and
            `prompt_tokens`.
        """
        clock = StepClock()
        prompts = make_prompts(
            self._builder,
            self._config,
            num_prompts=num_prompts or self._config.train.prompts_per_step,
            duration_s=duration_s,
            seed=self._step,
            shared=True,
        )
        clock.lap("data")
        weights = self._schedule.weights()
        groups = self._engines.generate(prompts, seed=self._step, num_completions=group_size)
        stream = clock.until_exhausted("rollout", groups)
        scored = [
            combine(group, terms, weights, self._rules)
            for group, terms in self._rewards.score(stream, weights)
        ]
        scored = in_prompt_order(scored)
        samples = [with_drawn_advantages(item.group, self._draw) for item in scored]
        clock.lap("reward")
        self._engines.sleep()
        figures = self._learner.update(samples, self._config.optim.lr)
        clock.lap("update")
        self._step += 1
        sync_weights(self._learner, self._engines, self._step)
        clock.lap("sync")
        if figures["optim/skipped"]:
            raise RuntimeError("the update was skipped: something was not finite")
        lengths = [len(c.token_ids) for item in scored for c in item.group.completions]
        sizes = {"tokens": statistics.mean(lengths), "prompt_tokens": len(prompts[0].token_ids)}
        return clock.metrics() | sizes | figures

    def close(self) -> None:
        """End all actors."""
        self._rewards.close()
        self._engines.close()
        self._learner.close()


def measure(job: Job, duration_s: float, num_steps: int) -> dict[str, float]:
    """Return the medians of all figures over the steps after the warm-up."""
    for _ in range(NUM_WARMUP_STEPS):
        job.step(duration_s)
    steps = [job.step(duration_s) for _ in range(num_steps)]
    return {name: statistics.median(step[name] for step in steps) for name in steps[0]}


def print_steps(config: RunConfig, builder: PromptBuilder, parsed: argparse.Namespace) -> None:
    """Measure the steps and print a row per clip length."""
    connect(config)
    job = Job(config, builder)
    size = config.train.prompts_per_step * config.rollout.group_size
    rows = []
    for duration_s in parsed.clips:
        medians = measure(job, duration_s, parsed.steps)
        seconds = medians["time/step_s"]
        rows.append(
            [
                f"{duration_s:g} s",
                *[f"{medians[f'time/{part}_s']:.3f}" for part in PARTS],
                f"{seconds:.3f}",
                f"{size / seconds:.0f}",
                f"{size * medians['tokens'] / seconds:.0f}",
                f"{size * medians['tokens'] / medians['time/rollout_s']:.0f}",
                f"{medians['tokens']:.1f}",
                f"{medians['policy/logprob_gap_max']:.0e}",
            ]
        )
    job.close()
    print(
        f"{config.train.prompts_per_step} prompts x {config.rollout.group_size} completions, "
        f"medians of {parsed.steps} steps, parts in s\n"
    )
    print_table(
        [
            "clips",
            *PARTS,
            "step",
            "completions/s",
            "completion tokens/s",
            "in the rollout",
            "tokens per completion",
            "largest log-prob gap",
        ],
        rows,
    )


def print_profile(config: RunConfig, builder: PromptBuilder, duration_s: float) -> None:
    """Print where the time of a learner update goes: operators, then Python functions."""
    prompts = make_prompts(
        builder,
        config,
        num_prompts=config.train.prompts_per_step,
        duration_s=duration_s,
        seed=0,
        shared=False,
    )
    num_tokens = config.rollout.max_completion_tokens
    samples = make_samples(
        prompts,
        group_size=config.rollout.group_size,
        min_tokens=num_tokens,
        max_tokens=num_tokens,
        seed=0,
    )
    learner = start_learner(config, builder.forbidden_token_ids)

    def update() -> None:
        rows = plan_update(
            samples,
            budget=config.learner.tokens_per_microbatch,
            num_ranks=1,
            aggregation=config.loss.aggregation,
        )[0]
        learner.update([rows], config.optim.lr)

    for _ in range(NUM_WARMUP_STEPS):
        update()
    on_gpu = config.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as operators:
        update()
    functions = cProfile.Profile()
    functions.runcall(update)
    print(f"one update, clips of {duration_s:g} s\n")
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    print(operators.key_averages().table(sort_by=order, row_limit=25))
    pstats.Stats(functions).sort_stats("tottime").print_stats(25)
    learner.close()


parse = partial(parse_options, __doc__, OPTIONS)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    print_machine()
    overrides = (
        f"train.prompts_per_step={parsed.prompts}",
        f"rollout.max_completion_tokens={parsed.tokens}",
        *parsed.overrides,
    )
    with tiny_run(*overrides) as (config, builder):
        if parsed.profile:
            print_profile(config, builder, parsed.clips[-1])
        else:
            print_steps(config, builder, parsed)


if __name__ == "__main__":
    main()
