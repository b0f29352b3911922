"""Markdown that shows names and texts as they are, whatever they hold."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence


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
