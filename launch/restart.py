"""When a run that failed starts again by itself, and how: as a new program in the same process."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

logger = logging.getLogger(__name__)

VARIABLE = "RUN_RESTARTS"
"""Environment variable that tells a restarted command of its former lives."""


class Restarts(NamedTuple):
    """How often a command has started again, and why the last time."""

    number: int = 0
    """Restarts so far."""
    charged: int = 0
    """The same, with those that had made no progress counted twice."""
    checkpoint_step: int = -1
    """Step of the newest good checkpoint at the last restart; -1 without one."""
    reason: str = ""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Restarts:
        """Return those that led to a process with this environment."""
        text = environment.get(VARIABLE)
        return cls(*json.loads(text)) if text else cls()

    def next(self, limit: int, checkpoint_step: int, reason: str) -> Restarts | None:
        """Return the restarts with one more, or None if that would be too many.

        A restart after which no new checkpoint came counts double: the run fails faster than it
        saves, and would start again for ever.

        Args:
            limit: see `train.max_restarts`.
            checkpoint_step: step of the newest good checkpoint now; -1 without one.
        """
        got_nowhere = self.number > 0 and checkpoint_step <= self.checkpoint_step
        charged = self.charged + (2 if got_nowhere else 1)
        if charged > limit:
            return None
        return Restarts(self.number + 1, charged, checkpoint_step, reason)


def start_again(restarts: Restarts, environment: Mapping[str, str]) -> NoReturn:
    """Replace this program by a new one with the same command line.

    Nothing of the failed run is left: no thread, no connection, no half-built actor. The process,
    and with it the id that a scheduler or shell knows, stays; locks are freed by the kernel.

    Args:
        environment: this process's at its start; libraries have changed it since.
    """
    import ray

    ray.shutdown()  # ends our own cluster, or on another one this job's actors
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    program = [sys.executable, *sys.orig_argv[1:]]
    os.execve(sys.executable, program, {**environment, VARIABLE: json.dumps(restarts)})
