"""What answers cost: tokens, throughput of the batch, latency of a single request."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from data.files import Row
from data.records import Prompt
from evaluation.answers import Generator

Item = TypeVar("Item")


def token_metrics(rows: Sequence[Row]) -> dict[str, float]:
    """Return the lengths of greedy answers.

    Args:
        rows: At least one, with `completion_tokens`, `prompt_tokens` and `finish_reason`.

    Returns:
        `completion_tokens_mean`, `_p50`, `_p95` (linear interpolation) and `_max`,
        `truncated_frac` and `prompt_tokens_mean` (audio tokens included).
    """
    lengths = [row["completion_tokens"] for row in rows]
    p50, p95 = np.percentile(lengths, [50, 95])
    return {
        "completion_tokens_mean": float(np.mean(lengths)),
        "completion_tokens_p50": float(p50),
        "completion_tokens_p95": float(p95),
        "completion_tokens_max": float(max(lengths)),
        "truncated_frac": sum(row["finish_reason"] == "length" for row in rows) / len(rows),
        "prompt_tokens_mean": float(np.mean([row["prompt_tokens"] for row in rows])),
    }


def throughput_metrics(rows: Sequence[Row], elapsed_s: float) -> dict[str, float]:
    """Return clips and completion tokens per second of a batch.

    Args:
        rows: The batch.
        elapsed_s: From its first request to its last answer.
    """
    num_tokens = sum(row["completion_tokens"] for row in rows)
    return {
        "clips_per_s": len(rows) / elapsed_s,
        "completion_tokens_per_s": num_tokens / elapsed_s,
    }


def latency_metrics(
    engines: Generator,
    prompts: Sequence[Prompt],
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Ask about one clip at a time and return how long the whole answer takes.

    The first prompt warms up and is not counted. Features are computed before; nothing of the
    counted clips may lie in the engines' caches.

    Args:
        engines: Started.
        prompts: At least two.
        clock: Seconds.

    Returns:
        `p50_s`, `p95_s` (linear interpolation) and `clips`.
    """
    elapsed: list[float] = []
    for prompt in prompts:
        start = clock()
        for _ in engines.generate([prompt], greedy=True, num_completions=1):
            pass
        elapsed.append(clock() - start)
    p50, p95 = np.percentile(elapsed[1:], [50, 95])
    return {"p50_s": float(p50), "p95_s": float(p95), "clips": float(len(elapsed) - 1)}


def evenly_spaced(items: Sequence[Item], num: int) -> list[Item]:
    """Return `num` items, or all if there are fewer, evenly over their order."""
    places = np.linspace(0, len(items) - 1, min(num, len(items))).round().astype(int)
    return [items[place] for place in places]
