"""Jobs on a Ray cluster with token authentication: runs of both ZeRO stages, and prosody."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import RunFiles, Shell, free_ports, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

TERMS = "[{{name: letters, target: 'tests.e2e.toy_reward:Letters', options: {{trace: {trace}}}}}]"


def answers_with(url: str) -> int:
    """Return the HTTP status of a request without a token; 0 if nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0


@pytest.fixture(scope="module")
def jobs_url(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a cluster of one node; it ends with the shell."""
    port, jobs_port, client_port, agent_port = free_ports(4)
    output = tmp_path_factory.mktemp("cluster") / "output.txt"
    # Other tests may have made one before, or not.
    made = shell.run("ray", "get-auth-token", "--generate")
    assert made.returncode == 0, made.stderr
    shell.start(
        *("ray", "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=2"),
        *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={shell.ray_dir}"),
        *(f"--dashboard-port={jobs_port}", f"--ray-client-server-port={client_port}"),
        f"--dashboard-agent-listen-port={agent_port}",
        output=output,
        RAY_AUTH_MODE="token",
    )
    url = f"http://127.0.0.1:{jobs_port}"
    wait_until(lambda: answers_with(f"{url}/api/jobs/") != 0, f"Ray starts; see {output}")
    yield url
    shell.end_processes()


def submit(
    shell: Shell, jobs_url: str, folder: Path, corpus: Path, checkpoint: Path, zero_stage: int
) -> RunFiles:
    run = RunFiles(folder)
    settings = {
        "name": "run",
        "output_dir": folder / "runs",
        "model.path": checkpoint,
        "data.manifest": corpus / "manifest.jsonl",
        "data.audio_root": corpus,
        "rewards.packages": "[rewards, tests]",
        "rewards.terms": TERMS.format(trace=run.trace),
        "rewards.outcome": "letters",
        # The second job has one: what is sampled does not depend on it.
        "rollout.num_engines": 2 if zero_stage == 2 else 1,
        "rollout.group_size": 4,
        "rollout.cpu_threads": 1,
        "rollout.max_completion_tokens": 16,
        "learner.num_ranks": 2,
        "learner.zero_stage": zero_stage,
        "learner.cpu_threads": 1,
        "optim.warmup_steps": 0,
        "train.num_steps": 2,
        "train.prompts_per_step": 5,
        "eval.every_steps": 0,
        "eval.test_split": "''",
        "parity.num_clips": 2,
    }
    done = shell.run(
        *("ray", "job", "submit", "--address", jobs_url, "--working-dir", ".", "--"),
        *("python", "launch/rl.py", "--config", "configs/tiny.yaml"),
        *(f"{key}={value}" for key, value in settings.items()),
        RAY_AUTH_MODE="token",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return run


def test_a_request_without_the_token_is_refused(jobs_url: str) -> None:
    assert answers_with(f"{jobs_url}/api/jobs/") == 401


def test_jobs_with_two_ranks_and_two_engines(
    shell: Shell,
    jobs_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    corpus: Path,
    tiny_checkpoint: Path,
) -> None:
    runs = [
        submit(shell, jobs_url, tmp_path_factory.mktemp("job"), corpus, tiny_checkpoint, stage)
        for stage in (2, 3)
    ]
    for run in runs:
        assert run.status()["state"] == "finished"
        assert [row["step"] for row in run.rows()] == [0, 1, 2]
        assert all(row["optim/skipped"] == 0 for row in run.rows()[1:])
        assert (run.root / "export" / "model.safetensors").is_file()
    sharded, whole = (run.rows()[1] for run in runs)
    # The first step starts from the same weights: what it samples and learns does not depend on
    # how the learner shards them.
    for name in ("reward/mean", "policy/loss", "policy/entropy", "optim/grad_norm"):
        assert sharded[name] == pytest.approx(whole[name], rel=1e-4), name


def test_a_job_measures_prosody(shell: Shell, jobs_url: str, corpus: Path, tmp_path: Path) -> None:
    done = shell.run(
        *("ray", "job", "submit", "--address", jobs_url, "--working-dir", ".", "--"),
        *("python", "launch/annotate.py", f"manifest={corpus / 'manifest.jsonl'}"),
        *(f"root={corpus}", f"output={tmp_path}", "splits.allow=[transcript]", "ray=auto"),
        RAY_AUTH_MODE="token",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ray: 1 nodes with 2 CPUs" in done.stdout
    # The corpus was measured by processes of one machine.
    rows, before = (
        {row["id"]: row["prosody"] for row in map(json.loads, file.read_text().splitlines())}
        for file in (tmp_path / "manifest.jsonl", corpus / "manifest.jsonl")
    )
    assert rows == before
