#!/usr/bin/env python
"""One step of the loop: seconds of its parts, completions and completion tokens per second.

python benchmarks/step.py [--quick] [--prompts 8] [--tokens 64] [--clips 1.6 8] [--steps 10]
                          [--staleness 0 1] [--profile] [key=value ...]

The job on which other trainers were measured: 8 prompts with 8 completions of 64 tokens, a KL term
against a reference, 1.3 million weights. The objects are those of a run (loader, engines, rewards,
learner, weight sync) in the order of `trainer/loop.py`, without metrics, samples and
checkpoints. Every step has new clips. With a staleness of 1 the engines sample the next step while
the learner updates; `rollout.cpu_threads=1 learner.cpu_threads=1` gives both a core of their own.
With `device=cuda` learner and engine share a GPU; `rollout.colocate=false sync.transport=nccl`
gives every rank and engine one of its own.

`--profile` shows instead where the time of a learner update goes, in this process.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import pstats
import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
from torch.profiler import ProfilerActivity, profile

from benchmarks.options import Option, parse_options
from benchmarks.setup import (
    make_clip,
    make_engines,
    make_example,
    make_learner,
    make_prompt,
    make_prompts,
    make_samples,
    start_learner,
    tiny_run,
    with_drawn_advantages,
)
from benchmarks.timing import print_machine, print_table
from configs.schema import AsyncConfig, RunConfig
from data.loader import PromptLoader
from data.prompts import PromptBuilder
from data.records import Example, Prompt
from launch.cluster import connect, place
from rewards.base import with_run_options
from rewards.combine import CombineRules
from rewards.pool import RewardPool
from rewards.schedule import Schedule
from rollout.pool import EnginePool
from trainer.clock import StepClock
from trainer.learner_group import LearnerGroup
from trainer.loop import sync_weights
from trainer.packing import plan_update
from trainer.rollouts import Rollouts

NUM_WARMUP_STEPS = 3
PARTS = ("data", "rollout", "reward", "update", "sync")

OPTIONS = {
    "prompts": Option(8, "prompts per step", quick=2),
    "tokens": Option(64, "tokens per completion", quick=16),
    "clips": Option((1.6, 8.0), "clip lengths in seconds"),
    "staleness": Option((0, 1), "values of async.max_staleness"),
    "steps": Option(10, "steps that count, per row", quick=2),
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
        self.learner: LearnerGroup = make_learner(config, builder, places)
        self.learner.start()
        self.engines: EnginePool = make_engines(config, builder, places)
        terms = with_run_options(config)
        self.rewards = RewardPool(terms, config.rewards.packages)
        self._schedule = Schedule(terms, config.rewards.outcome)
        self._draw = np.random.default_rng(0)
        self._step = 0
        self.engines.start()
        self.rewards.ping()
        self.learner.connect(self.engines.actors)

    def run(
        self,
        duration_s: float,
        staleness: int = 0,
        num_steps: int = 1,
        *,
        num_prompts: int = 0,
        group_size: int = 0,
    ) -> Iterator[dict[str, float]]:
        """Run some steps on clips of one length and yield the figures of each.

        Args:
            duration_s: of every clip.
            staleness: as `async.max_staleness`.
            num_steps: how many.
            num_prompts: 0 = as configured.
            group_size: 0 = as configured.

        Yields:
            `time/PART_s` and `time/step_s` as in a run, `time/sampling_s`: from the first request
            of the step to its last completion, `tokens`: mean tokens per completion, and
            `prompt_tokens`.
        """
        end, given = self._step + num_steps, self._config
        num_prompts = num_prompts or given.train.prompts_per_step
        config = replace(
            given,
            async_=AsyncConfig(max_staleness=staleness),
            train=replace(given.train, num_steps=end, prompts_per_step=num_prompts),
            rollout=replace(given.rollout, group_size=group_size or given.rollout.group_size),
        )
        rules = CombineRules.from_config(config.rewards)
        loader = self._loader(duration_s, num_prompts, num_steps)
        parts = (loader, self.engines, self.rewards, rules, self._schedule)
        with Rollouts(config, *parts) as rollouts:
            while self._step < end:
                yield self._run_step(rollouts)
        loader.close()

    def _loader(self, duration_s: float, num_prompts: int, num_steps: int) -> PromptLoader:
        """Return a loader of clips that are made when they are asked for, none twice."""
        names = [f"{self._step}-{n}" for n in range(num_steps * num_prompts)]

        def build(example: Example, epoch: int) -> Prompt:
            del epoch
            draw = np.random.default_rng([int(part) for part in example.id.split("-")])
            return make_prompt(self._builder, example, make_clip(duration_s, draw), shared=True)

        return PromptLoader(
            [make_example(self._config, name, n) for n, name in enumerate(names)],
            build,
            prompts_per_step=num_prompts,
            seed=0,
            num_workers=self._config.data.num_workers,
        )

    def _run_step(self, rollouts: Rollouts) -> dict[str, float]:
        clock = StepClock()
        rollouts.begin(self._step)
        clock.lap("data")
        batch = rollouts.scored(self._step, clock)
        samples = [with_drawn_advantages(item.group, self._draw) for item in batch.groups]
        clock.lap("reward")
        self.engines.sleep()
        with self.engines.updating(self._step + 1):
            figures = self.learner.update(samples, self._config.optim.lr)
        clock.lap("update")
        self._step += 1
        rollouts.drain()
        clock.lap("rollout")
        sync_weights(self.learner, self.engines, self._step)
        clock.lap("sync")
        if figures["optim/skipped"]:
            raise RuntimeError("the update was skipped: something was not finite")
        lengths = [len(c.token_ids) for item in batch.groups for c in item.group.completions]
        sizes = {
            "tokens": statistics.mean(lengths),
            "prompt_tokens": len(batch.prompts[0].token_ids),
            "time/sampling_s": batch.metrics["time/sampling_s"],
        }
        return clock.metrics() | sizes | figures

    def close(self) -> None:
        """End all actors."""
        self.rewards.close()
        self.engines.close()
        self.learner.close()


def measure(job: Job, duration_s: float, staleness: int, num_steps: int) -> dict[str, float]:
    """Return the medians of all figures over the steps after the warm-up."""
    steps = list(job.run(duration_s, staleness, NUM_WARMUP_STEPS + num_steps))[NUM_WARMUP_STEPS:]
    return {name: statistics.median(step[name] for step in steps) for name in steps[0]}


def print_steps(config: RunConfig, builder: PromptBuilder, parsed: argparse.Namespace) -> None:
    """Measure the steps and print a row per clip length and staleness."""
    connect(config)
    job = Job(config, builder)
    size = config.train.prompts_per_step * config.rollout.group_size
    rows = []
    for duration_s, staleness in itertools.product(parsed.clips, parsed.staleness):
        medians = measure(job, duration_s, staleness, parsed.steps)
        seconds, sampling_s = medians["time/step_s"], medians["time/sampling_s"]
        longer = max(sampling_s, medians["time/update_s"])
        rows.append(
            [
                f"{duration_s:g} s",
                str(staleness),
                *[f"{medians[f'time/{part}_s']:.3f}" for part in PARTS],
                f"{seconds:.3f}",
                f"{sampling_s:.3f}",
                f"{seconds / longer:.2f}",
                f"{size / seconds:.0f}",
                f"{size * medians['tokens'] / seconds:.0f}",
                f"{size * medians['tokens'] / sampling_s:.0f}",
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
            "staleness",
            *PARTS,
            "step",
            "sampling",
            "step / longer of sampling and update",
            "completions/s",
            "completion tokens/s",
            "in the sampling",
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
            max_tokens=config.rollout.max_completion_tokens,
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
