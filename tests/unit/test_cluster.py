"""What actors claim from Ray, and a Ray of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from configs.load import load_config
from launch.cluster import ClusterError, connect, engine_options, learner_options
from launch.preflight import ROOT

TINY = ROOT / "configs" / "tiny.yaml"
OMNI = ROOT / "configs" / "omni_7b.yaml"

LOCAL_RUN = """
from configs.load import load_config
from launch.preflight import preflight
import ray
from launch.cluster import connect, learner_options

class Probe:
    def look(self):
        import os
        import trainer
        return trainer.__file__, os.environ["OMP_NUM_THREADS"]

config = load_config("configs/tiny.yaml", ["learner.cpu_threads=3"])
connect(config)
actor = ray.remote(Probe).options(**learner_options(config)[0]).remote()
path, num_threads = ray.get(actor.look.remote(), timeout=60)
address = ray.nodes()[0]["NodeManagerAddress"]
ray.shutdown()
print(path, num_threads, address)
"""


def test_gpus_of_ranks_and_engines() -> None:
    apart = load_config(OMNI, ["rollout.tensor_parallel=2"])
    assert [options["num_gpus"] for options in learner_options(apart)] == [1, 1, 1, 1]
    assert [options["num_gpus"] for options in engine_options(apart)] == [2, 2, 2, 2]


def test_colocated_pairs_fill_one_gpu_and_ranks_never_share() -> None:
    config = load_config(OMNI, ["rollout.colocate=true", "sync.transport=ipc"])
    rank = learner_options(config)[0]["num_gpus"]
    engine = engine_options(config)[0]["num_gpus"]
    assert rank + engine == 1
    assert rank > 0.5


def test_cpu_actors_claim_no_cores_and_bound_their_threads() -> None:
    config = load_config(TINY, ["learner.num_ranks=2", "rollout.cpu_threads=3"])
    ranks, engines = learner_options(config), engine_options(config)
    assert [options["num_cpus"] for options in (*ranks, *engines)] == [0, 0, 0]
    threads = [options["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] for options in ranks]
    assert threads == ["2", "2"]
    assert engines[0]["runtime_env"] == {"env_vars": {"OMP_NUM_THREADS": "3"}}


def test_an_address_for_jobs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(ClusterError, match="ray job submit"):
        connect(load_config(TINY))


@pytest.mark.e2e
def test_local_ray_listens_to_this_machine_and_imports_our_modules(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", LOCAL_RUN],
        cwd=ROOT,
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [str(ROOT / "trainer" / "__init__.py"), "3", "127.0.0.1"]
    assert done.stdout.split() == expected
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
