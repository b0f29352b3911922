"""Where a step's time goes."""

from __future__ import annotations

import time


class StepClock:
    """Splits one loop step into named parts, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._parts: dict[str, float] = {}

    def lap(self, part: str, until: float | None = None) -> None:
        """Count the time since the last lap (or the start) as `part`.

        Args:
            until: an earlier moment at which the part ended, on the clock of `time.perf_counter`;
                what comes after it counts as the next part. Before the last lap it is no time.
        """
        now = time.perf_counter() if until is None else max(until, self._last)
        self._parts[part] = self._parts.get(part, 0.0) + now - self._last
        self._last = now

    def metrics(self) -> dict[str, float]:
        """Return `time/PART_s` of every part and `time/step_s` since the start."""
        parts = {f"time/{part}_s": seconds for part, seconds in self._parts.items()}
        return parts | {"time/step_s": time.perf_counter() - self._start}
