"""Numbers of pages about runs: those of `evaluation.formats`, and nothing where one is missing."""

from __future__ import annotations

from functools import partial

from evaluation import formats

_FORMULA = tuple("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")
"""What formulas begin with, full-width forms included; an apostrophe hides what follows it."""

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


def csv_text(text: str) -> str:
    """Return a text as a CSV cell that no spreadsheet takes for a formula; numbers need none.

    What begins like one, or with an apostrophe, gets an apostrophe in front; see `from_csv_text`.
    """
    return f"'{text}" if text[:1] in _FORMULA or text.lstrip()[:1] in _FORMULA else text


def from_csv_text(cell: str) -> str:
    """Return the text that `csv_text` was given."""
    begins = cell[1:2] in _FORMULA or cell[1:].lstrip()[:1] in _FORMULA
    return cell[1:] if cell[:1] == "'" and begins else cell


def without_bars(text: str) -> str:
    """Return a text of ours as the cell of a Markdown table: its brackets and stars stay markup."""
    return " ".join(text.split()).replace("|", r"\|")
