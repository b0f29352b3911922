#!/usr/bin/env python
"""Weight sync: from the learner ranks to the engines, ZeRO-2 and ZeRO-3.

python benchmarks/weight_sync.py [--quick] [key=value ...] [--stages 2 3]

A model of 117 million weights, or that of `model.path`. A sync is `LearnerGroup.send_weights` and
`EnginePool.activate`, as in the loop: gathering, transport, vLLM's reload, caches dropped; engines
that share the learners' GPUs are asleep before it, and waking is part of it. Transports: `host` on
a CPU; with `device=cuda`, `ipc` on one GPU, or with `rollout.colocate=false sync.transport=nccl` on
one GPU a rank and one an engine. Beside it, the same bytes copied once on the host. Before timing,
an update changes the weights, and the engine must then agree with the learner: a fast sync of old
weights is none.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from safetensors import safe_open

from benchmarks.options import Option, parse_options
from benchmarks.setup import (
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
from launch.cluster import Places, connect, place
from rollout.pool import EnginePool
from trainer.learner_group import LearnerGroup
from trainer.loop import sync_weights

OVERRIDES = ("loss.kl_coef=0", "rollout.max_completion_tokens=8", "rollout.num_engines=1")
"""No reference policy, which takes no part in a sync; one engine."""

OPTIONS = {"stages": Option((2, 3), "of ZeRO", choices=(2, 3))}

LARGE = {"hidden_size": 1024, "num_layers": 10}

LEARNING_RATE = 1e-5
"""Of the update before the check: AdamW's first step moves every weight by as much."""

LARGEST_GAP = {"float32": 2e-3, "bfloat16": 0.5}
"""Nats between engine and learner after a sync that worked, for one token."""


def num_sent_weights(model_path: str, frozen: Sequence[str]) -> int:
    """Return how many weights a sync carries: not the vision tower's, and no frozen ones."""
    left_out = tuple(f"thinker.{prefix}." for prefix in ("visual", *frozen))
    count = 0
    for file in Path(model_path).glob("*.safetensors"):
        with safe_open(file, framework="np") as weights:
            count += sum(
                math.prod(weights.get_slice(name).get_shape())
                for name in weights.keys()  # noqa: SIM118 (no mapping)
                if not name.startswith(left_out)
            )
    return count


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

    def seconds(self) -> float:
        """Return the seconds of a sync; engines on the learners' GPUs are put to sleep before."""
        self._engines.sleep()
        return timed(self)()


def check_sync(
    learner: LearnerGroup, engines: EnginePool, sync: Sync, prompts: Sequence[Prompt]
) -> tuple[float, float]:
    """Change the weights, sync, and return how far engine and learner are apart before and after.

    Returns:
        Largest difference of a token's log-prob in nats: with the old weights, with the new ones.
    """
    draw = np.random.default_rng(0)
    old = list(engines.generate(prompts))
    engines.sleep()
    learner.update([with_drawn_advantages(group, draw) for group in old], LEARNING_RATE)
    stale = largest_gap(learner, old)
    sync()
    return stale, largest_gap(learner, list(engines.generate(prompts)))


def largest_gap(learner: LearnerGroup, groups: Sequence[Group]) -> float:
    """Return the largest difference of a token's log-prob between learner and engine, in nats."""
    return max(
        float(np.abs(scores - completion.rollout_logprobs).max())
        for group, scored in zip(groups, learner.logprobs(groups), strict=True)
        for scores, completion in zip(scored, group.completions, strict=True)
    )


def measure(
    config: RunConfig, builder: PromptBuilder, places: Places, num_rounds: int
) -> list[list[str]]:
    """Return the table rows of one ZeRO stage, with a learner and engines of its own."""
    size = num_sent_weights(config.model.path, config.model.freeze)
    num_bytes = size * getattr(torch, config.model.dtype).itemsize
    learner = make_learner(config, builder, places)
    learner.start()
    engines = make_engines(config, builder, places)
    engines.start()
    learner.connect(engines.actors)
    sync = Sync(learner, engines)
    prompts = make_prompts(builder, config, num_prompts=2, duration_s=1.3, seed=0, shared=True)
    stale, gap = check_sync(learner, engines, sync, prompts)
    if gap > LARGEST_GAP[config.model.dtype]:
        raise RuntimeError(f"after a sync, learner and engine are {gap:.1e} nats apart")
    array = np.ones(num_bytes, np.uint8)
    target = np.zeros_like(array)
    tensor = torch.from_numpy(array)
    ways = {
        f"{config.sync.transport}, ZeRO-{config.learner.zero_stage}": sync.seconds,
        "numpy.copyto": timed(lambda: np.copyto(target, array)),
        "torch clone": timed(tensor.clone),
    }
    seconds = in_turns(ways, num_rounds)
    learner.close()
    engines.close()
    first = next(iter(ways))
    gaps = {first: f"{stale:.1e} -> {gap:.1e}"}
    return [
        [
            name,
            spread(times, digits=3),
            spread([num_bytes / 1e9 / value for value in times], digits=2),
            f"{median_ratio(times, seconds['numpy.copyto']):.1f}",
            f"{median_ratio(times, seconds['torch clone']):.2f}",
            gaps.get(name, ""),
        ]
        for name, times in seconds.items()
    ]


parse = partial(parse_options, __doc__, OPTIONS)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    print_machine()
    sizes = {"hidden_size": 256, "num_layers": 2} if parsed.quick else LARGE
    with tiny_run(*OVERRIDES, *parsed.overrides, **sizes) as (config, builder):
        connect(config)
        places = place(config)
        rows = []
        for stage in parsed.stages:
            learner = replace(config.learner, zero_stage=stage)
            rows += measure(
                replace(config, learner=learner), builder, places, 3 if parsed.quick else 8
            )
        size = num_sent_weights(config.model.path, config.model.freeze)
    print(
        f"{size / 1e6:.1f} million weights, {config.model.dtype}, {config.learner.num_ranks} ranks "
        f"to {config.rollout.num_engines} engines\n"
    )
    ratios = ["time / numpy.copyto", "time / torch clone"]
    print_table(["sync", "s", "GB/s", *ratios, "log-prob gap, stale -> synced"], rows)


if __name__ == "__main__":
    main()
