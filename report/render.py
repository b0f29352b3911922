"""The one way from a template to a page: HTML escaped, Markdown not, every name defined."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evaluation.markdown import code_span, escape, indented
from report import formats

HERE = Path(__file__).parent


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=lambda name: name is not None and name.endswith(".html"),
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shown = (formats.percent, formats.number, formats.signed, formats.interval, formats.cell)
    for function in (*shown, code_span, indented):
        environment.filters[function.__name__] = function
    environment.filters["plain"] = escape  # jinja has an `escape` of its own, for HTML
    return environment


def render(template: str, **facts: Any) -> str:
    """Return a page.

    Args:
        template: File in this folder. Facts are escaped in `.html`; in Markdown the template says
            where, with `plain`, `code_span`, `indented` or `cell`.
        facts: What it names.
    """
    return _environment().get_template(template).render(**facts)
