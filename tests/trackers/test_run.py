"""A run of launch/rl.py with all five trackers: every store has what the run has written."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.command import RunFiles, command, open_shell
from tests.e2e.conftest import WriteConfig, corpus, home, write_config
from tests.trackers import stores
from tests.trackers.stores import Rows

__all__ = ["corpus", "home", "write_config"]  # fixtures

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("wandb", "mlflow", "trackio", "swanlab")),
    reason="needs requirements/trackers.lock: make test-trackers",
)

TRACKIO = "import json; from tests.trackers.stores import trackio_logs; print(json.dumps([log for log in trackio_logs() if 'samples/completions' not in log], default=str))"  # noqa: E501


def rounded(rows: Rows) -> Rows:
    return {step: {key: np.float32(v) for key, v in row.items()} for step, row in rows.items()}


def test_every_store_has_all_metrics_of_a_run(
    tmp_path: Path, home: Path, write_config: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACKIO_DIR", raising=False)  # the trackers of this process set it
    settings = {
        "log.trackers": "[tensorboard,wandb,mlflow,trackio,swanlab]",
        "log.clips": 1,
        "log.samples_every": 1,
        "train.num_steps": 3,
    }
    offline = {"WANDB_MODE": "offline", "SWANLAB_MODE": "offline"}
    with open_shell(home) as shell:
        done = shell.run(*command("rl", write_config(tmp_path), settings), **offline)
        assert done.returncode == 0, done.stderr
        folder = RunFiles(tmp_path).root
        place = {"TRACKIO_DIR": str(folder / "trackers" / "trackio")}
        logs = subprocess.check_output(
            [sys.executable, "-c", TRACKIO], env=shell.environment(**place), text=True
        )
    written = {row.pop("step"): row for row in RunFiles(tmp_path).rows()}
    assert sorted(written) == [0, 1, 2, 3] and len(written[1]) > 40
    assert rounded(stores.tensorboard_steps(folder)) == rounded(written)
    assert rounded(stores.swanlab_steps(folder)) == rounded(written)
    by_mlflow = {
        step: {stores.mlflow_name(k): v for k, v in row.items()} for step, row in written.items()
    }
    assert rounded(stores.mlflow_steps(folder)) == rounded(by_mlflow)
    for rows in (
        stores.wandb_steps(folder),
        {log["step"]: log for log in json.loads(logs.splitlines()[-1])},
    ):
        kept = {step: {key: row[key] for key in written[step]} for step, row in rows.items()}
        assert rounded(kept) == rounded(written)
    for clips in (folder / "trackers" / "swanlab", folder / "trackers" / "mlflow"):
        assert any(clips.rglob("*.wav")), clips
