"""The curves of a report, each as an SVG text."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: small, and can be searched
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Row = Mapping[str, Any]

TIMES = ("rollout", "reward", "update", "sync", "eval", "checkpoint", "data")
"""Parts of a step's time, `time/NAME_s`."""


def figures(rows: Sequence[Row]) -> dict[str, str]:
    """Return title -> SVG of everything that the run has rows for.

    Args:
        rows: Of metrics.jsonl, by step.
    """
    keys = {key for row in rows for key in row}
    terms = sorted(key[7:-5] for key in keys if key.startswith("reward/") and key[-5:] == "_mean")
    judged = [name for name in terms if f"schedule/{name}" in keys]
    plans: dict[str, dict[str, str]] = {
        "Accuracy": {"rollout/accuracy": "training rollouts", "eval/accuracy": "evaluation"},
        "Reward terms": {f"reward/{name}_mean": name for name in terms},
        "Weights, trust and gate": {
            **{f"reward/{name}_weight": f"weight of {name}" for name in judged},
            "trust/mean": "trust, mean",
            "trust/below_one_frac": "groups with trust below 1",
            **{key: "gate open" for key in sorted(keys) if key.endswith("_open")},
        },
        "Judge, right and wrong answers": {
            key: key.removeprefix("judge/").replace("_mean", "").replace("_", " ")
            for key in sorted(keys)
            if key.endswith(("_right_mean", "_wrong_mean"))
        },
        "KL and entropy": {"policy/kl": "KL to the start", "policy/entropy": "entropy"},
        "Gap of engine and learner": {
            "policy/logprob_gap": "mean",
            "policy/logprob_gap_max": "max",
        },
        "Length of completions": {
            "rollout/completion_tokens_mean": "mean",
            "rollout/completion_tokens_max": "longest",
        },
        "Flat groups": {"advantage/flat_frac": "share"},
        "Loss of supervised training": {"sft/nll": "nats per token"},
    }
    found = {title: _curves(rows, series) for title, series in plans.items()}
    found["Time of a step"] = _stack(rows)
    return {title: svg for title, svg in found.items() if svg}


def _curves(rows: Sequence[Row], series: Mapping[str, str]) -> str:
    """Draw some metrics over the steps; empty if the run has none of them."""
    shown = {key: label for key, label in series.items() if any(key in row for row in rows)}
    if not shown:
        return ""
    figure, axes = plt.subplots(figsize=(5.4, 2.9), layout="constrained")
    for key, label in shown.items():
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        style = "o-" if len(points) < len(rows) / 2 else "-"
        axes.plot(*zip(*points, strict=True), style, markersize=3, linewidth=1.2, label=label)
    _finish(axes)
    return _svg(figure)


def _stack(rows: Sequence[Row]) -> str:
    """Draw where the time of each step went; empty without step times."""
    timed = [row for row in rows if "time/step_s" in row]
    parts = [name for name in TIMES if any(f"time/{name}_s" in row for row in timed)]
    if not timed or not parts:
        return ""
    figure, axes = plt.subplots(figsize=(5.4, 2.9), layout="constrained")
    values = [[row.get(f"time/{name}_s") or 0.0 for row in timed] for name in parts]
    axes.stackplot([row["step"] for row in timed], *values, labels=parts, linewidth=0)
    axes.set_ylabel("s")
    _finish(axes)
    return _svg(figure)


def confusion_figure(choices: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix: shares of each gold label's clips, counts written in.

    Args:
        choices: The K labels.
        confusion: [K, K + 1] counts; the last column is no answer or another one.
    """
    figure, axes = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(confusion):
        for x, count in enumerate(row):
            if count:
                colour = "white" if shares[y][x] > 0.5 else "black"
                axes.text(x, y, str(count), ha="center", va="center", fontsize=8, color=colour)
    names = [*choices, "none"]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(choices)), choices, fontsize=8)
    axes.set(xlabel="answer", ylabel="gold")
    return _svg(figure)


def _finish(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, frameon=False)


def _svg(figure: Any) -> str:
    buffer = io.StringIO()
    # Without a date, so that the same run gives the same page.
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]
