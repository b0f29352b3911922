"""The page of an evaluation: its summary as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from configs.schema import CONTROL_NAMES
from evaluation.formats import render
from evaluation.statistics import mean_share_interval
from evaluation.summary import NUMBERS

TEMPLATE = Path(__file__).with_name("page.md.j2")


def evaluation_page(summary: Mapping[str, Any]) -> str:
    """Return the report as Markdown.

    Args:
        summary: Of `evaluation.summary.summary_of_sets`, with `model`, `mode`, `judges`
            (term -> who judges) and `latency` (with `device`, or None).
    """
    words = {"numbers": NUMBERS, "controls": CONTROL_NAMES, "wilson": _wilson}
    return render(TEMPLATE, {**summary, **words})


def _wilson(share: float, num: float) -> Mapping[str, float]:
    """Return the interval of a share of `num` examples."""
    return asdict(mean_share_interval([(round(share * num), round(num))]))
