"""The ports of a learner's first rank: one that is kept for its ranks, one that vLLM binds."""

from __future__ import annotations

import socket

import pytest

from configs.schema import RunConfig
from trainer import learner_group
from trainer.learner_group import LearnerActor
from trainer.learner_spec import LearnerSpec


@pytest.fixture
def actor(monkeypatch: pytest.MonkeyPatch) -> LearnerActor:
    monkeypatch.setattr(learner_group, "listen", lambda: None)
    monkeypatch.setattr(learner_group.ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    return LearnerActor(LearnerSpec(RunConfig(), 0, 1, ()))


def test_nobody_else_gets_the_port_at_which_the_ranks_meet(actor: LearnerActor):
    address = actor.open_meeting()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(address)


def test_the_port_of_the_weight_transport_is_free(actor: LearnerActor):
    actor.open_meeting()
    with socket.socket() as transport:
        transport.bind(actor.free_address())
        transport.listen()
