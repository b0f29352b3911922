"""When the loop does what has a period of its own."""

from __future__ import annotations

from trainer.loop import is_due


def test_what_has_a_period_is_due_on_it_and_at_the_end():
    assert [step for step in range(1, 8) if is_due(step, 3, 7)] == [3, 6, 7]


def test_a_period_of_zero_is_never_due_so_the_last_checkpoint_can_be_switched_off():
    assert not any(is_due(step, 0, 7) for step in range(1, 8))
