"""Rows of benchmarks/at_size.py: printed and written as they come, under a time budget per part."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

Row = Mapping[str, Any]


class Report:
    """Prints each row of a part and appends it to a file, so that a cut-off run leaves results.

    Args:
        out: JSON Lines file that rows are appended to; None = printed only.
        budget_s: seconds of one part; what has not begun by then is left out.
    """

    def __init__(self, out: Path | None, budget_s: float) -> None:
        self._out = out
        self._budget_s = budget_s
        self._part = ""
        self._deadline = 0.0
        self._columns: list[str] = []
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)

    def start(self, part: str) -> None:
        """Begin a part: its time runs from here."""
        self._part = part
        self._deadline = time.monotonic() + self._budget_s
        self._columns = []
        print(f"\n## {part}\n", flush=True)

    @property
    def seconds_left(self) -> float:
        """Seconds of the part's budget that are left; below 0 once it is spent."""
        return self._deadline - time.monotonic()

    def measure(
        self,
        labels: Row,
        run: Callable[[], dict[str, float]],
        more: Callable[[dict[str, float]], Row] | None = None,
        before: Row | None = None,
    ) -> dict[str, float] | None:
        """Run one measurement and report it; one that does not fit is a row that says so.

        Args:
            more: further figures from these.
            before: figures that stand before the measurement.

        Returns:
            What `run` returned; None if the time was spent or the memory did not suffice.
        """
        if self.seconds_left <= 0:
            self.row({**labels, "left_out": "no time"})
            return None
        try:
            measured = run()
            extra = more(measured) if more else {}
        except torch.OutOfMemoryError as error:
            self.row({**labels, **(before or {}), "left_out": f"out of memory: {error}"[:100]})
            return None
        self.row({**labels, **(before or {}), **measured, **extra})
        return measured

    def row(self, row: Row) -> None:
        """Print a row, with a header where its columns differ from those before, and record it."""
        if list(row) != self._columns:
            self._columns = list(row)
            print(f"\n| {' | '.join(row)} |\n|{'---|' * len(row)}")
        print(f"| {' | '.join(_cell(value) for value in row.values())} |", flush=True)
        self.record(row)

    def record(self, row: Row) -> None:
        """Append a row to the file without printing it."""
        if self._out is not None:
            with self._out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"part": self._part, **row}) + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
