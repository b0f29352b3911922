"""Where a step's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class StepClock:
    """Splits one loop step into named parts, in seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._parts: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """Count the time since the last lap (or the start) as `part`."""
        now = time.perf_counter()
        self._parts[part] = self._parts.get(part, 0.0) + now - self._last
        self._last = now

    def until_exhausted(self, part: str, items: Iterable[T]) -> Iterator[T]:
        """Pass items through; the time until the last one came counts as `part`.

        What a consumer does between items is part of it: it overlaps with the producer.
        """
        yield from items
        self.lap(part)

    def seconds(self, part: str) -> float:
        """Return the time of a part so far."""
        return self._parts.get(part, 0.0)

    def metrics(self) -> dict[str, float]:
        """Return `time/PART_s` of every part and `time/step_s` since the start."""
        parts = {f"time/{part}_s": seconds for part, seconds in self._parts.items()}
        return parts | {"time/step_s": time.perf_counter() - self._start}
