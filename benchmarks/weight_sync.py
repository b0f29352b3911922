#!/usr/bin/env python
"""Weight sync: from one learner rank to one engine over the `host` transport, ZeRO-2 and ZeRO-3.

python benchmarks/weight_sync.py [--quick] [key=value ...]

A model of 117 million float32 weights. A sync is `LearnerGroup.send_weights` and
`EnginePool.activate`, as in the loop: gathering, shared memory, vLLM's reload, caches dropped.
Beside it, the same bytes copied once within this process. Before timing, an update changes the
weights, and the engine must then agree with the learner: a fast sync of old weights is none.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from safetensors import safe_open

from benchmarks.setup import (
    arguments,
    make_engines,
    make_learner,
    make_prompts,
    tiny_run,
    with_drawn_advantages,
)
from benchmarks.timing import in_turns, median_ratio, print_machine, print_table, spread, timed
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from data.records import Group, Prompt
from launch.cluster import connect
from rollout.pool import EnginePool
from trainer.learner_group import LearnerGroup
from trainer.loop import sync_weights

OVERRIDES = ("loss.kl_coef=0", "rollout.max_completion_tokens=8")
"""No reference policy, which takes no part in a sync."""

ZERO_STAGES = (2, 3)

LARGE = {"hidden_size": 1024, "num_layers": 10}

LEARNING_RATE = 1e-5
"""Of the update before the check: AdamW's first step moves every weight by as much."""


def num_sent_weights(model_path: str) -> int:
    """Return how many weights a sync carries: all but those of the vision tower."""
    with safe_open(Path(model_path) / "model.safetensors", framework="np") as weights:
        shapes = [
            weights.get_slice(name).get_shape()
            for name in weights.offset_keys()
            if not name.startswith("thinker.visual.")
        ]
    return sum(math.prod(shape) for shape in shapes)


class Sync:
    """The way from a learner to the engines, as the loop goes it.

    Args:
        learner: connected to the engines.
        engines: of any policy version.
    """

    def __init__(self, learner: LearnerGroup, engines: EnginePool) -> None:
        self._learner = learner
        self._engines = engines
        self._version = 0

    def __call__(self) -> None:
        """Bring the engines to the learner's weights."""
        self._version += 1
        sync_weights(self._learner, self._engines, self._version)


def check_sync(
    learner: LearnerGroup, engines: EnginePool, sync: Sync, prompts: Sequence[Prompt]
) -> tuple[float, float]:
    """Change the weights, sync, and return how far engine and learner are apart before and after.

    Returns:
        Largest difference of a token's log-prob in nats: with the old weights, with the new ones.
    """
    draw = np.random.default_rng(0)
    old = list(engines.generate(prompts))
    learner.update([with_drawn_advantages(group, draw) for group in old], LEARNING_RATE)
    stale = largest_gap(learner, old)
    sync()
    return stale, largest_gap(learner, list(engines.generate(prompts)))


def largest_gap(learner: LearnerGroup, groups: Sequence[Group]) -> float:
    """Return the largest difference of a token's log-prob between learner and engine, in nats."""
    return max(
        float(np.abs(scores - completion.rollout_logprobs).max())
        for group, found in zip(groups, learner.logprobs(groups), strict=True)
        for scores, completion in zip(found, group.completions, strict=True)
    )


def measure(
    config: RunConfig, builder: PromptBuilder, engines: EnginePool, num_rounds: int
) -> list[list[str]]:
    """Return the table rows of one ZeRO stage."""
    size = num_sent_weights(config.model.path)
    learner = make_learner(config, builder)
    learner.start()
    learner.connect(engines.actors)
    sync = Sync(learner, engines)
    prompts = make_prompts(builder, config, num_prompts=2, duration_s=1.3, seed=0, shared=True)
    stale, gap = check_sync(learner, engines, sync, prompts)
    if gap > config.parity.max_gap:
        raise RuntimeError(f"after a sync, learner and engine are {gap:.1e} nats apart")
    array = np.ones(size, np.float32)
    target = np.zeros_like(array)
    tensor = torch.from_numpy(array)
    ways = {
        f"sync, ZeRO-{config.learner.zero_stage}": timed(sync),
        "numpy.copyto": timed(lambda: np.copyto(target, array)),
        "torch clone": timed(tensor.clone),
    }
    seconds = in_turns(ways, num_rounds)
    learner.close()
    first = next(iter(ways))
    gaps = {first: f"{stale:.1e} -> {gap:.1e}"}
    return [
        [
            name,
            spread(found, digits=3),
            spread([size * 4 / 1e9 / value for value in found], digits=2),
            f"{median_ratio(found, seconds['numpy.copyto']):.1f}",
            gaps.get(name, ""),
        ]
        for name, found in seconds.items()
    ]


def main() -> None:
    """Measure and print."""
    parsed = arguments(__doc__.splitlines()[0]).parse_intermixed_args()
    print_machine()
    sizes = {"hidden_size": 256, "num_layers": 2} if parsed.quick else LARGE
    with tiny_run(*OVERRIDES, *parsed.overrides, **sizes) as (config, builder):
        connect(config)
        engines = make_engines(config, builder)
        engines.start()
        rows = []
        for stage in ZERO_STAGES:
            learner = replace(config.learner, zero_stage=stage)
            num_rounds = 3 if parsed.quick else 8
            rows += measure(replace(config, learner=learner), builder, engines, num_rounds)
        size = num_sent_weights(config.model.path)
        engines.close()
    print(f"{size / 1e6:.1f} million weights, {size * 4 / 1e6:.0f} MB\n")
    print_table(["", "s", "GB/s", "time / numpy.copyto", "log-prob gap, stale -> synced"], rows)


if __name__ == "__main__":
    main()
