"""The figure of a corpus: labels, lengths, speakers, and how the labels sound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from annotate.inspect.stats import MEASURES, Summary

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
"""One a split; told apart by colour-blind readers as well (Okabe and Ito)."""

MAX_NAMED = 25
"""Speakers up to which each bar has its name."""

NUM_BINS = 40
"""Bars of the histogram of durations."""

LEAST_MISSING = 0.01
"""Share of a label's clips without a measurement from which it is written beside the box."""


def draw_corpus(title: str, rows: Summary, labels: Sequence[str], target: Path) -> None:
    """Draw a corpus as PNG or SVG, its labels in this order from the top."""
    height = 2 * max(2.6, 0.9 + 0.3 * len(labels)) + 1.2
    layout = ConstrainedLayoutEngine(hspace=0.06, wspace=0.03)
    figure = Figure(figsize=(14, height), layout=layout)
    top, bottom = figure.subplots(2, 3)
    colors = dict(zip(rows.splits_in, cycle(COLORS), strict=False))
    _draw_labels(top[0], rows, labels, colors)
    _draw_durations(top[1], rows, colors)
    _draw_speakers(top[2], rows, colors)
    panels = {"Pitch": "f0_median_hz", "Loudness": "energy_dbfs", "Rate": rows.rate_key}
    for axes, (what, key) in zip(bottom, panels.items(), strict=True):
        _draw_boxes(axes, f"{what} by label", key, rows, labels)
    handles, names = top[0].get_legend_handles_labels()
    figure.legend(
        handles,
        [f"split {name}" for name in names],
        loc="outside upper right",
        ncols=len(names),
        frameon=False,
    )
    figure.suptitle(title, x=0.01, ha="left", fontsize="large")
    figure.supxlabel(
        "Boxes hold the middle half of a label's clips, whiskers 5 to 95 %; "
        "the coloured line is the median.",
        fontsize="medium",
    )
    figure.savefig(target, dpi=130)


def _draw_labels(
    axes: Axes, rows: Summary, labels: Sequence[str], colors: Mapping[str, str]
) -> None:
    counts = rows.splits.counted(rows.labels)
    for place, total in enumerate(_stack_bars(axes, counts, labels, colors, height=0.8)):
        axes.annotate(
            str(total), (total, place), xytext=(3, 0), textcoords="offset points", va="center"
        )
    axes.margins(x=0.12)
    _label_rows(axes, labels)
    _finish(axes, "Clips of each label", "clips")


def _stack_bars(
    axes: Axes,
    counts: Mapping[Any, int],
    names: Sequence[str],
    colors: Mapping[str, str],
    *,
    height: float,
) -> list[int]:
    """Draw a bar a name, of one part a split; return the lengths of the bars."""
    left = [0] * len(names)
    for split, color in colors.items():
        widths = [counts[split, name] for name in names]
        axes.barh(range(len(names)), widths, height, left, color=color, label=split)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    return left


def _draw_durations(axes: Axes, rows: Summary, colors: Mapping[str, str]) -> None:
    is_readable = np.isfinite(rows.durations_s)
    lengths = [rows.durations_s[rows.splits.are(split) & is_readable] for split in colors]
    if is_readable.any():
        axes.hist(lengths, bins=NUM_BINS, stacked=True, color=list(colors.values()))
    _finish(axes, "How long the clips are", "duration (s)", "clips")


def _draw_speakers(axes: Axes, rows: Summary, colors: Mapping[str, str]) -> None:
    counts = rows.clips_per_speaker()
    totals: Counter[str] = Counter()
    for (_, speaker), number in counts.items():
        totals[speaker] += number
    ranked = [speaker for speaker, _ in totals.most_common()]
    _stack_bars(axes, counts, ranked, colors, height=0.85)
    if not ranked:
        _say(axes, "no row names a speaker")
    elif len(ranked) <= MAX_NAMED:
        _label_rows(axes, ranked, fontsize=7)
    else:
        axes.set_yticks([])
        axes.invert_yaxis()
        axes.set_ylabel(f"{len(ranked)} speakers, a bar each")
    _finish(axes, "Clips of each speaker", "clips")


def _draw_boxes(axes: Axes, title: str, key: str, rows: Summary, labels: Sequence[str]) -> None:
    values = [rows.of_label(key, label) for label in labels]
    if any(map(len, values)):
        axes.boxplot(
            values,
            orientation="horizontal",
            positions=range(len(labels)),
            widths=0.6,
            whis=(5, 95),  # codespell:ignore whis
            showfliers=False,
            medianprops={"color": "#d55e00", "linewidth": 2},
        )
        axes.margins(x=0.25)
        for place, label in enumerate(labels):
            number = int(rows.labels.are(label).sum())
            missing = 1 - len(values[place]) / number if number else 0.0
            if missing >= LEAST_MISSING:
                axes.annotate(
                    f"{missing:.0%} not measured",
                    (0.99, place),
                    xycoords=("axes fraction", "data"),
                    ha="right",
                    va="center",
                    fontsize="small",
                    color="0.35",
                )
        _label_rows(axes, labels)
    else:
        _say(axes, "not measured: run launch/annotate.py")
    _finish(axes, title, MEASURES[key])


def _label_rows(axes: Axes, names: Sequence[str], fontsize: int = 10) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=fontsize)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def _finish(axes: Axes, title: str, x_name: str, y_name: str = "") -> None:
    axes.set_title(title, loc="left", fontsize="medium")
    axes.set_xlabel(x_name)
    if y_name:
        axes.set_ylabel(y_name)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
