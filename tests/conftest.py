"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before any library starts threads: beside another test process they sleep while they wait,
    # where spinning ones would take its cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from filelock import FileLock
from hypothesis import settings

from demo.checkpoint import build_checkpoint

# A deadline would be a timed assertion: on a busy machine it fails whatever the code does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

MakeOnce = Callable[[str, Callable[[Path], None]], Path]


LONGEST_FIRST = (
    "tests/e2e/test_two_nodes.py",
    "tests/e2e/test_resume.py",
    "tests/e2e/test_ptr.py",
    "tests/faults/test_engines.py",
    "tests/e2e/test_slurm.py",
    "tests/e2e/test_sweep.py",
    "tests/e2e/test_learner_ranks.py",
    "tests/e2e/test_job.py",
    "tests/e2e/test_cluster_annotation.py",
    "tests/e2e/test_evaluation.py",
    "tests/e2e/test_judge_training.py",
    "tests/faults/test_groups.py",
    "tests/e2e/test_parity.py",
    "tests/e2e/test_refill.py",
    "tests/e2e/test_pipeline.py",
    "tests/faults/test_secrets_stack.py",
    "tests/e2e/test_errors.py",
    "tests/e2e/test_seeds.py",
    "tests/e2e/test_local_judge.py",
)
"""Files that keep a process busy for a minute and more: begun last, one would run alone."""


def pytest_configure(config: pytest.Config) -> None:
    """Have files dealt out in their order here, where pytest-xdist would go by numbers of tests."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, where several processes share them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    rank = {file: number for number, file in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Give back the signals that a command takes when it is called in the process of the tests."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Return a function that fills a folder once for all processes of this test session.

    It takes the folder's name and what fills it, and returns the folder.
    """
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(make_once: MakeOnce) -> Path:
    """Return the folder of the demo's checkpoint with random weights; do not write into it."""
    return make_once("checkpoint", lambda folder: build_checkpoint(folder / "tiny")) / "tiny"
