"""Actors in the place of engines and ranks; light, since every process of theirs imports them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import ray

from tests.unit.make_groups import make_group


class Engine:
    """An engine's calls; each of them goes the way that the engine is built for."""

    def __init__(self, way: str) -> None:
        self.way = way
        if way == "no start":
            raise MemoryError("no room for the cache")

    def ping(self) -> int:
        if self.way == "raises":
            raise ValueError("one thing\n  and another")
        if self.way == "dies":
            os._exit(1)
        return 0

    def stream(self, requests: Any, greedy: bool) -> Iterator[list[Any]]:
        self.ping()
        yield [
            (place, make_group(["a"] * request.num_completions).completions)
            for place, request in enumerate(requests)
        ]


class Caller:
    """An actor that calls another one, as learner rank 0 calls the engines of a weight sync."""

    def ping(self, engine: Any) -> int:
        return ray.get(engine.ping.remote())
