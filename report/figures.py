"""The curves of a report, each as an SVG text."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np

from data.files import Row

matplotlib.use("Agg")
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: small, and can be searched
matplotlib.rcParams["svg.hashsalt"] = "report"  # the same run gives the same page
from markupsafe import Markup
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

TIMES = ("rollout", "reward", "update", "sync", "eval", "checkpoint", "data")
"""Parts of a step's time, `time/NAME_s`."""

MAX_POINTS = 1000
"""Most points of a curve: a page about a long run stays small."""

SIZE_INCHES = (5.4, 2.7)
LEGEND_ROW, LONG_LABEL = 0.2, 20


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture with its words."""

    title: str
    svg: Markup
    """An element whose texts are escaped."""
    help: str
    """How to read it, in a sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a figure of curves shows."""

    title: str
    series: Mapping[str, str | Callable[[str], str]]
    """Pattern of whole metrics -> name in the legend, or what makes it of the pattern's group."""
    help: str
    unit: str = ""
    marked: bool = False
    """Show when a gate opened."""


def _spaced(name: str) -> str:
    return name.replace("_", " ")


PLANS = [
    Plan(
        "Accuracy",
        {
            "rollout/accuracy": "training rollouts",
            "eval/accuracy": "evaluation",
            "eval/ua": "evaluation, UA",
        },
        "Share of right answers: sampled ones in training, greedy ones in the evaluation.",
        marked=True,
    ),
    Plan(
        "Recall by emotion",
        {r"eval/recall_(.+)": _spaced},
        "Evaluation: share of each emotion's clips that were answered right.",
    ),
    Plan(
        "Labels that are answered",
        {r"classes/answered_(.+)": _spaced, "classes/macro_f1": "macro F1"},
        "Sampled answers that say a label / clips that have it, over a window of steps; near 0 it "
        "has been given up, whatever accuracy does.",
        "ratio",
    ),
    Plan(
        "Reward terms",
        {r"reward/(\w+)_mean": str},
        "Mean raw value of each term, before weights and trust.",
        marked=True,
    ),
    Plan(
        "Weights, trust and gate",
        {
            r"reward/(\w+)_weight": "weight of {}".format,
            "trust/mean": "trust, mean",
            "trust/below_one_frac": "groups with trust below 1",
            r"gate/\w+_open": "gate open",
        },
        "How much each term counts; trust is below 1 where the judge prefers wrong answers.",
    ),
    Plan(
        "Judge, right and wrong answers",
        {r"judge/(.+_(?:right|wrong))_mean": _spaced},
        "The judge's opinion of reasoning that led to a right or a wrong answer.",
    ),
    Plan(
        "Loss of supervised training",
        {"sft/nll": "training"},
        "Negative log-likelihood of the reference answers.",
        "nats per token",
    ),
    Plan(
        "Judge against known scores",
        {r"judge_eval/(\w+)_spearman": _spaced},
        "Rank correlation on held-out texts.",
    ),
    Plan(
        "Benchmarks",
        {r"probe/(\w+)_accuracy": _spaced},
        "Share of questions whose right choice is the likeliest one.",
    ),
    Plan(
        "KL and entropy",
        {"policy/kl": "KL to the start", "policy/entropy": "entropy"},
        "How far the policy has moved, and how spread its choices are; entropy near 0 is a "
        "collapse.",
        "nats per token",
    ),
    Plan(
        "Gap of engine and learner",
        {"policy/logprob_gap": "mean", "policy/logprob_gap_max": "largest"},
        "Difference of both log-probabilities of a token; a jump means stale weights.",
        "nats",
    ),
    Plan(
        "Length of completions",
        {"rollout/completion_tokens_mean": "mean", "rollout/completion_tokens_max": "longest"},
        "Steady growth without better answers: a reward may pay for length.",
        "tokens",
    ),
    Plan(
        "Groups and completions without use",
        {
            "advantage/flat_frac": "flat groups",
            "rollout/truncated_frac": "completions cut at the limit",
        },
        "A flat group has equal rewards only and teaches nothing.",
    ),
]


def figures(rows: Sequence[Row]) -> list[Figure]:
    """Return the figures of everything that the run has rows for.

    Args:
        rows: Of metrics.jsonl, by step.
    """
    marks = {
        f"gate of {match[1]} opens": float(step)
        for key, step in sorted(rows[-1].items() if rows else ())
        if (match := re.fullmatch(r"gate/(\w+)_opened_at", key))
    }
    shown = [
        Figure(plan.title, Markup(svg), plan.help)
        for plan in PLANS
        if (svg := _curves(rows, plan, marks if plan.marked else {}))
    ]
    if stack := _stack(rows):
        text = "Where the time of each step went, in seconds; generation and scoring overlap."
        shown.append(Figure("Time of a step", Markup(stack), text))
    return shown


