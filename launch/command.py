"""What every command shares: exit codes, lines of progress, one line for a mistake."""

from __future__ import annotations

import logging
import sys

EXIT_DONE, EXIT_CONFIG, EXIT_PREFLIGHT, EXIT_FAILED, EXIT_PREEMPTED = 0, 2, 3, 4, 75
"""Done; settings or data; not on this machine; failed; stopped, and the same command goes on."""

ROOMS = (
    "configs",
    "data",
    "rewards",
    "rollout",
    "trainer",
    "evaluation",
    "annotate",
    "report",
    "launch",
    "demo",
)
"""Our packages, whose log lines are shown; of libraries only the warnings are."""


class _Formatter(logging.Formatter):
    """Plain lines for a terminal and for Ray job logs: no colours, no cursor movement."""

    def format(self, record: logging.LogRecord) -> str:
        """Put the local date and time in front, and the level of what is not in order."""
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')}  {level}{super().format(record)}"


def show_log() -> None:
    """Print this process's log lines on stdout from now on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Formatter())
    for room in ROOMS:
        logger = logging.getLogger(room)
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)


def fail(code: int, error: object) -> int:
    """Print an error as one line and return the exit code."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    return code
