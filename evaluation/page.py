"""The page of an evaluation: its summary as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.schema import CONTROL_NAMES
from evaluation.formats import render
from evaluation.summary import NUMBERS

TEMPLATE = Path(__file__).with_name("page.md.j2")


def evaluation_page(summary: Mapping[str, Any]) -> str:
    """Return the report as Markdown.

    Args:
        summary: Of `evaluation.summary.summary_of_sets`, with `model`, `mode`, `judges`
            (term -> who judges) and `latency` (with `device`, or None).
    """
    return render(TEMPLATE, {**summary, "numbers": NUMBERS, "controls": CONTROL_NAMES})
