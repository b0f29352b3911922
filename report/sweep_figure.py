"""The figure of a sweep: every seed as a point, mean and interval of every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

Row = tuple[Sequence[float], float | None, float | None]
"""Values of the seeds, their mean, half the width of its interval."""


def draw_results(title: str, panels: Sequence[tuple[str, Mapping[str, Row]]], target: Path) -> None:
    """Draw one panel per metric, with the trials below each other in the order of the tables.

    Args:
        title: over the figure.
        panels: name of the metric, and trial -> `Row`; all have the same trials.
        target: PNG or SVG file.
    """
    labels = list(panels[0][1])
    size = (2.2 + 2.7 * len(panels), 1.3 + 0.36 * len(labels))
    figure = Figure(figsize=size, layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (name, rows) in zip(all_axes, panels, strict=True):
        for place, (values, mean, half_width) in enumerate(rows.values()):
            axes.plot(values, [place + 0.2] * len(values), "o", color="0.55", markersize=3.5)
            if mean is not None:
                axes.errorbar(
                    [mean],
                    [place],
                    xerr=None if half_width is None else [half_width],
                    fmt="D",
                    color="tab:blue",
                    markersize=5,
                    capsize=3,
                    linewidth=1.4,
                )
        axes.set_xlabel(name)
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.locator_params(axis="x", nbins=5)
    all_axes[0].set_yticks(range(len(labels)), labels)
    all_axes[0].set_ylim(len(labels) - 0.4, -0.6)
    figure.suptitle(
        f"{title}: seeds (grey), mean and 95 % interval over seeds (blue)", fontsize="medium"
    )
    figure.savefig(target, dpi=150)
