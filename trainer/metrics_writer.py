"""The files that a step's metrics and samples go to."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from data.files import append_row, write_atomically
from trainer.run_folder import RunFolder
from trainer.trackers.sink import Trackers

logger = logging.getLogger(__name__)


class MetricsWriter:
    """Appends to metrics.jsonl, writes the sample files of a run folder, and tells the trackers."""

    def __init__(self, folder: RunFolder, trackers: Trackers | None, first_step: int) -> None:
        """Open the files for appending, and write the start down (starts.jsonl).

        Args:
            folder: an open run folder.
            trackers: open ones that get the same; None = none.
            first_step: first step that will be written.
        """
        self._samples_dir = folder.samples_dir
        self._folder = folder
        folder.metrics_path.touch()
        self._trackers = trackers
        if trackers is not None:
            trackers.begin(first_step)
        folder.record_start(first_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row: `step`, then the values by key; the run's status gets the step.

        A value that is not finite is not in the row: its key stands in `not_finite`, with what it
        is (`nan`, `inf` or `-inf`), and `log/not_finite` counts such keys.

        Args:
            step: loop step the values belong to.
            values: key -> number, in the unit that docs/metrics.md names.

        Raises:
            DiskFullError: there is no room for the row.
            OSError: metrics.jsonl cannot be written for another reason.
        """
        numbers = {key: float(values[key]) for key in sorted(values)}
        finite = {key: value for key, value in numbers.items() if math.isfinite(value)}
        lacking = {key: str(value) for key, value in numbers.items() if key not in finite}
        row: dict[str, Any] = {"step": step, **finite}
        if lacking:
            finite["log/not_finite"] = row["log/not_finite"] = float(len(lacking))
            row["not_finite"] = lacking
            logger.warning(
                f"step {step}: not finite: "
                + ", ".join(f"{key} is {text}" for key, text in lacking.items())
            )
        append_row(self._folder.metrics_path, row)
        if self._trackers is not None:
            self._trackers.write(step, finite)
        try:
            self._folder.note_step(step)
        except OSError as error:  # the row says it as well
            logger.warning(f"the run's status could not be written: {error}")

    def write_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write samples/step_NNNNNN.jsonl, one row a line, in one go.

        Args:
            step: loop step the completions were sampled for.
            rows: JSON data, see `trainer.metrics.sample_rows`; what is not finite becomes null.

        Raises:
            DiskFullError: there is no room for the file.
        """
        text = "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows)
        write_atomically(self._samples_dir / f"step_{step:06d}.jsonl", text)
        if self._trackers is not None:
            self._trackers.write_samples(step, rows)


def _finite(value: Any) -> Any:
    """Return JSON data in which null stands for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
