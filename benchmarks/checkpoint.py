#!/usr/bin/env python
"""Checkpoints: what one costs the loop, in the background and with the loop waiting.

python benchmarks/checkpoint.py [--quick] [key=value ...] [--sizes small large]

A round is five learner steps (4 prompts of 8 s with 8 completions of 40 to 120 tokens), and a
checkpoint after the first of them, by `trainer.saving.Saver` as in a run: copied, written, synced,
hashed and published. Without one, with the loop waiting, and in the background, in turns on the
same learner. What a checkpoint costs is the longer round's difference, as a share of one step; the
rounds of a run without a checkpoint in them cost nothing. Sizes: the demo's 1.3 million weights,
and 27 million, or the model of `model.path`.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import ray

from benchmarks.options import Option, parse_options
from benchmarks.setup import make_learner, make_prompts, make_samples, tiny_run
from benchmarks.timing import in_turns, print_machine, print_table, spread, timed
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from launch.cluster import connect, place
from trainer.checkpoint import CheckpointStore, checkpoint_bytes
from trainer.saving import Saver

OVERRIDES = ("loss.kl_coef=0", "learner.tokens_per_microbatch=4096", "train.num_steps=1000000")

SIZES = {"small": {}, "large": {"hidden_size": 512, "num_layers": 8}}

NUM_STEPS = 5
"""Steps of a round."""


def measure(config: RunConfig, builder: PromptBuilder, root: Path, num_rounds: int) -> list[str]:
    """Return the rest of the table's row for one size."""
    prompts = make_prompts(builder, config, num_prompts=4, duration_s=8.0, seed=0, shared=True)
    samples = make_samples(prompts, group_size=8, min_tokens=40, max_tokens=120, seed=0)
    learner = make_learner(config, builder, place(config))
    learner.start()
    saver = Saver(config, CheckpointStore(root, keep_last=1), learner, 0)
    numbers = count(1)
    published: list[float] = []

    def steps(save: Callable[[int], None] | None) -> Callable[[], None]:
        def run() -> None:
            for step in range(NUM_STEPS):
                learner.update(samples, 0.0)
                if save is not None and step == 0:
                    save(next(numbers))

        return run

    def wait(number: int) -> None:
        start = time.perf_counter()
        saver.save(number, {"step": number})
        published.append(time.perf_counter() - start)

    ways = {
        "none": timed(steps(None)),
        "waiting": timed(steps(wait)),
        "background": timed(steps(lambda number: saver.begin(number, {"step": number}))),
    }
    # Without this, the round after one in the background would pay for its rest.
    finishing = {name: lambda way=way: (way(), saver.finish())[0] for name, way in ways.items()}
    seconds = in_turns(finishing, num_rounds)
    learner.close()
    step = statistics.median(seconds["none"]) / NUM_STEPS

    def cost(way: str) -> str:
        pairs = zip(seconds[way], seconds["none"], strict=True)
        return spread([100 * (longer - plain) / step for longer, plain in pairs], digits=0) + " %"

    size = checkpoint_bytes(root) / 1e6
    return [
        f"{size:.0f} MB",
        f"{step:.2f}",
        spread(published, digits=2),
        *map(cost, list(ways)[1:]),
    ]


def main() -> None:
    """Measure and print."""
    options = {"sizes": Option(tuple(SIZES), "of the model", ("small",), choices=tuple(SIZES))}
    parsed = parse_options(__doc__, options)
    print_machine()
    rows = []
    for name in parsed.sizes:
        run = tiny_run(*OVERRIDES, *parsed.overrides, **SIZES[name])
        with tempfile.TemporaryDirectory() as folder, run as (config, builder):
            connect(config)
            row = measure(config, builder, Path(folder), 2 if parsed.quick else 8)
            ray.shutdown()
        rows.append([name, *row])
    header = ["size", "checkpoint", "step, s", "save, s", "loop waits", "in the background"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