def names_of(rows: Sequence[Row], plan: Plan) -> dict[str, str]:
    """Return metric -> name in the legend of what the rows have of a figure."""
    keys = sorted({key for row in rows for key in row})
    return {
        key: name if isinstance(name, str) else name(match[1])
        for pattern, name in plan.series.items()
        for key in keys
        if (match := re.fullmatch(pattern, key))
    }


def _curves(rows: Sequence[Row], plan: Plan, marks: Mapping[str, float]) -> str:
    """Draw some metrics over the steps; empty if the run has none of them."""
    shown = names_of(rows, plan)
    if not shown:
        return ""
    figure, axes = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    for index, (key, label) in enumerate(shown.items()):
        points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        few = len(points) < len(rows) / 2 or len(points) == 1
        axes.plot(
            *zip(*thinned(points), strict=True),
            marker="o" if few else "",
            color=f"C{index % 10}",
            linestyle=("-", "--", ":")[index // 5 % 3],  # not told apart by colour alone
            markersize=3.5,
            linewidth=1.3,
            label=label,
        )
    for label, step in marks.items():
        axes.axvline(step, color="#777777", linestyle="--", linewidth=0.9, label=label)
    axes.set_ylabel(plan.unit)
    _finish(figure, axes, rows)
    return svg_of(figure, plan.title)


def thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return at most MAX_POINTS of some points, by step.

    Of each of equally many points in a row, the lowest and the highest stay: no spike is lost.
    """
    if len(points) <= MAX_POINTS:
        return points
    parts = np.array_split(np.arange(len(points)), MAX_POINTS // 2)
    kept = {int(end(part, key=lambda i: points[i][1])) for part in parts for end in (min, max)}
    return [points[index] for index in sorted(kept)]


def _stack(rows: Sequence[Row]) -> str:
    """Draw where the time of each step went; empty without step times."""
    timed = [row for row in rows if "time/step_s" in row]
    timed = timed[:: -(-len(timed) // MAX_POINTS) or 1]
    parts = [name for name in TIMES if any(f"time/{name}_s" in row for row in timed)]
    if not timed or not parts:
        return ""
    figure, axes = plt.subplots(figsize=SIZE_INCHES, layout="constrained")
    values = [[row.get(f"time/{name}_s") or 0.0 for row in timed] for name in parts]
    axes.stackplot([row["step"] for row in timed], *values, labels=parts, linewidth=0)
    axes.set_ylabel("seconds")
    _finish(figure, axes, timed)
    return svg_of(figure, "Time of a step")


def confusion_figure(choices: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix: shares of each gold label's clips, counts written in.

    Args:
        choices: The K labels.
        confusion: [K, K + 1] counts; the last column is no answer or another one.
    """
    size = max(3.0, 0.46 * len(choices))
    figure, axes = plt.subplots(figsize=(size + 2.2, size + 0.8), layout="constrained")
    shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, row in enumerate(confusion):
        for x, count in enumerate(row):
            if count:
                colour = "white" if shares[y][x] > 0.5 else "black"
                axes.text(x, y, str(count), ha="center", va="center", fontsize=9, color=colour)
    names = [*choices, "(none)"]
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=9)
    axes.set_yticks(range(len(choices)), choices, fontsize=9)
    axes.set(xlabel="answer", ylabel="gold label")
    return svg_of(figure, "Confusion matrix")


def trial_figure(curves: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """Draw one curve per trial.

    Args:
        curves: Trial -> (step, value), by step.
        title: For those who cannot see it.
    """
    figure, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), linewidth=1.3, label=name)
    axes.set_ylabel(title, fontsize=9)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    _legend_below(figure, axes)
    return svg_of(figure, title)


def _finish(figure: Any, axes: Axes, rows: Sequence[Row]) -> None:
    axes.set_xlabel("step")
    axes.set_xlim(rows[0]["step"], max(rows[-1]["step"], rows[0]["step"] + 1))
    axes.tick_params(labelsize=8.5)
    axes.grid(alpha=0.3)
    _legend_below(figure, axes)


def _legend_below(figure: Any, axes: Axes) -> None:
    """Put the legend under the axes, where it hides no curve, and make room for it."""
    labels = axes.get_legend_handles_labels()[1]
    columns = min(len(labels), 3 if max(map(len, labels)) <= LONG_LABEL else 2)
    num_rows = math.ceil(len(labels) / columns)
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + LEGEND_ROW * num_rows)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=8.5, frameon=False)


def svg_of(figure: Any, title: str) -> str:
    """Return a figure as an SVG element with a name, and close it."""
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Several figures share the page, and these names are nowhere referred to.
    text = re.sub(r' id="[\w.]+_\d+"', "", text)
    label = html.escape(title, quote=True)
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
