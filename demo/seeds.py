"""`python -m demo.seeds 0 1 2`: the demo's RL stage with several seeds, as a table and a figure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from demo.material import prepare
from demo.results import before_and_after, draw_curve, gate_step
from demo.stages import RUNS, Stage
from report.seeds import estimate

DEMO = Stage("reinforcement learning: GRPO-PTR", "rl", "configs/tiny.yaml", RUNS / "demo/rl")
PAGE = Path("docs/demo_seeds.md")
FIGURE = Path("docs/demo_seeds.png")
COLUMNS = (
    ("accuracy, %", "accuracy", 100, ".1f"),
    ("macro F1, %", "macro_f1", 100, ".1f"),
    ("lowest recall of a label, %", "lowest_recall", 100, ".1f"),
    ("facts", "reasoning_factual_alignment", 1, ".2f"),
    ("coverage", "reasoning_caption_completeness", 1, ".2f"),
)
"""Heading, test metric, factor and digits."""

HEAD = """# The demo with several seeds

Held-out test speakers, greedy answers, before and after RL. The seed changes the order of the data,
the cold start and the sampling; checkpoint and corpus stay. Facts and coverage are the measured
judge's, 1 to 5. Change: its mean, and the 95 % interval by Student's t over the seeds.

    make seeds SEEDS="{}"

| seed | {} | the gate opened after step |
|---|--:|--:|--:|--:|--:|--:|"""


def run_seed(seed: int) -> Path:
    """Run cold start and RL with one seed, unless they are done; return the RL run's folder.

    Seed 0 is the demo's own run, if that is done.

    Raises:
        SystemExit: a stage failed.
    """
    if seed == 0 and DEMO.is_finished():
        return DEMO.folder
    folder = RUNS / "demo_seeds" / str(seed)
    seeded, start = f"seed={seed}", f"model.path={folder / 'sft/export'}"
    Stage("cold start", "sft", "configs/tiny_sft.yaml", folder / "sft", (seeded,)).run()
    Stage(DEMO.title, "rl", DEMO.config, folder / "rl", (seeded, start)).run()
    return folder / "rl"


def seeds_page(seeds: Sequence[int], runs: Sequence[Path]) -> str:
    """Return the page with every seed's test results and the mean changes."""
    tests = [before_and_after(run) for run in runs]
    for test in chain(*tests):
        test["lowest_recall"] = min(test[key] for key in test if key.startswith("recall_"))
    lines = [HEAD.format(" ".join(map(str, seeds)), " | ".join(column[0] for column in COLUMNS))]
    for seed, run, (before, after) in zip(seeds, runs, tests, strict=True):
        cells = [f"{k * before[key]:{f}} → {k * after[key]:{f}}" for _, key, k, f in COLUMNS]
        lines.append(f"| {seed} | {' | '.join(cells)} | {gate_step(run) or 'closed'} |")
    cells = [
        _change([k * (b[key] - a[key]) for a, b in tests], f"+{f}") for _, key, k, f in COLUMNS
    ]
    figure = f"![accuracy over the steps of all seeds]({FIGURE.name})"
    return "\n".join([*lines, f"| change | {' | '.join(cells)} | |", "", figure, ""])


def _change(values: Sequence[float], form: str) -> str:
    """Return a mean difference and its interval."""
    change = estimate(values)
    assert change is not None
    ends = "" if change.ends is None else " ({1:{0}} to {2:{0}})".format(form, *change.ends)
    return f"{change.mean:{form}}{ends}"


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
