#!/usr/bin/env python
"""What scoring costs: format, accuracy and the measured judge, in completions per second.

python benchmarks/rewards.py [--quick] [--groups 128] [--rounds 10] [--run runs/demo/rl]

Groups of 8 well-formed completions with measured prosody go through the reward terms of
configs/tiny.yaml in two ways: the pool of a run (`RewardPool.score`: Ray actors, every group sent,
checked and returned) and the bare reward objects in this process. With `--run`, the pool's time for
a step's completions is set against the median step of that run.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks.options import Option, parse_options
from benchmarks.setup import CONFIG
from benchmarks.timing import in_turns, print_machine, print_table, spread, timed
from configs.load import load_config
from configs.schema import NINE_LABELS, RewardTermConfig, RunConfig
from data.records import Completion, Example, Group, Prompt
from demo.texts import (
    ENERGY_LEVELS,
    INTONATIONS,
    NUM_PHRASINGS,
    PITCH_LEVELS,
    RATE_LEVELS,
    describe,
)
from launch.cluster import connect
from rewards.base import load_reward, with_run_options
from rewards.pool import RewardPool
from trainer.run_folder import RunFolder

GROUP_SIZE = 8

OPTIONS = {
    "groups": Option(128, "groups of 8 completions", quick=8),
    "rounds": Option(10, "rounds that count", quick=2),
    "run": Option("", "a finished run, for the share of its steps"),
}


def make_groups(num_groups: int, seed: int) -> list[Group]:
    """Return groups of well-formed completions that describe random deliveries."""
    draw = np.random.default_rng(seed)
    deliveries = list(product(PITCH_LEVELS, ENERGY_LEVELS, RATE_LEVELS, INTONATIONS))
    names = ("pitch", "energy", "rate", "intonation")

    def delivery() -> dict[str, str]:
        return dict(zip(names, deliveries[draw.integers(len(deliveries))], strict=True))

    def completion() -> Completion:
        reasoning = describe(delivery(), int(draw.integers(NUM_PHRASINGS)))
        label = NINE_LABELS[draw.integers(len(NINE_LABELS))]
        text = f"<think>{reasoning}</think><answer>{label}</answer>"
        return Completion(np.arange(24), np.zeros(24, np.float32), text, "stop", 0)

    groups = []
    for i in range(num_groups):
        label = NINE_LABELS[i % len(NINE_LABELS)]
        example = Example(
            str(i), f"{i}.wav", label, "?", tuple(NINE_LABELS), prosody=dict(delivery())
        )
        prompt = Prompt(example, "", np.arange(60), np.zeros((128, 130), np.float32), 130)
        groups.append(Group(prompt, tuple(completion() for _ in range(GROUP_SIZE))))
    return groups


def pool_way(terms: Sequence[RewardTermConfig], groups: Sequence[Group]) -> Callable[[], None]:
    """Return a function that scores all groups through the pool of a run."""
    pool = RewardPool(terms, ["rewards"])
    pool.ping()
    weights = {term.name: 1.0 for term in terms}

    def score() -> None:
        scored = list(pool.score(groups, weights))
        missing = [
            v for _, t in scored for values in t.values.values() for v in values if v is None
        ]
        if len(scored) != len(groups) or missing:
            raise RuntimeError(f"{len(scored)} groups, {len(missing)} scores missing")

    return score


def bare_way(terms: Sequence[RewardTermConfig], groups: Sequence[Group]) -> Callable[[], None]:
    """Return a function that scores all groups with reward objects in this process."""
    rewards = [load_reward(term.target, term.options, ["rewards"]) for term in terms]

    def score() -> None:
        for group in groups:
            for reward in rewards:
                reward.score(group)

    return score


def print_share(config: RunConfig, run: Path, seconds_per_completion: float) -> None:
    """Print the share of scoring in a median step of a finished run."""
    steps = [row["time/step_s"] for row in RunFolder(run).rows() if "time/step_s" in row]
    size = config.train.prompts_per_step * config.rollout.group_size
    scoring_s, step_s = size * seconds_per_completion, statistics.median(steps)
    print(
        f"{run}: {size} completions a step take {1000 * scoring_s:.0f} ms to score, "
        f"{scoring_s / step_s:.1%} of the median step of {step_s:.2f} s, while others generate\n"
    )


def main() -> None:
    """Measure and print."""
    parsed = parse_options(__doc__, OPTIONS)
    print_machine()
    config = load_config(CONFIG, parsed.overrides)
    connect(config)
    terms = with_run_options(config)
    groups = make_groups(parsed.groups, seed=0)
    ways = {"pool": pool_way(terms, groups), "bare": bare_way(terms, groups)}
    for term in terms:
        ways[f"bare, {term.name} alone"] = bare_way([term], groups)
    seconds = in_turns({name: timed(way) for name, way in ways.items()}, parsed.rounds)
    size = parsed.groups * GROUP_SIZE
    print(f"{size} completions in groups of {GROUP_SIZE}, {parsed.rounds} rounds\n")
    print_table(
        ["scoring", "ms", "completions/s"],
        [
            [name, spread(times, 1000), f"{size / statistics.median(times):.0f}"]
            for name, times in seconds.items()
        ],
    )
    if parsed.run:
        print_share(config, Path(parsed.run), statistics.median(seconds["pool"]) / size)


if __name__ == "__main__":
    main()
