"""Tables of sweeps in docs/ablation.md, made from the results that are kept in docs/results.

python -m report.docs_tables

A block begins with `<!-- sweep: NAME -->` and ends with `<!-- end of sweep -->`; NAME is a folder
with the results.csv and results.json that the sweep has left in its own.
"""

from __future__ import annotations

import re
from pathlib import Path

from report.render import render
from report.sweep_results import read_results, result_blocks
from trainer.progress import duration

PAGE = Path(__file__).parents[1] / "docs" / "ablation.md"
RESULTS = PAGE.parent / "results"

BLOCK = re.compile(r"(<!-- sweep: (\w+) -->\n).*?(<!-- end of sweep -->)", re.DOTALL)


def with_tables(page: str, results: Path = RESULTS) -> str:
    """Return a page whose blocks have the tables of their sweeps."""
    return BLOCK.sub(lambda match: match[1] + "\n" + _tables(results / match[2]) + match[3], page)


def _tables(folder: Path) -> str:
    results = read_results(folder)
    times = [run.wall_s for run in results.runs if run.wall_s is not None]
    cost = f"Wall time of the {len(times)} runs together: {duration(sum(times))}."
    blocks = [*result_blocks(results), {"text": cost, "strong": False}]
    return render("sweep_results.md.j2", name="", depth=4, blocks=blocks)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(PAGE)
