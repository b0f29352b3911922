"""What pages show, character by character."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from evaluation.formats import cell, interval, number, percent, render, signed


def test_numbers_and_what_was_not_measured():
    assert [number(1 / 3), number(12.5, 1), number(7, 0)] == ["0.33", "12.5", "7"]
    assert [signed(0.5), signed(-0.25, 1), signed(0.0)] == ["+0.50", "-0.2", "+0.00"]
    assert [percent(0.125), percent(1.0, 0)] == ["12.5 %", "100 %"]
    assert number(None) == signed(None) == percent(None) == "-"
    assert interval((0.123, 0.456)) == " [0.12, 0.46]"
    assert interval((0.123, 0.456), 1, 100) == " [12.3, 45.6]"
    assert interval(None) == ""


def test_a_name_is_no_markup():
    assert cell("a|b\n<i> *x*") == r"a\|b \<i> \*x\*"
    assert cell(r"\|[x](y)") == r"\\\|\[x](y)"


def test_a_template_escapes_where_it_says_and_knows_all_its_names(tmp_path: Path):
    template = tmp_path / "page.md.j2"
    template.write_text(
        "{% for name, share in rows.items() %}\n"
        "| {{ name | cell }} | {{ share | percent }} |\n"
        "{% endfor %}\n"
    )
    assert render(template, {"rows": {"a|b\nc": 0.5, "d": None}}) == (
        "| a\\|b c | 50.0 % |\n| d | - |\n"
    )
    with pytest.raises(UndefinedError, match="'rows' is undefined"):
        render(template, {})
