"""What the demo shows: accuracy before and after RL, and the learning curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt


def read_rows(run: Path) -> list[dict[str, Any]]:
    """Return the rows of a run's metrics.jsonl, in the order of their steps."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sorted((json.loads(line) for line in lines), key=lambda row: row["step"])


def before_and_after(run: Path, name: str) -> tuple[float, float]:
    """Return a test metric before the first and after the last step.

    Args:
        run: folder of a finished RL run with `eval.test_split`.
        name: such as `accuracy` or `ua`.
    """
    rows = read_rows(run)
    return rows[0][f"test_before/{name}"], rows[-1][f"test_after/{name}"]


def describe_run(run: Path) -> str:
    """Return the demo's result in a few lines."""
    lines = ["held-out test speakers, greedy answers:"]
    for name, label in (("accuracy", "accuracy"), ("ua", "UA"), ("format_frac", "well-formed")):
        before, after = before_and_after(run, name)
        lines.append(f"  {label:12} before RL {before:6.1%}   after RL {after:6.1%}")
    return "\n".join(lines)


def draw_curve(runs: Sequence[Path], target: Path) -> None:
    """Draw accuracy over the steps of RL runs: rollouts, evaluation split and test split.

    Args:
        runs: finished runs; several are drawn thin, with their mean.
        target: PNG or SVG file.
    """
    figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    for index, run in enumerate(runs):
        rows = read_rows(run)
        series = {
            "training rollouts (sampled)": ("rollout/accuracy", "tab:gray", "-"),
            "evaluation speakers (greedy)": ("eval/accuracy", "tab:blue", "o-"),
        }
        for label, (key, colour, style) in series.items():
            points = [(row["step"], row[key]) for row in rows if key in row]
            axes.plot(
                *zip(*points, strict=True),
                style,
                color=colour,
                markersize=3.5,
                linewidth=1.2,
                alpha=1 if len(runs) == 1 else 0.55,
                label=label if index == 0 else None,
            )
        before, after = before_and_after(run, "accuracy")
        axes.plot(
            [rows[0]["step"], rows[-1]["step"]],
            [before, after],
            "D",
            color="tab:red",
            markersize=5,
            label="test speakers (greedy), before and after" if index == 0 else None,
        )
    axes.axhline(1 / 9, color="black", linewidth=0.8, linestyle=":", label="chance (1 of 9)")
    axes.set(xlabel="RL step", ylabel="accuracy", ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(target, dpi=150)
    plt.close(figure)
