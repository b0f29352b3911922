"""Courses of the reward weights, and the gate."""

from __future__ import annotations

import json
import math

import pytest

from configs.schema import RewardTermConfig, TermScheduleConfig
from data.records import RewardTerms, ScoredGroup
from rewards.schedule import Schedule
from tests.unit.make_groups import make_group

GATE = TermScheduleConfig(
    kind="gate", threshold=0.5, ema_decay=0.5, window=2, flatness=0.1, min_steps=3
)


def schedule_of(course: TermScheduleConfig, weight: float = 0.5) -> Schedule:
    terms = [
        RewardTermConfig(name="accuracy", weight=1.0),
        RewardTermConfig(name="reasoning", weight=weight, schedule=course),
    ]
    return Schedule(terms, outcome="accuracy")


def step_with(accuracy: float) -> list[ScoredGroup]:
    """A step of ten completions with this share of right ones."""
    values = tuple(float(i < round(10 * accuracy)) for i in range(10))
    group = make_group([""] * 10)
    return [ScoredGroup(group, RewardTerms({"accuracy": values}), {}, 1.0, values)]


def course_of(course: TermScheduleConfig, num_steps: int) -> list[float]:
    """The reasoning weight of each of the first steps."""
    schedule = schedule_of(course, weight=1.0)
    found = []
    for _ in range(num_steps):
        found.append(schedule.weights()["reasoning"])
        schedule.observe(step_with(0.0))
    return found


def gate_of(course: TermScheduleConfig, accuracies: list[float]) -> list[float]:
    """The reasoning weight of each step, and of the one after the last."""
    schedule = schedule_of(course)
    found = [schedule.weights()["reasoning"]]
    for accuracy in accuracies:
        schedule.observe(step_with(accuracy))
        found.append(schedule.weights()["reasoning"])
    return found


def test_courses_by_hand():
    def with_kind(kind: str, **more: float) -> TermScheduleConfig:
        return TermScheduleConfig(kind=kind, num_steps=4, **more)  # type: ignore[arg-type]

    assert course_of(TermScheduleConfig(), 3) == [1, 1, 1]
    assert course_of(with_kind("linear"), 6) == [1, 0.75, 0.5, 0.25, 0, 0]
    rise = with_kind("linear", begin_step=2, start_frac=0.2, end_frac=1.0)
    assert course_of(rise, 8) == pytest.approx([0.2, 0.2, 0.2, 0.4, 0.6, 0.8, 1, 1])
    half = math.sqrt(0.5)
    assert course_of(with_kind("cosine"), 6) == pytest.approx(
        [1, 0.5 + half / 2, 0.5, 0.5 - half / 2, 0, 0]
    )
    decay = course_of(with_kind("exponential"), 9)
    assert decay == pytest.approx([math.exp(-step / 4) for step in range(9)])
    floor = course_of(with_kind("exponential", end_frac=0.5), 9)
    assert floor == pytest.approx([0.5 + 0.5 * math.exp(-step / 4) for step in range(9)])


def test_weights_of_other_terms_stay():
    schedule = schedule_of(GATE)
    assert schedule.weights() == {"accuracy": 1.0, "reasoning": 0.0}
    schedule.weights()["accuracy"] = 9.0
    assert schedule.weights()["accuracy"] == 1.0


def test_the_gate_opens_once_accuracy_is_high_and_flat():
    # Moving averages: 0.6, 0.6, 0.6; with a window of 2 the third one makes three equal values.
    assert gate_of(GATE, [0.6, 0.6, 0.6]) == [0, 0, 0, 0.5]


