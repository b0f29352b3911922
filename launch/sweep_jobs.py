"""Runs of a sweep as jobs of a Ray cluster."""

from __future__ import annotations

import logging
from pathlib import Path

import ray.exceptions
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from launch.command import EXIT_DONE, EXIT_FAILED, EXIT_PREEMPTED
from launch.preflight import ROOT
from launch.sweep_plan import PlannedRun

logger = logging.getLogger(__name__)

RUN_KEY = "cadence_run"
"""Metadata of a job: the folder of its run."""


class NoClusterError(RuntimeError):
    """No cluster takes our jobs; the message says what to do."""


class Job:
    """A job that executes one run."""

    def __init__(self, client: JobSubmissionClient, job_id: str, run: PlannedRun) -> None:
        self._client = client
        self._job_id = job_id
        self._run = run

    def poll(self) -> int | None:
        """Return the exit code, or None while the job goes on; at the end, fetch its output."""
        info = self._client.get_job_info(self._job_id)
        if not info.status.is_terminal():
            return None
        with self._run.log_path.open("a", encoding="utf-8") as output:
            output.write(self._client.get_job_logs(self._job_id))
            output.write(f"job {self._job_id}: {info.status}: {info.message}\n")
        return _exit_code(info, self._run)

    def terminate(self) -> None:
        """Ask the cluster to stop the job; it kills it after RAY_JOB_STOP_WAIT_TIME_S."""
        self._client.stop_job(self._job_id)


class JobsBackend:
    """Submits each run as a job, with the repository as its working directory."""

    poll_s = 2.0

    def __init__(self, address: str) -> None:
        """Connect to a cluster.

        Args:
            address: such as `http://HOST:8265`; empty = RAY_ADDRESS.

        Raises:
            NoClusterError: nobody answers there, or we are refused.
        """
        try:
            self._client = JobSubmissionClient(address or None)
            jobs = self._client.list_jobs()
        except (ConnectionError, RuntimeError, ray.exceptions.AuthenticationError) as error:
            raise NoClusterError(
                f"no cluster takes jobs at {address or 'RAY_ADDRESS'}: {error}\n"
                "Give its dashboard as `address: http://HOST:8265` or in RAY_ADDRESS, and "
                "RAY_AUTH_MODE=token with its token if it asks for one."
            ) from error
        self._living = {
            (job.metadata or {}).get(RUN_KEY): job.submission_id
            for job in jobs
            if not job.status.is_terminal()
        }

    def start(self, run: PlannedRun) -> Job:
        """Submit a run; a job that an earlier sweep left running is taken over instead."""
        folder = str(Path(run.folder.root).absolute())
        job_id = self._living.pop(folder, None)
        if job_id is None:
            job_id = self._client.submit_job(
                entrypoint=run.command,
                runtime_env={"working_dir": str(ROOT)},
                metadata={RUN_KEY: folder},
            )
            logger.info(f"{run.title} is job {job_id}")
        else:
            logger.info(f"{run.title} is still running as job {job_id}")
        return Job(self._client, job_id, run)


def _exit_code(info: JobDetails, run: PlannedRun) -> int:
    """Return the exit code of a job that has ended, as if it were a process of ours."""
    if info.status == JobStatus.SUCCEEDED:
        return EXIT_DONE
    if info.driver_exit_code:
        return info.driver_exit_code
    # A job that was stopped, or whose node died, has no exit code.
    saved = run.folder.status_path.is_file() and run.folder.read_status()["state"] == "preempted"
    return EXIT_PREEMPTED if saved else EXIT_FAILED
