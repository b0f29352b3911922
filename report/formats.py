"""Numbers of pages about runs: those of `evaluation.formats`, and nothing where one is missing."""

from __future__ import annotations

from functools import partial

from evaluation import formats

number = partial(formats.number, missing="")
signed = partial(formats.signed, missing="")
percent = partial(formats.percent, missing="")


def measured(value: float | None, *, sign: bool = False) -> str:
    """Return a number of any size: three decimals, one from 10 on; empty if there is none."""
    digits = 3 if value is None or abs(value) < 10 else 1
    return (signed if sign else number)(value, digits)


def interval(low: float, high: float) -> str:
    """Return an interval in brackets."""
    return f"[{measured(low)}, {measured(high)}]"


def without_bars(text: str) -> str:
    """Return a text of ours as the cell of a Markdown table: its brackets and stars stay markup."""
    return " ".join(text.split()).replace("|", r"\|")
