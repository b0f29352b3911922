"""MLflow. Without `MLFLOW_TRACKING_URI` its store is a SQLite file in the run folder."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainer.trackers.base import COMPLETIONS, Completions, TrackedRun, Tracker

RUN_TAG = "cadence.run"
TABLES_TAG = "mlflow.loggedArtifacts"
"""What its pages find tables by."""

MAX_METRICS, MAX_PARAMS = 1000, 100
"""What one request may hold."""

MAX_PARAM_CHARS = 6000


class MlflowTracker(Tracker):
    """A run of MLflow."""

    def open(self, run: TrackedRun) -> None:
        """See `Tracker`."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        address = os.environ.get("MLFLOW_TRACKING_URI")
        self._client = MlflowClient(address or f"sqlite:///{run.home.resolve()}/mlflow.db")
        experiment = self._client.get_experiment_by_name(run.project)
        if experiment is None:
            place = None if address else (run.home / "artifacts").resolve().as_uri()
            home = self._client.create_experiment(run.project, artifact_location=place)
        else:
            home = experiment.experiment_id
        before = self._client.search_runs([home], f"tags.`{RUN_TAG}` = '{run.id}'", max_results=1)
        self._tables: list[dict[str, str]] = []
        if before:
            self._id = before[0].info.run_id
            self._tables = json.loads(before[0].data.tags.get(TABLES_TAG, "[]"))
            self._client.update_run(self._id, status="RUNNING")
        else:
            started = self._client.create_run(home, tags={RUN_TAG: run.id}, run_name=run.name)
            self._id = started.info.run_id
            # Only once: a parameter cannot change, and a run that goes on may differ in a few.
            params = [
                Param(_name(key), str(value)[:MAX_PARAM_CHARS])
                for key, value in _leaves("", run.settings)
            ]
            for start in range(0, len(params), MAX_PARAMS):
                self._client.log_batch(self._id, params=params[start : start + MAX_PARAMS])
        self._client.log_artifact(self._id, str(run.config_path))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(_name(key), value, now, step) for key, value in values.items()]
        for start in range(0, len(metrics), MAX_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + MAX_METRICS])

    def log_completions(self, completions: Completions) -> None:
        """See `Tracker`."""
        folder = f"{COMPLETIONS}/step_{completions.step:06d}"
        with completions.clip_files() as files:
            clips = {n: f"{folder}/{path.name}" for n, path in files.items()}
            for path in files.values():
                self._client.log_artifact(self._id, str(path), folder)
        rows = [[*cells, clips.get(n)] for n, cells in enumerate(completions.cells())]
        table = {"columns": [*completions.columns(), "clip"], "data": rows}
        place = f"{folder}/completions.json"
        self._client.log_text(self._id, json.dumps(table), place)
        self._tables.append({"path": place, "type": "table"})
        self._client.set_tag(self._id, TABLES_TAG, json.dumps(self._tables))

    def log_report(self, path: Path) -> None:
        """See `Tracker`."""
        self._client.log_artifact(self._id, str(path))

    def close(self) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._id)


def _name(key: str) -> str:
    """Return a key in the characters that MLflow takes: a label may have others."""
    return re.sub(r"[^/\w.\- :]", "_", key)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}".lstrip("."), inner)
    else:
        yield key, value
