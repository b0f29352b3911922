"""The job of benchmarks/step.py beside ms-swift, and packed groups beside TRL's prefix trie.

python -m benchmarks.peers [--quick] [--ways vllm-30 vllm-300 transformers-30 trie] [--pairs 3]
                           [--clips 1.6 8] [--steps 10] [--microbatch 16] [--processes 1]
                           [--folder runs/peers] [key=value ...]

Run it from the root of the repository. Ours and theirs take turns, and a ratio is that of a pair of
turns; ours run strictly on-policy and with a step sampled ahead. What is missing of the peers'
environments is made first. README.md beside this file says what is compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
from functools import partial
from pathlib import Path

import ray

from benchmarks.options import Option, parse_options
from benchmarks.peers import ms_swift
from benchmarks.peers.environment import python_of
from benchmarks.setup import tiny_run
from benchmarks.step import PARTS, Job, measure
from benchmarks.timing import print_machine, print_table, spread
from configs.schema import RunConfig
from data.prompts import PromptBuilder
from launch.cluster import connect, thread_environment

TRIE = "trie"

OPTIONS = {
    "ways": Option((*ms_swift.WAYS, TRIE), "what is compared", choices=(*ms_swift.WAYS, TRIE)),
    "pairs": Option(3, "turns of each side, per way of ms-swift", quick=1),
    "clips": Option((1.6, 8.0), "clip lengths in seconds"),
    "steps": Option(10, "steps that count, per turn and clip length", quick=2),
    "microbatch": Option(16, "completions per forward pass of ms-swift"),
    "processes": Option(1, "data-parallel processes of ms-swift, which share the threads"),
    "folder": Option("runs/peers", "where the environments of the peers lie"),
}

OUR_WAYS = {"ours": 0, "ours, a step ahead": 1}
"""Way -> its `async.max_staleness`."""

Turn = dict[float, dict[str, float]]
"""Clip length -> medians of the figures of a step."""


def our_turns(
    config: RunConfig, builder: PromptBuilder, parsed: argparse.Namespace
) -> dict[str, Turn]:
    """Run our steps in both ways; actors live for the turn alone."""
    connect(config)
    job = Job(config, builder)
    turns = {
        way: {clip_s: measure(job, clip_s, staleness, parsed.steps) for clip_s in parsed.clips}
        for way, staleness in OUR_WAYS.items()
    }
    job.close()
    lengths = [figures["tokens"] for turn in turns.values() for figures in turn.values()]
    if set(lengths) != {config.rollout.max_completion_tokens}:
        raise RuntimeError(f"our completions have {lengths} tokens")
    ray.shutdown()
    return turns


def their_turn(
    name: str, config: RunConfig, builder: PromptBuilder, parsed: argparse.Namespace
) -> Turn:
    """Run the steps of ms-swift, in a process that ends with the turn."""
    with tempfile.TemporaryDirectory() as folder:
        steps = ms_swift.run(
            python_of("ms-swift", Path(parsed.folder)),
            ms_swift.WAYS[name],
            config,
            builder,
            folder=Path(folder),
            clips=parsed.clips,
            num_steps=parsed.steps,
            microbatch=parsed.microbatch,
            processes=parsed.processes,
        )
    return {clip_s: ms_swift.medians(figures) for clip_s, figures in steps.items()}


def compare(
    name: str, config: RunConfig, builder: PromptBuilder, parsed: argparse.Namespace
) -> None:
    """Let ours and one way of ms-swift take turns, and print both and their ratios."""
    sides: dict[str, list[Turn]] = {side: [] for side in (*OUR_WAYS, name)}
    for _ in range(parsed.pairs):
        load = os.getloadavg()[0]
        turns = our_turns(config, builder, parsed)
        between = os.getloadavg()[0]
        turns[name] = their_turn(name, config, builder, parsed)
        for side, turn in turns.items():
            sides[side].append(turn)
            seconds = ", ".join(f"{turn[clip_s]['time/step_s']:.2f} s" for clip_s in parsed.clips)
            print(f"{side}: {seconds}", flush=True)
        print(f"load {load:.1f} before our turn, {between:.1f} before theirs\n", flush=True)
    rows = []
    for clip_s in parsed.clips:
        seconds = {side: [t[clip_s]["time/step_s"] for t in turns] for side, turns in sides.items()}
        for side, turns in sides.items():
            laps = (statistics.median(t[clip_s][f"time/{part}_s"] for t in turns) for part in PARTS)
            ratios = [b / a for a, b in zip(seconds[side], seconds[name], strict=True)]
            rows.append(
                [
                    f"{clip_s:g} s",
                    side,
                    *(f"{lap:.2f}" for lap in laps),
                    spread(seconds[side], digits=2),
                    "1" if side == name else spread(ratios, digits=2),
                ]
            )
    print_table(["clips", "trainer", *PARTS, "step", f"{name} / step"], rows)


def compare_trie(config: RunConfig, parsed: argparse.Namespace) -> None:
    """Run `tree_step` in the environment of TRL."""
    subprocess.run(
        [
            python_of("trl", Path(parsed.folder)),
            "-m",
            "benchmarks.peers.tree_step",
            *(["--quick"] if parsed.quick else []),
        ],
        env={
            **os.environ,
            **thread_environment(config.learner.cpu_threads),
            "TRL_EXPERIMENTAL_SILENCE": "1",
        },
        check=True,
    )


parse = partial(parse_options, __doc__, OPTIONS)


def main() -> None:
    """Measure and print."""
    parsed = parse()
    print_machine()
    overrides = ("train.prompts_per_step=8", "rollout.max_completion_tokens=64", *parsed.overrides)
    with tiny_run(*overrides) as (config, builder):
        for name in parsed.ways:
            if name == TRIE:
                compare_trie(config, parsed)
            else:
                compare(name, config, builder, parsed)


if __name__ == "__main__":
    main()
