"""Tokens, throughput and latency, by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from data.records import Group, Prompt
from evaluation.efficiency import evenly_spaced, latency_metrics, throughput_metrics, token_metrics
from tests.fixtures import make_example


def test_tokens_by_hand():
    rows = [
        {"completion_tokens": n, "prompt_tokens": 10 * n, "finish_reason": reason}
        for n, reason in ((1, "stop"), (2, "stop"), (3, "stop"), (4, "stop"), (10, "length"))
    ]
    assert token_metrics(rows) == pytest.approx(
        {
            "completion_tokens_mean": 4.0,
            "completion_tokens_p50": 3.0,
            # Between the 4th and 5th of 5 values: 0.95 x 4 = 3.8, so 4 + 0.8 x 6.
            "completion_tokens_p95": 8.8,
            "completion_tokens_max": 10.0,
            "truncated_frac": 0.2,
            "prompt_tokens_mean": 40.0,
        }
    )
    assert throughput_metrics(rows, 2.0) == {"clips_per_s": 2.5, "completion_tokens_per_s": 10.0}


class CountingEngines:
    """Lets a clock run: as many seconds as the prompt has tokens."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.batches: list[int] = []

    def generate(
        self, prompts: Sequence[Prompt], *, greedy: bool, num_completions: int
    ) -> Iterator[Group]:
        assert greedy and num_completions == 1
        self.batches.append(len(prompts))
        for prompt in prompts:
            self.now_s += len(prompt.token_ids)
            yield Group(prompt, ())


def test_latency_is_of_one_request_at_a_time_without_the_first():
    engines = CountingEngines()
    prompts = [Prompt(make_example(n), "", np.arange(n), None, 0) for n in (100, 1, 2, 3)]
    found = latency_metrics(engines, prompts, clock=lambda: engines.now_s)
    assert engines.batches == [1, 1, 1, 1]
    assert found == pytest.approx({"p50_s": 2.0, "p95_s": 2.9, "clips": 3.0})


def test_items_evenly_spaced():
    assert evenly_spaced(range(9), 3) == [0, 4, 8]
    assert evenly_spaced(range(2), 5) == [0, 1]
