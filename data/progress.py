"""Lines of progress for whoever waits for many clips."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)

FIRST_REPORT_S, MAX_REPORT_S = 2.0, 30.0
"""When the first line comes, and how far apart two lines are at most."""

Item = TypeVar("Item")


def reported(items: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    """Pass the items on, with a line now and then.

    Args:
        items: What is waited for.
        total: How many they are.
        text: The line, with two places: how many there are so far, and how many there will be.
    """
    start = time.monotonic()
    due = FIRST_REPORT_S
    for number, item in enumerate(items, start=1):
        elapsed = time.monotonic() - start
        if elapsed >= due:
            logger.info(f"{text.format(number, total)}, {number / elapsed:.0f} a second")
            due = elapsed + min(max(elapsed / 2, FIRST_REPORT_S), MAX_REPORT_S)
        yield item
