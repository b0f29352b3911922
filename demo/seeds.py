"""`python -m demo.seeds 0 1 2`: the demo's RL stage with several seeds, as a table and a figure."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.material import prepare
from demo.results import before_and_after, draw_curve, gate_step
from demo.stages import RUNS, Stage

DEMO = Stage("reinforcement learning: GRPO-PTR", "rl", "configs/tiny.yaml", RUNS / "demo/rl")
PAGE = Path("docs/demo_seeds.md")
FIGURE = Path("docs/demo_seeds.png")


def run_seed(seed: int) -> Path:
    """Run cold start and RL with one seed, unless they are done; return the RL run's folder.

    Seed 0 is the demo's own run, if that is done.

    Raises:
        SystemExit: a stage failed.
    """
    if seed == 0 and DEMO.is_finished():
        return DEMO.folder
    folder = RUNS / "demo_seeds" / str(seed)
    settings = (f"seed={seed}",)
    Stage("cold start", "sft", "configs/tiny_sft.yaml", folder / "sft", settings).run()
    settings = (f"seed={seed}", f"model.path={folder / 'sft/export'}")
    Stage(DEMO.title, "rl", DEMO.config, folder / "rl", settings).run()
    return folder / "rl"


def seeds_page(seeds: Sequence[int], runs: Sequence[Path]) -> str:
    """Return the page with every seed's test results and their mean."""
    lines = [
        "# The demo with several seeds",
        "",
        "Held-out test speakers, greedy answers, before and after RL. The seed changes the order",
        "of the data, the cold start and the sampling; checkpoint and corpus are the same. Facts:",
        "the measured judge's factual alignment of the reasoning, 1 to 5.",
        "",
        f'    make seeds SEEDS="{" ".join(map(str, seeds))}"',
        "",
        "| seed | accuracy before | after | gain (points) | facts before | after | gate opened |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    gains = []
    for seed, run in zip(seeds, runs, strict=True):
        before, after = before_and_after(run, "accuracy")
        facts_before, facts_after = before_and_after(run, "reasoning_factual_alignment")
        gains.append(100 * (after - before))
        lines.append(
            f"| {seed} | {before:.1%} | {after:.1%} | {gains[-1]:+.1f} "
            f"| {facts_before:.2f} | {facts_after:.2f} | after step {gate_step(run)} |"
        )
    lines += [
        f"| mean | | | {statistics.fmean(gains):+.1f} | | | |",
        "",
        f"![accuracy over the steps of all seeds]({FIGURE.name})",
        "",
    ]
    return "\n".join(lines)


def main(seeds: Sequence[int]) -> None:
    """Run all seeds one after another and write docs/demo_seeds.md."""
    prepare(Path("runs/demo/material"))
    runs = [run_seed(seed) for seed in seeds]
    draw_curve(runs, FIGURE)
    page = seeds_page(seeds, runs)
    PAGE.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [0, 1, 2])
