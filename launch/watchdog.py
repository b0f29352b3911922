"""Says who waits in which call, with everyone's stacks, once an answer is long overdue."""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
import time

from rollout.actors import Wait, waits
from rollout.stacks import all_stacks

logger = logging.getLogger(__name__)


class Watchdog:
    """A thread of the driver; it only speaks, and leaves the end of a wait to its deadline.

    Args:
        limit_s: see `log.stall_s`.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._end = threading.Event()
        self._said: set[Wait] = set()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(self._limit_s / 4):
            overdue = [w for w in waits() if time.monotonic() - w.since > self._limit_s]
            if any(wait not in self._said for wait in overdue):
                self._said |= set(overdue)
                self._speak(overdue)

    def _speak(self, overdue: list[Wait]) -> None:
        now = time.monotonic()
        who = "; ".join(f"{w.member} is in {w.call} for {now - w.since:.0f} s" for w in overdue)
        logger.warning(f"no answer for long: {who}. Stacks of the driver and all actors follow")
        sys.stdout.flush()
        faulthandler.dump_traceback(file=sys.__stderr__ or sys.stderr, all_threads=True)
        for title, text in all_stacks().items():
            logger.warning(f"{title}:\n{text}")

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()
