"""What an engine makes of vLLM's outputs, without vLLM."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from configs.schema import RolloutConfig
from rollout.engine import RolloutEngine
from tests.unit.make_groups import make_group

WHOLE = "<think>loud</think><answer>angry</answer>   "
END = 2


@dataclass
class Output:
    """One completion, as vLLM gives it."""

    index: int
    finish_reason: str
    token_ids: list[int]
    logprobs: list[dict[int, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.logprobs = [{token: SimpleNamespace(logprob=-1.0)} for token in self.token_ids]


@pytest.mark.parametrize("allowed", [False, True])
def test_a_completion_that_never_ends_is_well_formed_only_where_that_is_allowed(allowed: bool):
    engine = RolloutEngine.__new__(RolloutEngine)
    rollout = RolloutConfig(allow_truncated=allowed)
    engine._spec = SimpleNamespace(end_token_id=END, rollout=rollout)  # type: ignore[assignment]
    engine._tokenizer = SimpleNamespace(batch_decode=lambda rows: [WHOLE] * len(rows))
    prompt = make_group([""]).prompt
    outputs = [Output(1, "stop", [7, END]), Output(0, "length", [7, 8])]
    found = engine._completions(
        prompt, SimpleNamespace(prompt_token_ids=np.arange(4), outputs=outputs), 3
    )
    assert {completion.policy_version for completion in found} == {3}
    assert [completion.finish_reason for completion in found] == ["length", "stop"]
    assert [completion.parsed.well_formed for completion in found] == [allowed, True]
    assert found[0].parsed.reason == ("ok" if allowed else "truncated")
