"""The files that a step's metrics and samples go to."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from data.files import write_atomically
from trainer.run_folder import RunFolder
from trainer.tensorboard import EventFile


class MetricsWriter:
    """Appends to metrics.jsonl and TensorBoard, and writes the sample files of a run folder."""

    def __init__(self, folder: RunFolder, tensorboard: bool, first_step: int) -> None:
        """Open the files for appending, and write the start down (starts.jsonl).

        Args:
            folder: an open run folder.
            tensorboard: write TensorBoard event files as well.
            first_step: first step that will be written; TensorBoard hides what an earlier life of
                the run wrote for this step and later ones.
        """
        self._samples_dir = folder.samples_dir
        self._file = folder.metrics_path.open("a", encoding="utf-8")
        self._events = EventFile(folder, first_step) if tensorboard else None
        folder.record_start(first_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row: `step`, then the values by key.

        Args:
            step: loop step the values belong to.
            values: key -> finite number, in the unit that docs/metrics.md names.

        Raises:
            ValueError: a value is not finite; the message names its key. Nothing is written.
            OSError: metrics.jsonl cannot be written.
        """
        finite = {key: float(values[key]) for key in sorted(values)}
        for key, value in finite.items():
            if not math.isfinite(value):
                raise ValueError(f"metric {key} at step {step} is {value}; it must be finite")
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
        except OSError as err:
            raise OSError(err.errno, err.strerror, self._file.name) from err
        if self._events is not None:
            self._events.write(step, finite)

    def write_samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write samples/step_NNNNNN.jsonl, one row a line, in one go.

        Args:
            step: loop step the completions were sampled for.
            rows: JSON data without NaN; see `trainer.metrics.sample_rows`.
        """
        text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        write_atomically(self._samples_dir / f"step_{step:06d}.jsonl", text)
        if self._events is not None:
            self._events.write_samples(step, rows)

    def close(self) -> None:
        """Finish the files."""
        self._file.close()
        if self._events is not None:
            self._events.close()
