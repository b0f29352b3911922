"""What actors claim from Ray, and a Ray of our own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray

from configs.load import load_config
from launch.cluster import (
    ClusterError,
    NodeAddress,
    connect,
    describe_lost_nodes,
    local_urls,
    place,
    thread_environment,
)
from launch.preflight import ROOT

pytestmark = pytest.mark.slow

TINY = ROOT / "configs" / "tiny.yaml"

LOCAL_RUN = """
from configs.load import load_config
from launch.preflight import preflight
import ray
from launch.cluster import connect, place

class Probe:
    def look(self):
        import os
        import trainer
        return trainer.__file__, os.environ["OMP_NUM_THREADS"], os.nice(0)

config = load_config("configs/tiny.yaml", ["learner.cpu_threads=3"])
connect(config)
places = place(config)
actor = ray.remote(Probe).options(**places.learners[0]).remote()
path, num_threads, niceness = ray.get(actor.look.remote(), timeout=60)
address = ray.nodes()[0]["NodeManagerAddress"]
ray.shutdown()
assert [options["num_cpus"] for options in (*places.learners, *places.engines)] == [0, 0]
import os
assert niceness == os.nice(0), "workers yield to other processes, and this one does not"
assert places.nodes == {address: ["learner 0", "engine 0"]}
print(path, num_threads, address)
"""


@pytest.mark.parametrize("chosen", [{}, {"OMP_WAIT_POLICY": "PASSIVE"}, {"GOMP_SPINCOUNT": "9"}])
def test_waiting_threads_sleep_unless_somebody_has_chosen(
    monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    ours = {} if chosen else {"GOMP_SPINCOUNT": "2000"}
    assert waiting_of(thread_environment(3)) == {"OMP_NUM_THREADS": "3", **ours}


def waiting_of(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not name.startswith("MALLOC_")}


def test_freed_memory_stays_with_the_process_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    assert [thread_environment(1)[name] for name in names] == [str(2**32)] * 2
    monkeypatch.setenv(names[0], "1000")
    assert [thread_environment(1)[name] for name in names] == ["1000", str(2**32)]


def test_an_address_for_jobs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(ClusterError, match="ray job submit"):
        connect(load_config(TINY))


def test_a_judge_that_every_node_would_look_for_on_itself() -> None:
    omni = ROOT / "configs" / "omni_7b.yaml"
    judge = "{judge: rewards.judges.http:HttpJudge, judge_options: {url: %s}}"

    def lines(url: str) -> list[str]:
        overrides = [f"rewards.terms.2.options={judge % url}", "rewards.terms.2.gpus=0"]
        return list(local_urls(load_config(omni, overrides)))

    for url in ("http://127.0.0.1:8001/v1", "http://localhost:8001/v1", "'http://[::1]:8001/v1'"):
        (line,) = lines(url)
        assert line.startswith("rewards.terms.2.options.judge_options.url: http://")
    assert lines("http://judge:8001/v1") == []
    assert list(local_urls(load_config(omni))) == []


def test_of_the_nodes_of_a_run_that_failed_those_are_named_that_take_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        there, gone = (NodeAddress(*s.getsockname()) for s in (server, closed))
        assert describe_lost_nodes([there, there]) == ""
        assert describe_lost_nodes([there, gone]) == (
            f"The node 127.0.0.1 is gone (Ray's port {gone.port}: [Errno 111] Connection refused). "
        )
        # A run on one node is the node of its driver.
        assert describe_lost_nodes([gone]) == describe_lost_nodes([]) == ""


@pytest.mark.slow
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


def test_nothing_is_placed_on_a_node_that_ray_has_not_given_up_yet(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here, dead, other, ended = (letter * 56 for letter in "abcd")
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        there, gone = server.getsockname()[1], closed.getsockname()[1]

        def node(name: str, port: int, alive: bool = True) -> dict[str, object]:
            address = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": port}
            return {"NodeID": name, "Alive": alive, **address}

        # This process is on the first, which is not asked.
        nodes = [node(here, gone), node(dead, gone), node(other, there), node(ended, there, False)]
        monkeypatch.setattr(ray, "nodes", lambda: nodes)
        context = SimpleNamespace(get_node_id=lambda: here)
        monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
        places = place(load_config(TINY, ["rollout.num_engines=3"]))
    on = [options["scheduling_strategy"].node_id for options in (*places.learners, *places.engines)]
    assert on == [here, other, here, other]
    (line,) = caplog.messages
    assert f"is gone (Ray's port {gone}: " in line and "Nothing is placed there." in line
