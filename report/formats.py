"""Numbers and cells as the pages show them: the filters of their templates."""

from __future__ import annotations


def percent(value: float | None, missing: str = "") -> str:
    """Return a share in percent."""
    return missing if value is None else f"{100 * value:.1f} %"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many decimals; empty if there is none."""
    return "" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign; empty if there is none."""
    return "" if value is None else f"{value:+.{digits}f}"


def measured(value: float | None, *, sign: bool = False) -> str:
    """Return a number of any size: three decimals, one from 10 on; empty if there is none."""
    digits = 3 if value is None or abs(value) < 10 else 1
    return (signed if sign else number)(value, digits)


def interval(low: float, high: float) -> str:
    """Return an interval in brackets."""
    return f"[{measured(low)}, {measured(high)}]"


def cell(text: str) -> str:
    """Return a text of ours as the cell of a Markdown table, which it cannot break."""
    return " ".join(text.split()).replace("|", r"\|")
