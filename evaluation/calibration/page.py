"""The calibration of judges as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.calibration.text_alone import TEXT_ALONE
from evaluation.formats import render

TEMPLATE = Path(__file__).with_name("page.md.j2")


def calibration_page(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the report.

    Args:
        summary: Name of a judge -> its numbers, as `evaluation.calibration.summary` gives them.
    """
    first = next(iter(summary.values()))
    return render(
        TEMPLATE,
        {"judges": summary, "dimensions": first["dimensions"], "text_alone": TEXT_ALONE},
    )
