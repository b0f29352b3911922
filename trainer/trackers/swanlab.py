"""SwanLab. `SWANLAB_MODE=offline` writes to the run folder, for `swanlab sync`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from data.audio import SAMPLE_RATE_HZ
from trainer.trackers.base import CLIPS, COMPLETIONS, Completions, TrackedRun, Tracker


class SwanlabTracker(Tracker):
    """A run of SwanLab."""

    def open(self, run: TrackedRun) -> None:
        """See `Tracker`."""
        import swanlab
        from swanlab.sdk.internal.settings import Settings

        # What it would gather by itself (command line, git remote, host, output) stays here.
        settings = Settings.model_validate(
            {
                "interactive": False,
                "probe": dict.fromkeys(
                    ("hardware", "runtime", "requirements", "git", "monitor"), False
                ),
                "terminal": {"proxy_type": "none"},
            }
        )
        self._run = swanlab.init(
            project=run.project,
            name=run.name,
            id=run.id,
            resume="allow",
            log_dir=str(run.home),
            config=dict(run.settings),
            settings=settings,
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def log_completions(self, completions: Completions) -> None:
        """See `Tracker`."""
        import swanlab

        table = swanlab.echarts.Table()
        table.add(completions.columns(), completions.cells())
        with completions.clip_files() as files:
            clips = [
                swanlab.Audio(
                    str(path), sample_rate=SAMPLE_RATE_HZ, caption=completions.rows[n]["id"]
                )
                for n, path in files.items()
            ]
            shown = {COMPLETIONS: table} | ({CLIPS: clips} if clips else {})
            self._run.log(shown, step=completions.step)

    def log_report(self, path: Path) -> None:
        """See `Tracker`."""
        self._run.save(str(path), base_path=str(path.parent), policy="now")

    def close(self) -> None:
        """See `Tracker`."""
        self._run.finish()
