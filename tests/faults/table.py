"""Runs the fault tests and writes docs/reliability.md: `python -m tests.faults.table`.

With `--collect-only` nothing runs, and the page has no seconds.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest

from data.files import write_atomically

FAULTS = Path(__file__).parent
PAGE = FAULTS.parents[1] / "docs" / "reliability.md"
START, END = "<!-- faults: written by tests/faults/table.py -->", "<!-- end of faults -->"


class Fault(NamedTuple):
    """One row of the page."""

    topic: str
    """Name of its file without `test_` and `.py`."""
    name: str
    happens: str
    lost: str


class Collector:
    """A pytest plugin that gathers the `fault` marks, and what the tests saw."""

    def __init__(self) -> None:
        self.faults: dict[str, Fault] = {}
        """Test id -> its fault."""
        self.noticed_s: dict[str, float] = {}
        """Test id -> seconds, where the test measures them."""
        self.passed: set[str] = set()

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Read the marks of all tests that were collected."""
        for item in items:
            for mark in item.iter_markers("fault"):
                topic = item.path.stem.removeprefix("test_")
                self.faults[item.nodeid] = Fault(topic, *mark.args, **mark.kwargs)
                break

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what passed, and the seconds that `noticed` was given."""
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
            for name, value in report.user_properties:
                if name == "noticed_s":
                    self.noticed_s[report.nodeid] = value


def collect_faults(*arguments: str) -> Collector:
    """Run pytest over the fault tests with further arguments, such as `--collect-only`."""
    collector = Collector()
    pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", str(FAULTS), *arguments], [collector])
    return collector


def tables(collector: Collector) -> str:
    """Return a table per topic."""
    rows: dict[str, list[str]] = defaultdict(list)
    for test, fault in collector.faults.items():
        seconds = collector.noticed_s.get(test)
        noticed = "" if seconds is None else f"{seconds:.1f} s"
        rows[fault.topic].append(f"| {fault.name} | {fault.happens} | {noticed} | {fault.lost} |")
    parts = [f"{len(set(collector.faults.values()))} faults.\n"]
    for topic, lines in rows.items():
        title = topic.replace("_", " ").capitalize()
        head = "| fault | what happens | noticed after | what is lost |\n|---|---|---|---|"
        parts.append(f"### {title}\n\n{head}\n" + "\n".join(dict.fromkeys(lines)) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Run all, and replace the tables of the page if all passed."""
    collector = collect_faults(*sys.argv[1:])
    failed = [] if "--collect-only" in sys.argv else collector.faults.keys() - collector.passed
    if failed:
        print("the page stays as it is; not passed:", *sorted(failed), sep="\n  ")
        return 1
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    _, after = rest.split(END)
    write_atomically(PAGE, f"{before}{START}\n\n{tables(collector)}\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
