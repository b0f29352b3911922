"""The figure of a calibration: judged against known scores, and the calibration curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rewards.judges.base import HIGHEST, LOWEST

JITTER = 0.12
"""Width over which equal known scores are spread out, in points."""


def calibration_figure(
    target: Path, rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> None:
    """Draw one panel per dimension.

    Args:
        target: PNG or SVG file.
        rows: Of `scores.jsonl`.
        summary: Of the same judge.
    """
    held = [row for row in rows if row["kind"] == "held_out" and row["scores"]]
    names = list(summary["dimensions"])
    figure = Figure(figsize=(3.1 * len(names), 3.3), layout="constrained")
    all_axes = figure.subplots(1, len(names), sharex=True, sharey=True, squeeze=False)[0]
    rng = np.random.default_rng(0)
    ends = (LOWEST - 0.2, HIGHEST + 0.2)
    for axes, name in zip(all_axes, names, strict=True):
        numbers = summary["dimensions"][name]
        gold = np.array([row["gold"][name] for row in held])
        judged = [row["scores"][name] for row in held]
        spread_out = gold + rng.uniform(-JITTER, JITTER, len(gold))
        axes.plot(judged, spread_out, "o", color="0.6", markersize=2.2, alpha=0.6)
        axes.plot(ends, ends, color="0.3", linewidth=0.8, linestyle="--")
        curve = numbers["curve"]
        axes.plot(
            [one["judged"] for one in curve],
            [one["gold"] for one in curve],
            "D-",
            color="tab:blue",
            markersize=4,
            linewidth=1.4,
        )
        rank = "undefined" if numbers["spearman"] is None else f"{numbers['spearman']:.2f}"
        axes.set_title(f"{name}\nSpearman {rank}", fontsize="small")
        axes.set_xlabel("judged score")
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    all_axes[0].set_ylabel("known score")
    figure.suptitle("texts (grey) and calibration curve (blue)", fontsize="small")
    figure.savefig(target, dpi=130)
