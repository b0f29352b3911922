"""The base of all errors that a person can mend."""

from __future__ import annotations

from collections.abc import Sequence

MAX_LISTED = 20
"""Problems that one message lists."""


class UserError(ValueError):
    """Settings, data or a folder that cannot be used: the message says what, where and what to do.

    Commands print it as one line and end with exit code 2; any other error is one of ours.
    """


def first_of(problems: Sequence[str]) -> str:
    """Return the first `MAX_LISTED` problems, one a line; the rest is counted."""
    more = len(problems) - MAX_LISTED
    return "\n".join([*problems[:MAX_LISTED], *([f"... and {more} more"] if more > 0 else [])])
