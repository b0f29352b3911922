"""An actor that is stuck: the log says who, in which call, since when, and where in the code."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from launch.watchdog import Watchdog
from rollout.actors import gather, waits
from tests.e2e.command import wait_until
from tests.faults.stand_ins import Stuck

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Connect to a Ray of this file."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.parametrize(
    ("freeze", "stack"),
    [
        pytest.param(
            False,
            "in wait_for_ever\n",
            id="stuck",
            marks=pytest.mark.fault(
                "an actor is stuck in a call",
                happens="after log.stall_s the log names it, the call and the time, and has the "
                "stacks of the driver and of all actors; the call's timeout ends the wait",
                lost="nothing",
            ),
        ),
        pytest.param(
            True,
            "is stopped",
            id="frozen",
            marks=pytest.mark.fault(
                "an actor is frozen in a call",
                happens="after log.stall_s the log names it, the call and the time, and says that "
                "it is stopped",
                lost="nothing",
            ),
        ),
    ],
)
def test_a_stuck_actor_is_named(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], freeze: bool, stack: str
) -> None:
    actor = ray.remote(Stuck).options(num_cpus=0).remote()
    pid = ray.get(actor.ping.remote(), timeout=120)
    call = actor.wait_for_ever.remote()
    title = Path(f"/proc/{pid}/cmdline")
    wait_until(lambda: b"wait_for_ever" in title.read_bytes(), "the call has begun")
    if freeze:
        os.kill(pid, signal.SIGSTOP)
    waiter = threading.Thread(target=gather, args=({3: call}, 500, "wait_for_ever"), daemon=True)
    with caplog.at_level(logging.WARNING, logger="launch.watchdog"):
        watchdog = Watchdog(1.0)
        waiter.start()
        wait_until(lambda: stack in caplog.text, "the actor's stack is in the log")
        watchdog.close()
    assert "engine 3 is in wait_for_ever for " in caplog.text
    assert f"ray::Stuck.wait_for_ever, process {pid}" in caplog.text
    assert "rollout/actors.py" in capfd.readouterr().err, "the driver's own stack"
    os.kill(pid, signal.SIGKILL)
    waiter.join(timeout=120)
    assert waits() == []


def test_nobody_waits_and_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = Watchdog(0.01)
    watchdog._end.wait(0.5)
    watchdog.close()
    assert caplog.text == ""
