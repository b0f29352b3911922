"""Which actor of a run takes which part of which GPU; arithmetic alone, Ray is asked elsewhere.

A bundle is what must lie on one node: a learner rank, an engine with all its GPUs, a worker of a
judge, or a rank and the engine that shares its GPU.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from configs.schema import RunConfig
from rewards.base import CALIBRATED_TERM

LEARNER_SHARE = 0.6
"""Share of a GPU that a learner rank claims when an engine lives beside it, which claims the rest.
Ray counts these shares, nothing else does."""


class Seat(NamedTuple):
    """One actor's place."""

    role: str
    """`learner`, `engine`, or the name of a reward term."""
    index: int
    gpus: float
    """GPUs that the actor claims."""


class Bundle(NamedTuple):
    """GPUs of one node, and the actors that share them."""

    gpus: float
    seats: tuple[Seat, ...]


def bundles(config: RunConfig, *, learns: bool = True) -> list[Bundle]:
    """Return what a run takes, learner ranks first. On a CPU the seats claim nothing real.

    The workers of every term that claims GPUs start, whatever its weight.

    Args:
        learns: Whether it trains. An evaluation has no learner: its engines have GPUs of their own,
            and of the reward terms it starts the judged ones, if they are asked. What a supervised
            run does without a learner is the calibration of its judge.
    """
    rollout = config.rollout
    ranks = range(config.learner.num_ranks if learns else 0)
    engines = range(rollout.num_engines if config.loss.kind == "policy" else 0)
    if rollout.colocate and learns and engines:
        engine_share = round(1 - LEARNER_SHARE, 3)
        pairs = [
            Bundle(1, (Seat("learner", i, LEARNER_SHARE), Seat("engine", i, engine_share)))
            for i in ranks
        ]
        return [*pairs, *_reward_bundles(config, learns)]
    size = rollout.tensor_parallel
    return [
        *(Bundle(1, (Seat("learner", i, 1),)) for i in ranks),
        *(Bundle(size, (Seat("engine", i, size),)) for i in engines),
        *_reward_bundles(config, learns),
    ]


def _reward_bundles(config: RunConfig, learns: bool) -> Iterator[Bundle]:
    if config.loss.kind != "policy":
        if config.judge.gpus and not learns:
            yield Bundle(config.judge.gpus, (Seat(CALIBRATED_TERM, 0, config.judge.gpus),))
        return
    for term in config.rewards.terms:
        if term.gpus and (learns or (term.judged and config.eval.judged)):
            for i in range(term.workers):
                yield Bundle(term.gpus, (Seat(term.name, i, term.gpus),))


def num_gpus_needed(config: RunConfig, *, learns: bool = True) -> int:
    """Return how many GPUs a run takes, 0 on a CPU; parts of GPUs are summed and rounded up."""
    if config.device == "cpu":
        return 0
    return math.ceil(sum(bundle.gpus for bundle in bundles(config, learns=learns)))


def describe_need(needed: Sequence[Bundle]) -> str:
    """Return the sum of a run's GPUs, such as `4 x learner + 3 x engine of 2 = 10 GPUs`."""
    counts = Counter(
        (" with ".join(seat.role for seat in bundle.seats), bundle.gpus) for bundle in needed
    )
    parts = [
        f"{count} x {roles}" + ("" if gpus == 1 else f" of {gpus:g}")
        for (roles, gpus), count in counts.items()
    ]
    total = math.ceil(sum(bundle.gpus for bundle in needed))
    return f"{' + '.join(parts)} = {total} GPUs"


def misfit(needed: Sequence[Bundle], gpus_of_nodes: Sequence[int]) -> str | None:
    """Return why a run cannot be placed even on an idle cluster, or None."""
    there = _describe_nodes(gpus_of_nodes)
    if sum(bundle.gpus for bundle in needed) > sum(gpus_of_nodes):
        return f"the run takes {describe_need(needed)}, and {there}"
    for size, count in sorted(Counter(bundle.gpus for bundle in needed).items(), reverse=True):
        if size <= 1:
            continue
        room = sum(int(gpus // size) for gpus in gpus_of_nodes)
        if room < count:
            roles = next(bundle.seats[0].role for bundle in needed if bundle.gpus == size)
            return (
                f"{roles} needs {size:g} GPUs of one node, {count} times, and {there}, where there "
                f"is room for {room} ({describe_need(needed)})"
            )
    return None


def _describe_nodes(gpus_of_nodes: Sequence[int]) -> str:
    counts = Counter(gpus for gpus in gpus_of_nodes if gpus)
    if not counts:
        return "there is none"
    nodes = ", ".join(
        f"{count} node{'s' * (count > 1)} of {gpus}" for gpus, count in sorted(counts.items())
    )
    return f"there are {sum(gpus_of_nodes)} ({nodes})"


def assign(needed: Sequence[Bundle], node_of: Sequence[str]) -> list[int]:
    """Deal bundles of the same size out so that neighbours in `needed` lie on the same node.

    Ray fills a placement group as it likes. Ranks of a learner speak to each other at every layer,
    so they should fill one node before they begin the next.

    Args:
        node_of: Node of each reserved bundle, in the order in which they were asked for.

    Returns:
        For each of `needed`, the reserved bundle that it takes.
    """
    taken = [0] * len(needed)
    for kind in dict.fromkeys((bundle.gpus, len(bundle.seats)) for bundle in needed):
        same = [i for i, bundle in enumerate(needed) if (bundle.gpus, len(bundle.seats)) == kind]
        crowd = Counter(node_of[i] for i in same)
        by_node = sorted(same, key=lambda i: (-crowd[node_of[i]], node_of[i], i))
        for place, reserved in zip(same, by_node, strict=True):
            taken[place] = reserved
    return taken