def test_a_high_accuracy_alone_does_not_open_it():
    # Averages 0.2, 0.6, 0.8, 0.9, 0.95: above the threshold from the second on, but rising by more
    # than 0.1 within two steps until 0.8, 0.9, 0.95 (0.15) and 0.9, 0.95, 0.975 (0.075).
    accuracies = [0.2, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert gate_of(GATE, accuracies) == [0, 0, 0, 0, 0, 0, 0.5]


def test_a_flat_accuracy_below_the_threshold_does_not_open_it():
    assert gate_of(GATE, [0.4] * 10) == [0] * 11


def test_it_stays_closed_for_the_least_number_of_steps():
    course = TermScheduleConfig(
        kind="gate", threshold=0.5, ema_decay=0.5, window=2, flatness=0.1, min_steps=6
    )
    assert gate_of(course, [0.6] * 7) == [0, 0, 0, 0, 0, 0, 0.5, 0.5]


def test_it_never_closes_again():
    assert gate_of(GATE, [0.6, 0.6, 0.6, 0.0, 0.0, 0.0])[3:] == [0.5] * 4


def test_a_ramp_rises_from_the_step_after_the_opening():
    course = TermScheduleConfig(
        kind="gate", threshold=0.5, ema_decay=0.5, window=2, flatness=0.1, min_steps=3, ramp_steps=4
    )
    assert gate_of(course, [0.6] * 7) == [0, 0, 0, 0.125, 0.25, 0.375, 0.5, 0.5]


def test_its_state_is_a_metric():
    schedule = schedule_of(GATE)
    assert schedule.metrics() == {
        "schedule/accuracy": 1.0,
        "schedule/reasoning": 0.0,
        "gate/reasoning_open": 0.0,
    }
    schedule.observe(step_with(0.2))
    schedule.observe(step_with(0.6))
    assert schedule.metrics() == pytest.approx(
        {
            "schedule/accuracy": 1.0,
            "schedule/reasoning": 0.0,
            "gate/reasoning_open": 0.0,
            "gate/reasoning_accuracy_ema": 0.4,
            "gate/reasoning_accuracy_spread": 0.2,
        }
    )
    for _ in range(9):
        schedule.observe(step_with(0.6))
    found = schedule.metrics()
    assert found["gate/reasoning_open"] == 1.0
    # Averages 0.2, 0.4, 0.5, 0.55, 0.575: within 0.1 over two steps for the first time at step 5.
    assert found["gate/reasoning_opened_at"] == 5


@pytest.mark.parametrize("cut", range(9))
def test_a_resumed_schedule_goes_on_as_if_unbroken(cut: int):
    course = TermScheduleConfig(
        kind="gate", threshold=0.5, ema_decay=0.5, window=2, flatness=0.1, min_steps=3, ramp_steps=3
    )
    accuracies = [0.1, 0.5, 0.6, 0.6, 0.5, 0.6, 0.7, 0.2, 0.6]
    whole = schedule_of(course)
    for accuracy in accuracies[:cut]:
        whole.observe(step_with(accuracy))
    resumed = schedule_of(course)
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for accuracy in accuracies[cut:]:
        assert resumed.weights() == whole.weights()
        assert resumed.metrics() == whole.metrics()
        whole.observe(step_with(accuracy))
        resumed.observe(step_with(accuracy))
    assert resumed.state_dict() == whole.state_dict()
    assert resumed.weights()["reasoning"] > 0


def test_a_resumed_course_goes_on_at_its_step():
    course = TermScheduleConfig(kind="linear", num_steps=4)
    whole = schedule_of(course, weight=1.0)
    whole.observe(step_with(0.5))
    resumed = schedule_of(course, weight=1.0)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.weights()["reasoning"] == 0.75


def test_the_state_of_other_gates_is_refused():
    with pytest.raises(ValueError, match=r"gates of the terms \['reasoning'\]"):
        schedule_of(TermScheduleConfig()).load_state_dict(schedule_of(GATE).state_dict())
    with pytest.raises(ValueError, match=r"the run has gates for \['reasoning'\]"):
        schedule_of(GATE).load_state_dict({})


def test_a_step_without_outcomes_moves_no_average():
    schedule = schedule_of(GATE)
    schedule.observe(step_with(0.6))
    group = make_group([""])
    schedule.observe([ScoredGroup(group, RewardTerms({"accuracy": (None,)}), {}, 1.0, (0.0,))])
    assert schedule.metrics()["gate/reasoning_accuracy_ema"] == 0.6
    assert schedule.state_dict()["step"] == 2
