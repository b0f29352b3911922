"""How pages show numbers and texts, and pages from templates that use it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

MISSING = "-"
"""Of what was not measured."""


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with so many digits after the point."""
    return MISSING if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """Return a difference with its sign."""
    return MISSING if value is None else f"{value:+.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return MISSING if value is None else f"{100 * value:.{digits}f} %"


def interval(ends: Sequence[float] | None, digits: int = 2, scale: float = 1) -> str:
    """Return ` [low, high]`, both times the scale, with the blank before it; nothing for None."""
    if ends is None:
        return ""
    low, high = (number(scale * end, digits) for end in ends)
    return f" [{low}, {high}]"


def cell(text: str) -> str:
    """Return a text for a table or a line of Markdown: one line, no markup of its own."""
    return re.sub(r"([\\|`*<\[#])", r"\\\1", " ".join(text.split()))


def escape(text: str) -> str:
    """Return a text as Markdown that shows it as it is, on one line."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", plain)


def code_span(text: str) -> str:
    """Return a text as a code span, on one line; not for cells of a table."""
    plain = " ".join(text.split())
    ticks = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{ticks}{plain}{ticks}" if len(ticks) == 1 else f"{ticks} {plain} {ticks}"


def indented(text: str) -> str:
    """Return a text as an indented code block, which no text can end."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def bullets(lines: Sequence[str]) -> str:
    """Return Markdown lines as a list."""
    return "\n".join(f"- {line}" for line in lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table of Markdown cells; all columns but the first align right."""
    ruler = "|---|" + "--:|" * (len(heads) - 1)
    return [f"| {' | '.join(heads)} |", ruler, *(f"| {' | '.join(row)} |" for row in rows)]


def render(template: Path, values: Mapping[str, Any]) -> str:
    """Return a Markdown page.

    Args:
        template: Jinja file. A tag on a line of its own leaves no line behind; a name or key that
            is not there is an error. Texts that are not ours go through `cell`.
        values: Name -> value.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for function in (number, signed, percent, interval, cell):
        environment.filters[function.__name__] = function
    return environment.get_template(template.name).render(values)
