"""Constant reward weights."""

from __future__ import annotations

import pytest

from rewards.schedule import Schedule
from tests.unit.make_groups import make_scored

WEIGHTS = {"format": 0.3, "accuracy": 1.0, "reasoning": 0.0}


def test_weights_are_constant_and_keep_terms_of_weight_zero():
    schedule = Schedule(WEIGHTS)
    schedule.observe([make_scored([1.3, 0.3])])
    assert schedule.weights() == {"format": 0.3, "accuracy": 1.0, "reasoning": 0.0}


def test_callers_cannot_change_the_weights():
    given = dict(WEIGHTS)
    schedule = Schedule(given)
    given["format"] = 9.0
    schedule.weights()["accuracy"] = 9.0
    assert schedule.weights() == WEIGHTS


def test_state_survives_a_round_trip_and_a_stranger_is_refused():
    schedule = Schedule(WEIGHTS)
    schedule.load_state_dict(Schedule(WEIGHTS).state_dict())
    assert schedule.weights() == WEIGHTS
    with pytest.raises(ValueError, match="gate"):
        schedule.load_state_dict({"gate": True})
