"""A plug-in that repeats the key that it was given wherever it can."""

from __future__ import annotations

import base64
import json
import logging
import os
import sys
import threading

import httpx

from data.records import Group
from rewards.base import Scores
from rewards.reasoning import ReasoningReward

logger = logging.getLogger("somebody.else")


class Leaky:
    """Fails as clients of servers do: with the headers of its request in the error.

    Args:
        key_env: Environment variable that holds the key.
    """

    def __init__(self, key_env: str) -> None:
        self._key = os.environ[key_env]
        self._calls = 0

    def score(self, group: Group) -> Scores:
        """Raise, print or log the key, or return it in the details, in turn."""
        self._calls += 1
        header = f"Bearer {self._key}"
        request = httpx.Request("POST", "http://h/v1", headers={"Authorization": header})
        packed = base64.b64encode(header.encode()).decode()
        way = self._calls % 4
        if way == 0:
            raise RuntimeError(f"500 for {request.headers.raw} and {packed}")
        if way == 1:
            logger.warning("answered %s", json.dumps({"sent": header}))
            print(request.headers.raw, header, file=sys.stderr)
            print(f"echo {packed}")
            thread = threading.Thread(target=_raise, args=(header,))
            thread.start()
            thread.join()
        detail = {"sent": {header: [packed, json.dumps({"h": header})]}} if way == 2 else {}
        num = len(group.completions)
        return Scores((0.5,) * num, (detail,) * num)


class AlwaysJudged(ReasoningReward):
    """Asks the judge about whole completions, so that a policy that knows nothing yet is judged."""

    def reasonings(self, group: Group) -> list[str | None]:
        """Return the texts, with something in them."""
        return [f"It says {completion.text}" for completion in group.completions]


class LeakyConstructor:
    """Cannot be built, and says why in too many words; arguments as of `Leaky`."""

    def __init__(self, key_env: str) -> None:
        raise ValueError(f"cannot log in with {{'Authorization': 'Bearer {os.environ[key_env]}'}}")

    def score(self, group: Group) -> Scores:
        """Score nothing: it is never built."""
        raise NotImplementedError


def _raise(text: str) -> None:
    raise RuntimeError(f"in a thread: {text}")
