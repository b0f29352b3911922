"""Trackio. Without `TRACKIO_DIR`, `TRACKIO_SPACE_ID` and the like it keeps to the run folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trainer.trackers.base import COMPLETIONS, Completions, TrackedRun, Tracker


class TrackioTracker(Tracker):
    """A run of Trackio."""

    def open(self, run: TrackedRun) -> None:
        """See `Tracker`."""
        os.environ.setdefault("TRACKIO_DIR", str(run.home.resolve()))  # read when it is imported
        import trackio

        self._project = run.project
        self._run = trackio.init(
            project=run.project,
            # It goes on with a run of the same name, and names of runs come again.
            name=f"{run.name}-{run.id[:6]}",
            resume="allow",
            config=dict(run.settings),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def log_completions(self, completions: Completions) -> None:
        """See `Tracker`."""
        import trackio

        with completions.clip_files() as files:
            clips = {n: trackio.Audio(path) for n, path in files.items()}
            rows = [[*cells, clips.get(n)] for n, cells in enumerate(completions.cells())]
            table = trackio.Table([*completions.columns(), "clip"], rows)
            self._run.log({COMPLETIONS: table}, step=completions.step)

    def log_report(self, path: Path) -> None:
        """See `Tracker`."""
        import trackio

        trackio.log_artifact(path, name=f"report-{self._run.name}", type="report")

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()
