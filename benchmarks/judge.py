#!/usr/bin/env python
"""Does judging hide behind generation? A judge of 200 ms a call behind HTTP.

python benchmarks/judge.py [--quick] [--prompts 32] [--tokens 64] [--sequences 32] [--delay 0.2]
                           [--concurrency 32] [--rounds 5] [key=value ...]

Three ways in turns: generation alone (`EnginePool.generate` to the last group), judging alone
(`RewardPool.score` over groups that are there already), and both as a step runs them, where a group
is judged while others still generate. The judge is a server in a process of its own that answers
every call after the delay. Random weights write nonsense, which is never judged, so every
completion gets a well-formed text of its own on the way: one call each, none from the cache.

All completions have the same length here, so groups end apart only if the engine decodes fewer
completions at a time (`--sequences`) than a step has, as it does in a run whose completions differ
in length. With one wave of equal completions there is nothing that judging could hide behind. The
engine gets one thread: judge's worker, its server and the driver need a core too.
"""

from __future__ import annotations

import itertools
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

# Instead of this folder, whose modules are named like our packages; Ray's workers inherit it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.options import Option, parse_options
from benchmarks.setup import make_engines, make_prompts, tiny_run
from benchmarks.timing import in_turns, median_ratio, print_machine, print_table, spread, timed
from configs.schema import RewardTermConfig, RunConfig
from data.prompts import PromptBuilder
from data.records import Group
from launch.cluster import connect, place
from rewards.base import with_run_options
from rewards.pool import RewardPool
from rollout.pool import EnginePool

ROOT = Path(__file__).resolve().parents[1]

OPTIONS = {
    "prompts": Option(32, "prompts, 8 completions each", quick=4),
    "tokens": Option(64, "tokens per completion", quick=16),
    "sequences": Option(32, "completions decoded at a time"),
    "delay": Option(0.2, "seconds of a judge's call"),
    "concurrency": Option(32, "calls at a time"),
    "rounds": Option(5, "rounds that count", quick=1),
}


@contextmanager
def slow_judge(delay_s: float) -> Iterator[str]:
    """Run the server and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.judge_server", "--port", str(port)]
    process = subprocess.Popen([*command, "--delay", str(delay_s)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the judge's server did not start on port {port}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def judge_pool(config: RunConfig, url: str, concurrency: int) -> RewardPool:
    """Return a pool with the judged term alone."""
    term = RewardTermConfig(
        name="reasoning",
        target="rewards.reasoning:ReasoningReward",
        judged=True,
        concurrency=config.train.prompts_per_step,
        options={
            "judge": "rewards.judges.http:HttpJudge",
            "judge_options": {
                "url": url,
                "model": "judge",
                "max_concurrent_calls": concurrency,
            },
        },
    )
    rewards = replace(config.rewards, terms=[term])
    pool = RewardPool(with_run_options(replace(config, rewards=rewards)), ["rewards"])
    pool.ping()
    return pool


class Variants:
    """The three ways, on the same engine and judge."""

    def __init__(
        self, config: RunConfig, builder: PromptBuilder, engines: EnginePool, pool: RewardPool
    ) -> None:
        self._engines = engines
        self._pool = pool
        self._numbers = itertools.count()
        self._prompts = make_prompts(
            builder,
            config,
            num_prompts=config.train.prompts_per_step,
            duration_s=1.3,
            seed=0,
            shared=True,
        )
        self._groups = list(engines.generate(self._prompts))

    def generate(self) -> None:
        """Generation alone."""
        self._groups = list(self._engines.generate(self._prompts))

    def judge(self) -> None:
        """Judging alone, of the last groups that were generated."""
        self._score(self._groups)

    def both(self) -> None:
        """As in a step."""
        self._score(self._engines.generate(self._prompts))

    def _score(self, groups: Iterable[Group]) -> None:
        for group, terms in self._pool.score(map(self._readable, groups), {"reasoning": 1.0}):
            missing = [detail["missing"] for detail in terms.details["reasoning"]]
            if any(missing) or None in terms.values["reasoning"]:
                raise RuntimeError(f"{group.prompt.example.id}: not judged: {missing}")

    def _readable(self, group: Group) -> Group:
        completions = tuple(
            replace(c, text=f"<think>Text {next(self._numbers)}.</think><answer>sad</answer>")
            for c in group.completions
        )
        return replace(group, completions=completions)


def print_variants(variants: Variants, num_rounds: int) -> None:
    """Measure and print the table."""
    seconds = in_turns(
        {
            "generate": timed(variants.generate),
            "judge": timed(variants.judge),
            "both": timed(variants.both),
        },
        num_rounds,
    )
    pairs = list(zip(seconds["generate"], seconds["judge"], strict=True))
    longer = median_ratio(seconds["both"], [max(pair) for pair in pairs])
    total = median_ratio(seconds["both"], [sum(pair) for pair in pairs])
    rows = [
        ["generation alone", spread(seconds["generate"], digits=2)],
        ["judging alone", spread(seconds["judge"], digits=2)],
        ["both, streamed", spread(seconds["both"], digits=2)],
        ["sum of the two", f"{statistics.median(sum(pair) for pair in pairs):.2f}"],
    ]
    print_table(["", "s"], rows)
    print(f"both / longer of the two: {longer:.2f}; both / sum: {total:.2f}\n")


def main() -> None:
    """Measure and print."""
    parsed = parse_options(__doc__, OPTIONS)
    print_machine()
    overrides = (
        f"train.prompts_per_step={parsed.prompts}",
        f"rollout.max_completion_tokens={parsed.tokens}",
        f"rollout.max_num_seqs={parsed.sequences}",
        "rollout.cpu_threads=1",
        *parsed.overrides,
    )
    with (
        tiny_run(*overrides) as (config, builder),
        slow_judge(parsed.delay) as url,
    ):
        connect(config)
        engines = make_engines(config, builder, place(config, learns=False))
        engines.start()
        pool = judge_pool(config, url, parsed.concurrency)
        calls = parsed.prompts * config.rollout.group_size
        print(
            f"{calls} calls of {1000 * parsed.delay:.0f} ms, {parsed.concurrency} at a time: "
            f"at least {calls * parsed.delay / parsed.concurrency:.2f} s\n"
        )
        print_variants(Variants(config, builder, engines, pool), parsed.rounds)
        pool.close()
        engines.close()


if __name__ == "__main__":
    main()
