"""A learner rank that dies or freezes in an update: who, in bounded time."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

import trainer.learner_group
from configs.schema import LearnerConfig, RunConfig
from rollout.actors import LostActorError
from tests.faults.stand_ins import Rank
from trainer.learner_group import LearnerGroup, RankLostError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TIMEOUT_S = 8.0


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Iterator[LearnerGroup]:
    """Return two ranks without a model."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    monkeypatch.setattr(trainer.learner_group, "LearnerActor", Rank)
    monkeypatch.setattr(trainer.learner_group, "LearnerSpec", lambda config, rank, *rest: rank)
    config = RunConfig(device="cpu", learner=LearnerConfig(num_ranks=2, timeout_s=60.0))
    group = LearnerGroup(
        config, forbidden_token_ids=(), actor_options=[{"num_cpus": 0}, {"num_cpus": 0}]
    )
    yield group
    ray.shutdown()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        pytest.param(
            signal.SIGKILL,
            "trial step: learner rank 1 died",
            id="killed",
            marks=pytest.mark.fault(
                "a learner rank is killed in an update",
                happens="exit 4 within seconds, or train.max_restarts; the rank is named, not the "
                "peer that first felt it, and the last good checkpoint",
                lost="steps since the last checkpoint",
            ),
        ),
        pytest.param(
            signal.SIGSTOP,
            r"trial step: no answer from learner ranks \[0, 1\] in 8 s",
            id="frozen",
            marks=pytest.mark.fault(
                "a learner rank freezes in an update",
                happens="exit 4 after learner.timeout_s, or train.max_restarts",
                lost="steps since the last checkpoint",
            ),
        ),
    ],
)
def test_a_rank_is_lost(
    ranks: LearnerGroup,
    tmp_path: Path,
    number: signal.Signals,
    message: str,
    noticed: Callable[[float], None],
) -> None:
    _, victim = ranks._all("ping")
    ranks._config.learner.timeout_s = TIMEOUT_S
    felt = tmp_path / "felt"

    def strike() -> None:
        time.sleep(1.0)
        os.kill(victim, number)
        if number == signal.SIGKILL:
            felt.touch()

    striker = threading.Thread(target=strike)
    striker.start()
    start = time.monotonic()
    trial: Callable[..., float] = ranks.trial
    with pytest.raises(RankLostError, match=message) as caught:
        trial(felt)
    striker.join()
    assert isinstance(caught.value, LostActorError), "the command may start again"
    noticed(time.monotonic() - start)
    assert time.monotonic() - start < 2 * TIMEOUT_S
    os.kill(victim, signal.SIGKILL) if number == signal.SIGSTOP else None
