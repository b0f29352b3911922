"""What single engines sample of a call: which prompts, which of their completions, which seeds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Part(NamedTuple):
    """Neighbouring completions of one group, sampled by one engine."""

    position: int
    """Of the prompt in its call."""
    first: int
    """Number of the first completion in the group."""
    num_completions: int
    seed: int
    """See `SampleRequest`."""


def cost(part: Part, num_prompt_tokens: int, max_completion_tokens: int) -> int:
    """Return the work of a part for the purpose of sharing it out, in tokens.

    How long completions get is not known, so each counts as the longest: engines first get equally
    many completions, and then equally long prompts.
    """
    return num_prompt_tokens + part.num_completions * max_completion_tokens


def plan_requests(
    ids: Sequence[str], num_completions: int, num_engines: int, seed: int
) -> list[Part]:
    """Split the completions of a call into what single engines sample.

    A prompt stays whole, since its clip is then encoded once. Those that are left when every engine
    has equally many (all, with fewer prompts than engines) are shared out, completion by
    completion: 10 prompts of 8 on 4 engines are 20 completions for each instead of 24 for two.

    Args:
        ids: of the example of each prompt; an id may occur more than once.
        num_completions: G.

    Returns:
        The parts, prompt by prompt. The seed of a completion follows from the call's seed, the
        example and the completion's number, and neither from the split nor from the other prompts.
    """
    parts = []
    num_left = len(ids) % num_engines
    occurrences: Counter[str] = Counter()
    for position, example_id in enumerate(ids):
        digest = hashlib.sha256(f"{seed} {occurrences[example_id]} {example_id}".encode()).digest()
        occurrences[example_id] += 1
        # 62 bits: the number of a completion is added, and vLLM keeps seeds in 63.
        base = int.from_bytes(digest[:8], "big") >> 2
        is_left = position >= len(ids) - num_left
        num_parts = min(num_completions, -(-num_engines // num_left)) if is_left else 1
        for chunk in np.array_split(np.arange(num_completions), num_parts):
            first = int(chunk[0])
            parts.append(Part(position, first, len(chunk), base + first))
    return parts


def balanced_shares(costs: Sequence[int], num_engines: int) -> list[list[int]]:
    """Give parts to engines, the largest first, each to the engine with the least work so far.

    Args:
        costs: of each part, as `cost` counts them.

    Returns:
        The part numbers of each engine. Engines may differ in their number of parts.
    """
    shares: list[list[int]] = [[] for _ in range(num_engines)]
    load = [0] * num_engines
    for part in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        engine = min(range(num_engines), key=lambda e: (load[e], e))
        shares[engine].append(part)
        load[engine] += costs[part]
    return shares
