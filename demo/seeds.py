"""`python -m demo.seeds 0 1 2`: the demo's RL stage with several seeds, as a table and a figure."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from demo.material import prepare
from demo.results import before_and_after, describe_nulls, draw_curve, gate_step
from demo.stages import RUNS, Stage
from report.seeds import estimate

Column = tuple[str, str, int, str]
Pair = Sequence[Mapping[str, float]]
"""Test metrics before and after."""

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
HEARING = (
    ("claimed pitch, clip 4 semitones up", "control_pitch_up_shift_pitch", 1, ".2f"),
    ("claimed rate, clip 1.25 times as fast", "control_rate_up_shift_rate", 1, ".2f"),
    ("claimed energy, clip 6 dB louder", "control_energy_up_shift_energy", 1, ".2f"),
    ("faithfulness", "faithful_gap", 1, ".2f"),
)
"""The same of an evaluation with moved clips."""
MOVES = ("eval.controls=[pitch_up, rate_up, energy_up]", "eval.control_samples=4", "eval.samples=4")

HEAD = """# The demo with several seeds

Held-out test speakers, greedy answers, before and after RL. The seed changes the order of the data,
the cold start and the sampling; checkpoint and corpus stay. Facts and coverage are the measured
judge's, 1 to 5. Change: its mean, and the 95 % interval by Student's t over the seeds.

    make seeds SEEDS="{}"

"""

HEARD = """
Does it hear? By how many levels (low, normal, high) a claim moves with its clip, over those of 540
test clips whose move was clean, four samples each; *faithfulness*: how much likelier two samples of
one clip have the same answer if they have the same claims ([evaluation](evaluation.md#grounding)).

"""


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


def hearing(seed: int, policy: Path, name: str) -> Path:
    """Ask a policy about moved clips, unless it is done; return the evaluation's folder.

    Raises:
        SystemExit: the evaluation failed.
    """
    folder = RUNS / "demo_seeds" / str(seed) / name
    given = (f"seed={seed}", f"model.path={policy}", *MOVES)
    Stage(f"moved clips, {name}", "evaluate", DEMO.config, folder, given).run()
    return folder


def seeds_page(seeds: Sequence[int], runs: Sequence[Path], heard: Sequence[Pair]) -> str:
    """Return the page with every seed's test results and the mean changes.

    Args:
        seeds: In the order of the others.
        runs: RL runs.
        heard: Metrics of the evaluations with moved clips, before and after.
    """
    tests = [before_and_after(run) for run in runs]
    for test in chain(*tests):
        test["lowest_recall"] = min(test[key] for key in test if key.startswith("recall_"))
    gates = [str(gate_step(run) or "closed") for run in runs]
    lines = _table(COLUMNS, seeds, tests, ("the gate opened after step", gates))
    nulls = "\n".join(f"    {line}" for line in describe_nulls(runs[0]))
    figure = f"![accuracy over the steps of all seeds]({FIGURE.name})"
    page = HEAD.format(" ".join(map(str, seeds))) + "\n".join([*lines, "", nulls, "", figure, ""])
    return page + HEARD + "\n".join(_table(HEARING, seeds, heard)) + "\n"


def _table(
    columns: Sequence[Column],
    seeds: Sequence[int],
    pairs: Sequence[Pair],
    more: tuple[str, Sequence[str]] | None = None,
) -> list[str]:
    """Return lines: a row a seed, before and after, then the mean change with its interval."""
    heads, ends = [column[0] for column in columns], [[] for _ in seeds]
    if more:
        heads, ends = [*heads, more[0]], [[cell] for cell in more[1]]
    lines = [f"| seed | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
    for seed, (before, after), end in zip(seeds, pairs, ends, strict=True):
        cells = [f"{k * before[key]:{f}} → {k * after[key]:{f}}" for _, key, k, f in columns]
        lines.append(f"| {seed} | {' | '.join([*cells, *end])} |")
    cells = [
        _change([k * (b[key] - a[key]) for a, b in pairs], f"+{f}") for _, key, k, f in columns
    ]
    return [*lines, f"| change | {' | '.join([*cells, *([''] if more else [])])} |"]


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
    heard: list[Pair] = []
    for seed, run in zip(seeds, runs, strict=True):
        policies = {"before": run.parent / "sft/export", "after": run / "export"}
        folders = [hearing(seed, policy, name) for name, policy in policies.items()]
        heard.append([before_and_after(folder)[-1] for folder in folders])
    page = seeds_page(seeds, runs, heard)
    PAGE.write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or [0, 1, 2])
