"""A run over two Ray nodes that meet over a network alone: what it computes, and a node's death."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from examples.two_nodes.run import MissingToolError, TwoNodes, open_two_nodes
from tests.e2e.command import RunFiles, Shell, command, wait_until
from tests.e2e.conftest import WriteConfig
from tests.e2e.test_resume import GROUPS_PER_STEP, NUM_STEPS, export_digests, without_times

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SETTINGS = {
    "learner.num_ranks": 2,
    "learner.zero_stage": 3,
    "learner.cpu_threads": 1,
    "rollout.num_engines": 2,
    "rollout.cpu_threads": 1,
}
"""A rank and an engine on each node."""

END_TIMEOUT_S = 240
"""Longest time for a run to end by itself. Nobody waits half an hour for a node that died:
`learner.timeout_s` and `rollout.timeout_s` are longer than this."""


class Life(NamedTuple):
    """One start of the run over two nodes."""

    exit_code: int
    output: str
    status: dict[str, object]
    checkpoints: set[str]
    """Files of all checkpoints at its end, below the folder of checkpoints."""


@pytest.fixture(scope="module")
def nodes(shell: Shell) -> Iterator[TwoNodes]:
    """Return two nodes with Ray on them; none can be made without root and iproute2."""
    try:
        with open_two_nodes(shell.environment()) as nodes:
            yield nodes
    except MissingToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFiles:
    """Return the run over two nodes; `lives` fills it."""
    return RunFiles(tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def lives(nodes: TwoNodes, shell: Shell, run: RunFiles, write_config: WriteConfig) -> list[Life]:
    """Take a node from the run in step 4, restore the node, let it finish."""
    config = write_config(run.folder)

    def live(last_step: int, disturb: Callable[[], None] | None) -> Life:
        """Start the run, disturb it while the step after `last_step` is scored, see it end."""
        output = run.folder / f"output_{last_step}.txt"
        words = nodes.head.words(*command("rl", config, SETTINGS))
        driver = shell.start(*words, output=output, **nodes.variables())
        if disturb is not None:
            scored = max(last_step * GROUPS_PER_STEP, run.groups_scored())
            wait_until(
                lambda: run.groups_scored() > scored or driver.poll() is not None, "the next step"
            )
            assert driver.poll() is None, output.read_text()
            disturb()
        driver.wait(timeout=END_TIMEOUT_S)
        folder = run.root / "checkpoints"
        files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
        return Life(driver.returncode, output.read_text(), run.status(), files)

    broken = live(3, nodes.other.kill)
    nodes.start(nodes.other)
    return [broken, live(NUM_STEPS, None)]


@pytest.fixture(scope="module")
def on_one_node(
    tmp_path_factory: pytest.TempPathFactory, shell: Shell, write_config: WriteConfig
) -> RunFiles:
    """Return the same run on one node, undisturbed."""
    run = RunFiles(tmp_path_factory.mktemp("one"))
    done = shell.run(*command("rl", write_config(run.folder), SETTINGS))
    assert done.returncode == 0, done.stderr
    assert "places: 127.0.0.1: learner 0, learner 1, engine 0, engine 1" in done.stdout
    return run


def test_each_node_has_a_rank_and_an_engine(lives: list[Life], nodes: TwoNodes) -> None:
    for life in lives:
        assert (
            f"places: {nodes.head.address}: learner 0, engine 0; "
            f"{nodes.other.address}: learner 1, engine 1\n"
        ) in life.output


def test_the_run_goes_on_from_the_shards_of_both_nodes(lives: list[Life]) -> None:
    broken, resumed = lives
    shards = {f"step_000002/learner/zero_pp_rank_{r}_mp_rank_00_optim_states.pt" for r in (0, 1)}
    assert shards <= broken.checkpoints
    assert resumed.exit_code == 0, resumed.output
    assert "resuming after step 2" in resumed.output


def test_the_loss_of_a_node_ends_the_run_with_words_that_name_it(
    lives: list[Life], nodes: TwoNodes
) -> None:
    broken, _ = lives
    assert broken.exit_code == 4, broken.output
    assert (broken.status["state"], broken.status["step"]) == ("failed", 3)
    reason = str(broken.status["reason"])
    assert nodes.other.address in reason


def test_two_nodes_compute_what_one_computes(
    lives: list[Life], run: RunFiles, on_one_node: RunFiles
) -> None:
    assert lives[-1].exit_code == 0, lives[-1].output
    assert [row["step"] for row in run.rows()] == list(range(NUM_STEPS + 1))
    for ours, theirs in zip(run.rows(), on_one_node.rows(), strict=True):
        assert without_times(ours) == without_times(theirs)
    assert {"eval/accuracy", "test_after/ua", "policy/loss"} <= run.rows()[-1].keys()
    for step in range(1, NUM_STEPS + 1):
        name = f"samples/step_{step:06d}.jsonl"
        assert (run.root / name).read_text() == (on_one_node.root / name).read_text()
    assert export_digests(run) == export_digests(on_one_node)


def test_the_script_hands_on_the_exit_code_and_leaves_nothing_running(
    nodes: TwoNodes, shell: Shell, tmp_path: Path
) -> None:
    output = tmp_path / "output.txt"
    words = ["examples/two_nodes/run.py", "--config", "configs/tiny.yaml", "rollout.group_sise=4"]
    script = shell.start(sys.executable, *words, output=output)
    assert script.wait(timeout=END_TIMEOUT_S) == 2, output.read_text()
    assert "nearest is rollout.group_size" in output.read_text()
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, check=True, text=True)
    assert nodes.head.name in left.stdout
    assert f"rl-{script.pid}-" not in left.stdout
