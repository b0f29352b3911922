"""The job of benchmarks/step.py beside ms-swift, and packed groups beside TRL's prefix trie.

python -m benchmarks.peers [--quick] [--ways vllm-30 vllm-300 transformers-30 tree] [--pairs 3]
                           [--clips 1.6 8] [--steps 10] [--microbatch 16] [--folder runs/peers]
                           [key=value ...]

Run it from the root of the repository. Ours and theirs take turns, and every ratio is that of a
pair of neighbours. What is missing of the peers' environments is made first, under `--folder`
(0.6 GB; pip needs an index). README.md beside this file says what is compared.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import ray

from benchmarks.options import Option, parse_options
from benchmarks.peers import swift
from benchmarks.peers.environment import python_of
from benchmarks.setup import tiny_run
from benchmarks.step import PARTS, Job, measure
from benchmarks.timing import print_machine, print_table, spread
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from launch.cluster import connect

ROOT = Path(__file__).resolve().parents[2]

OPTIONS = {
    "ways": Option((*swift.WAYS, "tree"), "what is compared", choices=(*swift.WAYS, "tree")),
    "pairs": Option(3, "turns of each side, per way", quick=1),
    "clips": Option((1.6, 8.0), "clip lengths in seconds"),
    "steps": Option(10, "steps that count, per turn and clip length", quick=2),
    "microbatch": Option(16, "completions per forward pass of ms-swift"),
    "folder": Option("runs/peers", "where the environments of the peers lie"),
}

LAPS = ("load", *PARTS)


def our_turn(config: RunConfig, builder: PromptBuilder, clips: list[float], num_steps: int) -> dict:
    """Return clip length -> medians of the figures of our steps; actors live for the turn alone."""
    connect(config)
    job = Job(config, builder)
    figures = {clip_s: measure(job, clip_s, num_steps) for clip_s in clips}
    job.close()
    ray.shutdown()
    return figures


def their_turn(
    python: Path, way: swift.Way, config: RunConfig, builder: PromptBuilder, parsed
) -> dict:
    """Return clip length -> medians of the figures of ms-swift's steps."""
    with tempfile.TemporaryDirectory() as folder:
        steps = swift.run(
            python,
            way,
            config,
            builder,
            folder=Path(folder),
            clips=parsed.clips,
            num_steps=parsed.steps,
            microbatch=parsed.microbatch,
        )
    return {clip_s: swift.medians(figures) for clip_s, figures in steps.items()}


def compare(name: str, config: RunConfig, builder: PromptBuilder, parsed) -> None:
    """Let ours and one way of ms-swift take turns, and print both and their ratios."""
    python = python_of("ms-swift", Path(parsed.folder))
    turns = []
    for pair in range(parsed.pairs):
        loads = [os.getloadavg()[0]]
        ours = our_turn(config, builder, parsed.clips, parsed.steps)
        loads.append(os.getloadavg()[0])
        theirs = their_turn(python, swift.WAYS[name], config, builder, parsed)
        turns.append((ours, theirs))
        for clip_s in parsed.clips:
            seconds = [turn[clip_s]["time/step_s"] for turn in (ours, theirs)]
            print(
                f"{name}, pair {pair + 1}, clips of {clip_s:g} s: {seconds[0]:.3f} s, "
                f"{seconds[1]:.3f} s, ratio {seconds[1] / seconds[0]:.2f}; load before each turn "
                + ", ".join(f"{load:.1f}" for load in loads),
                flush=True,
            )
    print()
    rows = []
    for clip_s in parsed.clips:
        ours, theirs = ([turn[i][clip_s] for turn in turns] for i in (0, 1))
        seconds = [[turn["time/step_s"] for turn in side] for side in (ours, theirs)]
        ratios = [b / a for a, b in zip(*seconds, strict=True)]
        for side, laps, of in (("ours", ours, seconds[0]), (name, theirs, seconds[1])):
            rows.append(
                [
                    f"{clip_s:g} s",
                    side,
                    *(
                        f"{statistics.median(turn[f'time/{part}_s'] for turn in laps):.3f}"
                        for part in PARTS
                    ),
                    spread(of, digits=2),
                    spread(ratios, digits=2) if side != "ours" else "",
                ]
            )
    print_table(["clips", "trainer", *PARTS, "step", "time / ours"], rows)


parse = partial(parse_options, __doc__, OPTIONS)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    print_machine()
    overrides = ("train.prompts_per_step=8", "rollout.max_completion_tokens=64", *parsed.overrides)
    with tiny_run(*overrides) as (config, builder):
        for name in parsed.ways:
            if name != "tree":
                compare(name, config, builder, parsed)
    if "tree" in parsed.ways:
        python = python_of("trl", Path(parsed.folder))
        quick = ["--quick"] if parsed.quick else []
        subprocess.run([python, "-m", "benchmarks.peers.tree_step", *quick], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
