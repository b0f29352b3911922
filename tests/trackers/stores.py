"""What the stores of the trackers hold, by the trackers' own readers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Rows = dict[int, dict[str, float]]
"""Step -> metrics."""


def wandb_records(root: Path) -> Iterator[Any]:
    """Yield the records of a run folder's offline runs, in order."""
    from swanlab.converter.wb.wbdatastore import WBDataStoreReader
    from wandb.proto.wandb_internal_pb2 import Record

    for file in sorted((root / "trackers" / "wandb").glob("wandb/offline-run-*/*.wandb")):
        with WBDataStoreReader() as reader:
            reader.open(file)
            while (content := reader.scan()) is not None:
                yield Record.FromString(content)


def wandb_steps(root: Path) -> dict[int, dict[str, Any]]:
    """Return what was logged with every step, tables as their parts."""
    steps: dict[int, dict[str, Any]] = {}
    for record in wandb_records(root):
        if record.HasField("history"):
            step = record.history.step.num
            assert step not in steps
            steps[step] = {
                ":".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
    return steps


def swanlab_records(root: Path) -> Iterator[Any]:
    """Yield the records of a run folder's offline runs, in order."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    for file in sorted((root / "trackers" / "swanlab").glob("run-*/*.swanlab")):
        reader = DataStoreReader()
        reader.open(file)
        yield from map(Record.FromString, reader)
        reader.close()


def swanlab_steps(root: Path) -> Rows:
    """Return the metrics of every step."""
    steps: Rows = {}
    for record in swanlab_records(root):
        if record.HasField("scalar"):
            scalar = record.scalar
            assert scalar.key not in steps.setdefault(scalar.step, {})
            steps[scalar.step][scalar.key] = scalar.value.number
    return steps


def mlflow_run(root: Path) -> tuple[Any, Any]:
    """Return the client of a run folder's store, and the one run in it."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{root}/trackers/mlflow/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'cadence'")
    (run,) = client.search_runs([experiment.experiment_id])
    return client, run


def mlflow_steps(root: Path) -> Rows:
    """Return the metrics of every step; characters that MLflow refuses are `_`."""
    client, run = mlflow_run(root)
    steps: Rows = {}
    for key in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, key):
            assert key not in steps.setdefault(metric.step, {})
            steps[metric.step][key] = metric.value
    return steps


def mlflow_name(key: str) -> str:
    """Return what MLflow calls a metric."""
    return re.sub(r"[^/\w.\- :]", "_", key)


def trackio_logs() -> list[dict[str, Any]]:
    """Return what was logged, in order; Trackio's folder is that of TRACKIO_DIR."""
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = SQLiteStorage.get_runs("cadence")
    return list(SQLiteStorage.get_logs("cadence", name))


def tensorboard_steps(root: Path) -> Rows:
    """Return the metrics of every step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(root / "tb"), size_guidance={"scalars": 0})
    events.Reload()
    steps: Rows = {}
    for key in events.Tags()["scalars"]:
        for event in events.Scalars(key):
            steps.setdefault(event.step, {})[key] = event.value
    return steps
