"""A job of examples/slurm whose time is up saves, is requeued, resumes and finishes."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
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
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}

TERMS = """\
defaults: small.yaml
learner: {{num_ranks: 2}}
rewards:
  packages: [rewards, tests]
  outcome: letters
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


def wait_for_job(
    slurm: SlurmCluster, number: str, what: str, reached: Callable[[Mapping[str, str]], bool]
) -> None:
    """Wait for something that a job does; fail at once if it ends without."""

    def has_reached() -> bool:
        job = slurm.job(number)
        if not reached(job):
            text = Path(job["StdOut"]).read_text() if job["JobState"] in ENDED else ""
            assert job["JobState"] not in ENDED, f"{job['JobState']} before it {what}:\n{text}"
            return False
        return True

    wait_until(has_reached, f"job {number}: {what}", 600)


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
    wait_for_job(slurm, job, "begins step 2", lambda _: run.groups_scored() > GROUPS_PER_STEP)
    # How long a start takes is the machine's affair, so the time is cut only now, to what makes
    # the signal due: 60 s before the end, and up to 60 s earlier as Slurm looks every half minute.
    minutes = int(slurm.job(job)["RunTime"].split(":")[1])
    slurm.run("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes + 2}")
    wait_for_job(slurm, job, "is requeued", lambda now: now["Restarts"] == "1")
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    assert run.status()["state"] == "preempted"
    shards = (run.root / "checkpoints" / "step_000002" / "learner").glob("*_optim_states.pt")
    assert len(list(shards)) == 2  # of both nodes
    wait_for_job(slurm, job, "is completed", lambda now: now["JobState"] == "COMPLETED")

    assert slurm.job(job)["Restarts"] == "1"
    assert run.status()["state"] == "finished"
    assert [row["step"] for row in run.rows()] == list(range(NUM_STEPS + 1))
    first, second = log.read_text().split(f"saved: putting job {job} back into the queue")
    assert "stop requested: saving after this step" in first
    assert "saved after step 2" in first
    assert "resuming after step 2" in second


def test_a_job_that_is_cancelled_does_not_come_back(tmp_path: Path, slurm: SlurmCluster) -> None:
    # What the script calls, in place of a run: it saves at once when it is asked to stop.
    programs = {
        "activate": f"PATH={tmp_path}/bin:$PATH",
        "ray": '#!/bin/sh\ncase $1 in start) exec sleep 600;; status) echo " 1 node_1";; esac',
        "python": (
            f"#!/bin/sh\ntrap 'touch {tmp_path}/saved; exit 75' TERM\n"
            f"touch {tmp_path}/runs; sleep 600 & wait"
        ),
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    job = slurm.run(
        *("sbatch", "--parsable", f"--export=ALL,VENV={tmp_path}", "--cpus-per-task=2"),
        *("--gpus-per-node=0", f"--output={tmp_path}/job.log"),
        *("examples/slurm/train.sbatch", "small.yaml"),
    )
    wait_for_job(slurm, job, "runs", lambda _: (tmp_path / "runs").exists())
    slurm.run("scancel", job)
    # By then all of its processes have ended, or it is PENDING again.
    wait_until(lambda: slurm.job(job)["JobState"] in ENDED, f"the job ends; see {tmp_path}", 60)
    assert (slurm.job(job)["JobState"], slurm.job(job)["Restarts"]) == ("CANCELLED", "0")
    assert (tmp_path / "saved").exists()
