"""The estimate of memory against a real learner and a real engine, part by part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
TOLERANCE = 0.2


@pytest.mark.parametrize("role", ["learner", "engine"])
def test_every_part_is_within_a_fifth(role: str) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "memory.py"),
        *("--part", role, "--hidden", "384", "--layers", "4", "--tokens", "40"),
        *("learner.cpu_threads=1", "rollout.cpu_threads=1"),
    ]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=one_thread, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    ratios = {name: estimated / measured for name, (measured, estimated) in found.items()}
    wrong = {name: ratio for name, ratio in ratios.items() if abs(ratio - 1) > TOLERANCE}
    assert not wrong, found
    assert len(ratios) >= 5
