"""How a command ends: what it leaves in the folder of a run that fails or is asked to stop."""

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


SIGNALLED = """
import json, os, signal, sys
from pathlib import Path
from configs.load import load_config
import launch.build, launch.cli, launch.cluster, launch.watchdog
import trainer.trackers.sink
from trainer.stop import StopRequest

launch.cluster.connect = lambda config, learns: []
launch.build.run_rl = lambda config, *_: config.train.num_steps
states = {75: "preempted", 0: "finished"}

def run(line):
    global left
    left = line
    config = load_config("configs/tiny.yaml", [f"output_dir={sys.argv[1]}", f"name={line}"])
    stop = StopRequest()

    def trace(frame, event, _):
        global left
        if frame.f_code not in (launch.cli._execute.__code__, launch.cli._run_in.__code__):
            return None
        left -= event == "line"
        if event == "line" and not left:
            os.kill(os.getpid(), signal.SIGTERM)
        return trace

    sys.settrace(trace)
    try:
        code = launch.cli._execute("policy", config, None, "again", {}, stop)
    except KeyboardInterrupt:
        code = 75
    sys.settrace(None)
    status = Path(sys.argv[1], str(line), "run_status.json")
    state = json.loads(status.read_text())["state"] if status.exists() else "preempted"
    assert state == states[code], f"line {line}: exit code {code}, {state}"

run(1000)  # without a request, so that no child loads again what is loaded late
for line in range(1, 200):
    child = os.fork()
    if not child:
        code = 1
        try:
            run(line)
            code = 2 if left > 0 else 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        break
print(code, line)
"""


def test_a_request_at_any_line_leaves_the_state_of_its_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    code, line = map(int, done.stdout.split("\n")[-2].split())
    assert code == 2, f"line {line}: {done.stderr}"
    assert line > 30, "the lines of a run without a request"


TWICE = """
import logging, os, sys
from configs.load import load_config
import launch.build, launch.cli, launch.cluster
from trainer.metrics_writer import MetricsWriter
from trainer.stop import StopRequest

launch.cluster.connect = lambda config, learns: print("connected") or []

def run(config, folder, data, stop, trackers):
    MetricsWriter(folder, trackers=None, first_step=1).write(1, {"reward/mean": 1.0})
    return config.train.num_steps

launch.build.run_rl = run

def start(*changed):
    if os.fork():  # a folder is locked until its process ends
        return os.wait()
    settings = [f"output_dir={sys.argv[1]}", "name=twice", "checkpoint.export=false"]
    config = load_config("configs/tiny.yaml", [*settings, "log.report=false", *changed])
    code = launch.cli._execute("policy", config, None, "again", {}, StopRequest())
    print("code", code, flush=True)
    os._exit(0)

logging.basicConfig(level=logging.INFO)
start()
start()
start("train.num_steps=150")
start("train.num_steps=150", "checkpoint.export=true")
"""


def test_a_finished_run_says_so_before_ray_starts(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TWICE, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Again, with more steps, and without the export that is wanted now.
    lines = done.stdout.splitlines()
    assert lines == ["connected", "code 0", "code 0"] + ["connected", "code 0"] * 2
    assert done.stderr.count("was finished before, nothing is left to do") == 1
