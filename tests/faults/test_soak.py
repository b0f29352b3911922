"""The plan of a soak and the sums of its report; the soak itself is a command."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.faults.soak_faults import EVIDENCE, not_fired
from tests.faults.soak_plan import KINDS, Fault, checkpoint_period, make_plan
from tests.faults.soak_report import growths, order_problems, slope_growth


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("steps", [12, 37, 100, 200, 1000])
def test_each_fault_has_healed_before_the_next(seed: int, steps: int):
    plan = make_plan(seed, steps)
    assert plan and plan[0].step >= 1
    for fault, after in pairwise(plan):
        assert fault.until <= after.step
    # Room for the turn of a broken clip, and for a step after that.
    assert plan[-1].step + 3 < steps
    for fault in plan:
        window = range(fault.step + 1, fault.until)
        assert any(step % checkpoint_period(steps) == 0 for step in window)


def test_the_plan_follows_from_seed_and_steps():
    assert make_plan(0, 12) == [
        Fault(2, "judge answers 503", until=4),
        Fault(5, "clip poisoned", until=7),
    ]
    assert make_plan(0, 200) == make_plan(0, 200) != make_plan(1, 200)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_comes_before_any_comes_twice(seed: int):
    counts = Counter(fault.kind for fault in make_plan(seed, 200))
    assert counts.keys() == set(KINDS) == EVIDENCE.keys()
    assert sum(counts.values()) == 16 and max(counts.values()) == 2


EXPECTED = [(1, "a"), (1, "b"), (2, "c"), (2, "d"), (3, "a"), (3, "c")]


def test_a_run_may_pass_over_broken_clips_alone():
    ours = [(1, "a"), (1, "b"), (2, "d"), (2, "a"), (3, "b"), (3, "d")]
    assert order_problems(EXPECTED, EXPECTED, {}) == []
    assert order_problems(EXPECTED, ours, {"c": 1}) == []
    # It was broken only after its first turn, so that its first turn was to come.
    assert order_problems(EXPECTED, ours, {"c": 2}) == ["step 2: d where c was to come"]
    assert order_problems(EXPECTED, ours, {"b": 0, "c": 1}) == []


def test_a_prompt_that_is_lost_doubled_or_swapped_is_seen():
    lost = EXPECTED[:3] + EXPECTED[4:]
    assert order_problems(EXPECTED, lost, {}) == ["step 3: a where d was to come"]
    doubled = [*EXPECTED[:2], (2, "b"), *EXPECTED[2:]]
    assert order_problems(EXPECTED, doubled, {}) == ["step 2: b where c was to come"]
    longer = [*EXPECTED, (3, "d")]
    assert order_problems(EXPECTED, longer, {}) == [
        "1 prompts more than the undisturbed run has, 0 expected"
    ]


def test_growth_is_that_of_the_last_half_of_each_life():
    assert slope_growth([5.0, 5.0, 5.0]) == 0
    assert slope_growth([1.0, 2.0, 3.0, 4.0]) == pytest.approx(3)
    # Process 1 grows by 1 MiB a step in its first half and stays; 2 leaks a file a step.
    memory = [(s, "engine", 1, min(s, 20.0), 100.0, 30) for s in range(40)]
    memory += [(s, "engine", 2, 7.0, 100.0, 30 + s) for s in range(40, 80)]
    memory += [(s, "engine", 3, 10.0 * s, 100.0, 30) for s in range(39)]  # too short
    (growth,) = growths(memory)
    assert (growth.role, growth.lives) == ("engine", 2)
    assert growth.private_growth == pytest.approx(0)
    assert growth.files_growth == pytest.approx(19)


def test_a_fault_without_a_trace_is_none():
    metrics = [{"step": 4, "judge/reasoning_missing_frac": 0.5}, {"step": 9}]
    output = b"engine 0 died: x; another takes its place\nmore\n"
    fired = [
        {"step": 3, "kind": "engine killed", "from": 0},
        {"step": 3, "kind": "engine killed", "from": 20},
        {"step": 3, "kind": "judge hangs", "from": 0, "refused": 5},
        {"step": 3, "kind": "judge hangs", "from": 0, "refused": 0},
        {"step": 7, "kind": "judge answers 503", "from": 0, "refused": 5},
    ]
    assert not_fired(fired, output, metrics) == [
        "after step 3, engine killed: no sign of it",
        "after step 3, judge hangs: no sign of it",
        "after step 7, judge answers 503: no sign of it",
    ]
