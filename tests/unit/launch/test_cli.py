"""How a command ends: what it leaves in the folder of a run that fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]

FULL_DISK = """
import resource, signal, sys
from configs.load import load_config
import launch.build, launch.cli, launch.cluster
from trainer.metrics_writer import MetricsWriter
from trainer.stop import StopRequest

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write fails with an error, as on a full disk
launch.cluster.connect = lambda config, learns: []

def run(config, folder, data, stop, trackers):
    writer = MetricsWriter(folder, trackers=None, first_step=1)
    writer.write(1, {"reward/mean": 1.0})
    room = folder.metrics_path.stat().st_size + 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    writer.write(2, {f"test/{n}": 0.123456789 for n in range(100)})

launch.build.run_rl = run
config = load_config("configs/tiny.yaml", [f"output_dir={sys.argv[1]}", "name=full"])
command = "python launch/rl.py again"
sys.exit(launch.cli._execute("policy", config, None, command, {}, StopRequest()))
"""


def test_a_full_disk_leaves_the_step_and_the_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    rows = (tmp_path / "full" / "metrics.jsonl").read_bytes()
    assert rows == b'{"step": 1, "reward/mean": 1.0}\n', "half a row"
    status = json.loads((tmp_path / "full" / "run_status.json").read_text())
    assert status["state"] == "failed" and status["step"] == 1
    assert "metrics.jsonl: File too large: the disk is full" in status["reason"]
    assert done.stderr.count("\n") == 1, "one line, and no traceback"
    assert "metrics.jsonl: File too large: the disk is full" in done.stderr
    assert status["resume_cmd"] == "python launch/rl.py again"

    report = [sys.executable, "launch/report.py", str(tmp_path / "full")]
    shown = subprocess.run(report, cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "File too large" in (tmp_path / "full" / "report.html").read_text()
