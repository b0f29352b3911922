"""A job of examples/slurm whose time is up saves, is requeued, resumes and finishes."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import RunFiles, Shell, wait_until
from tests.e2e.conftest import WriteConfig
from tests.e2e.slurm_cluster import DAEMONS, SlurmCluster, open_slurm

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(
        not all(map(shutil.which, DAEMONS)),
        reason=f"{', '.join(DAEMONS)} are not all there: apt-get install slurm-wlm munge",
    ),
]

NUM_STEPS = 4
GROUPS_PER_STEP = 6

TERMS = """\
defaults: small.yaml
rewards:
  packages: [rewards, tests]
  terms:
    - {{name: format, target: "rewards.format:FormatReward", weight: 0.3}}
    - name: letters
      target: tests.e2e.toy_reward:Letters
      weight: 0.5
      options: {{trace: {trace}}}
    - name: waits
      target: tests.e2e.toy_reward:WaitsForLine
      weight: 0.1
      timeout_s: 600
      options: {{file: {log}, line: "stop requested", first_group: {first_group}}}
"""


@pytest.fixture
def slurm(shell: Shell) -> Iterator[SlurmCluster]:
    """Start a Slurm of two nodes whose jobs are the shell's."""
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        environment = shell.environment(VENV=sys.prefix)
        with open_slurm(Path(folder), environment, num_nodes=2) as cluster:
            yield cluster


def wait_for_state(slurm: SlurmCluster, job: str, state: str, log: Path) -> None:
    """Wait until the job is in a state; fail at once if it ends in another."""

    def reached() -> bool:
        now = slurm.job(job)["JobState"]
        assert now in {state, "PENDING", "RUNNING", "COMPLETING"}, log.read_text()
        return now == state

    wait_until(reached, f"job {job} is {state}; see {log}", 600)


def test_a_job_signalled_at_its_time_limit_is_requeued_and_finishes(
    tmp_path: Path, slurm: SlurmCluster, write_config: WriteConfig
) -> None:
    run, log = RunFiles(tmp_path), tmp_path / "job.log"
    write_config(tmp_path)
    config = tmp_path / "slurm.yaml"
    config.write_text(TERMS.format(trace=run.trace, log=log, first_group=GROUPS_PER_STEP + 1))
    job = slurm.run(
        *("sbatch", "--parsable", "--nodes=2", "--cpus-per-task=2", "--gpus-per-node=0"),
        *("--time=60", "--signal=B:TERM@60", f"--output={log}"),
        *("examples/slurm/train.sbatch", str(config)),
    )
    wait_until(lambda: run.groups_scored() > GROUPS_PER_STEP, f"step 2 begins; see {log}", 600)
    # How long a run takes to start is the machine's affair, so its time is cut only now.
    minutes = int(slurm.job(job)["RunTime"].split(":")[1])
    slurm.run("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes + 2}")
    wait_for_state(slurm, job, "PENDING", log)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    assert run.status()["state"] == "preempted"
    wait_for_state(slurm, job, "COMPLETED", log)

    assert slurm.job(job)["Restarts"] == "1"
    assert run.status()["state"] == "finished"
    assert [row["step"] for row in run.rows()] == list(range(NUM_STEPS + 1))
    first, second = log.read_text().split(f"saved: putting job {job} back into the queue")
    assert "stop requested" in first
    assert "resuming after step 2" in second
