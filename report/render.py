"""The one way from a template to a page about runs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from evaluation.formats import environment
from report.formats import number, percent, signed, without_bars

HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    pages = environment(HERE)
    pages.filters |= {"number": number, "percent": percent, "signed": signed}
    pages.filters["without_bars"] = without_bars
    return pages


def render(template: str, **facts: Any) -> str:
    """Return a page.

    Args:
        template: File in this folder. Facts are escaped in `.html`; in Markdown the template says
            where, with `plain`, `code_span`, `indented`, `cell` or `without_bars`.
        facts: What it names.
    """
    return _environment().get_template(template).render(**facts)
