"""Weights & Biases. `WANDB_MODE=offline` writes to the run folder, for `wandb sync`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from trainer.trackers.base import COMPLETIONS, Completions, TrackedRun, Tracker


class WandbTracker(Tracker):
    """A run of Weights & Biases."""

    def open(self, run: TrackedRun) -> None:
        """See `Tracker`."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        # Clips and the report wait here until they are sent; its default is below the home folder.
        os.environ.setdefault("WANDB_DATA_DIR", str(run.home.resolve()))
        import wandb

        logging.getLogger("wandb").propagate = False  # it has a file of its own, and says much
        # What it would gather by itself (command line, git remote, host, output) stays here.
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            init_timeout=60,
            silent=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self._run = wandb.init(
            project=run.project,
            name=run.name,
            id=run.id,
            resume="allow",
            dir=run.home,
            config=dict(run.settings),
            settings=settings,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def log_completions(self, completions: Completions) -> None:
        """See `Tracker`."""
        import wandb

        with completions.clip_files() as files:
            clips = {n: wandb.Audio(str(path)) for n, path in files.items()}
            rows = [[*cells, clips.get(n)] for n, cells in enumerate(completions.cells())]
            table = wandb.Table([*completions.columns(), "clip"], rows)
            self._run.log({COMPLETIONS: table}, step=completions.step)

    def log_report(self, path: Path) -> None:
        """See `Tracker`."""
        import wandb

        report = wandb.Artifact(f"report-{self._run.id}", type="report")
        report.add_file(str(path))
        self._run.log_artifact(report)

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()
