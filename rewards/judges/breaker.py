"""Stops asking a server that is down, and asks again once in a while."""

from __future__ import annotations

import threading
from collections.abc import Callable


class CircuitBreaker:
    """Opens after so many failures in a row; then one probe at a time, until one succeeds.

    Every call that was allowed must be recorded. Threads may share it.
    """

    def __init__(self, failures: int, cooldown_s: float, clock: Callable[[], float]) -> None:
        """Start closed.

        Args:
            failures: Failures in a row that open it, at least 1.
            cooldown_s: Seconds from a failure to the next probe while it is open.
            clock: Monotonic time in seconds.
        """
        self._failures = failures
        self._cooldown_s = cooldown_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._next_probe = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether calls are held back now."""
        return self._in_a_row >= self._failures

    def allows(self) -> bool:
        """Return whether a call may be made; while open, True for one probe at a time."""
        with self._lock:
            if not self.is_open:
                return True
            if self._probing or self._clock() < self._next_probe:
                return False
            self._probing = True
            return True

    def record(self, success: bool) -> None:
        """Take note of how a call ended."""
        with self._lock:
            self._probing = False
            if success:
                self._in_a_row = 0
                return
            self._in_a_row += 1
            if self.is_open:
                self._next_probe = self._clock() + self._cooldown_s
