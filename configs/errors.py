"""The base of all errors that a person can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Settings, data or a folder that cannot be used: the message says what, where and what to do.

    Commands print it as one line and end with exit code 2; any other error is one of ours.
    """
