#!/usr/bin/env python
"""Checkpoints: what one costs the loop, in the background and with the loop waiting.

python benchmarks/checkpoint.py [--quick] [key=value ...] [--sizes small large]

A round is three learner steps (4 prompts of 8 s with 8 completions of 40 to 120 tokens), and a
checkpoint after the first of them, by `trainer.saving.Saver` as in a run: copied, written, synced,
hashed and published. Without one, with the loop waiting, and in the background, in turns on the
same learner. `stands still` is the call that begins a checkpoint, which is all that a loop with
cores to spare pays; `in all` is how much longer a round with a checkpoint takes than one without,
as a share of a step, mean and 1.96 standard errors: here the writer takes time from two cores that
the steps use. Sizes: the demo's 1.3 million weights, and 12 million, or the model of `model.path`.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from functools import partial
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

SIZES = {"small": {}, "large": {"hidden_size": 384, "num_layers": 6}}

NUM_STEPS = 3
"""Steps of a round."""

NUM_ROUNDS = {"small": 20, "large": 6}

WHAT = ("stands still", "in all")


def measure(config: RunConfig, builder: PromptBuilder, root: Path, num_rounds: int) -> list[str]:
    """Return the rest of the table's row for one size."""
    prompts = make_prompts(builder, config, num_prompts=4, duration_s=8.0, seed=0, shared=True)
    samples = make_samples(prompts, group_size=8, min_tokens=40, max_tokens=120, seed=0)
    learner = make_learner(config, builder, place(config))
    learner.start()
    saver = Saver(config, CheckpointStore(root, keep_last=1), learner, 0)
    numbers = count(1)
    still: dict[str, list[float]] = {"waiting": [], "background": []}

    def steps(way: str) -> None:
        for step in range(NUM_STEPS):
            learner.update(samples, 0.0)
            if way in still and step == 0:
                number = next(numbers)
                save = saver.save if way == "waiting" else saver.begin
                start = time.perf_counter()
                save(number, {"step": number})
                still[way].append(time.perf_counter() - start)

    def finished(way: str) -> float:
        seconds = timed(partial(steps, way))()
        # Else the round after one in the background would pay for its rest.
        saver.finish()
        return seconds

    ways = {way: partial(finished, way) for way in ("none", *still)}
    seconds = in_turns(ways, num_rounds)
    learner.close()
    step_s = statistics.median(seconds["none"]) / NUM_STEPS
    row = [f"{checkpoint_bytes(root) / 1e6:.0f} MB", f"{step_s:.2f}"]
    for way, pauses in still.items():
        share = 100 * statistics.median(pauses) / step_s
        row.append(f"{spread(pauses[1:], scale=1e3, digits=0)} ms, {share:.1f} %")
        pairs = zip(seconds[way], seconds["none"], strict=True)
        costs = [100 * (longer - plain) / step_s for longer, plain in pairs]
        error = 1.96 * statistics.stdev(costs) / math.sqrt(len(costs))
        row.append(f"{statistics.mean(costs):.0f} ± {error:.0f} %")
    return row


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
            num_rounds = 2 if parsed.quick else NUM_ROUNDS[name]
            row = measure(config, builder, Path(folder), num_rounds)
            ray.shutdown()
        rows.append([name, *row])
    columns = [f"{way}: {what}" for way in ("waiting", "background") for what in WHAT]
    print_table(["size", "checkpoint", "step, s", *columns], rows)


if __name__ == "__main__":
    main()
