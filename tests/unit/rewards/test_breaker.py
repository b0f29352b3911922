"""The circuit breaker, on a clock of the test's own."""

from __future__ import annotations

from rewards.judges.breaker import CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def opened() -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    breaker = CircuitBreaker(3, 10.0, clock)
    for _ in range(3):
        assert breaker.allows()
        breaker.record(success=False)
    return breaker, clock


def test_it_opens_after_failures_in_a_row():
    breaker, _ = opened()
    assert breaker.is_open and not breaker.allows()


def test_a_success_in_between_starts_the_count_anew():
    breaker = CircuitBreaker(3, 10.0, Clock())
    for success in (False, False, True, False, False):
        breaker.record(success)
    assert breaker.allows()


def test_one_probe_at_a_time():
    breaker, clock = opened()
    clock.now += 9.9
    assert not breaker.allows()
    clock.now += 0.1
    assert breaker.allows()
    clock.now += 60
    assert not breaker.allows()  # the probe is under way, however long it takes
    breaker.record(success=False)
    clock.now += 9.9
    assert not breaker.allows()
    clock.now += 0.2
    assert breaker.allows()


def test_a_good_probe_closes_it():
    breaker, clock = opened()
    clock.now += 10
    assert breaker.allows()
    breaker.record(success=True)
    assert not breaker.is_open
    assert all(breaker.allows() for _ in range(5))
