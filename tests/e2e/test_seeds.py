"""A prompt's completions depend on its seed, and not on who samples them or beside what."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import ray

from configs.load import load_config
from data.prompts import PromptBuilder, prompt_function
from data.records import Group, Prompt
from data.splits import read_data
from launch.cluster import connect, place
from rollout.engine import CPU_PREFILL_TOKENS, EngineSpec
from rollout.pool import EnginePool
from tests.e2e.command import RunFiles

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

Pools = tuple[EnginePool, EnginePool, list[Prompt]]


@pytest.fixture(scope="module")
def pools(finished_run: RunFiles) -> Iterator[Pools]:
    """Return one engine, two engines, and five prompts."""
    overrides = [f"model.path={finished_run.root / 'export'}", "rollout.cpu_threads=1"]
    config = load_config(finished_run.root / "config.yaml", overrides)
    connect(config)
    builder = PromptBuilder(config.model.path, config.data)
    build = prompt_function(builder, config.data, ray.put)
    prompts = [build(row) for row in read_data(config).train[:5]]
    options = place(config).engines
    one, two = (EnginePool(EngineSpec.of(config, builder), options * n) for n in (1, 2))
    one.start()
    two.start()
    yield one, two, prompts
    one.close()
    two.close()
    ray.shutdown()


def by_example(groups: Iterator[Group]) -> dict[str, list[list[int]]]:
    return {g.prompt.example.id: [c.token_ids.tolist() for c in g.completions] for g in groups}


def test_tokens_depend_neither_on_the_engines_nor_on_the_batch(pools: Pools) -> None:
    one, two, prompts = pools
    expected = by_example(one.generate(prompts, seed=3, num_completions=4))
    assert len({tuple(row) for rows in expected.values() for row in rows}) > 10
    assert by_example(two.generate(prompts, seed=3, num_completions=4)) == expected
    # Another order, other neighbours, and one prompt whose completions two engines share.
    some = by_example(one.generate([prompts[3], prompts[1]], seed=3, num_completions=4))
    alone = by_example(two.generate([prompts[3]], seed=3, num_completions=4))
    assert some == {prompt.example.id: expected[prompt.example.id] for prompt in prompts[1:4:2]}
    assert alone == {prompts[3].example.id: expected[prompts[3].example.id]}
    assert by_example(two.generate(prompts, seed=4, num_completions=4)) != expected


def test_more_prompt_tokens_than_an_engine_reads_at_a_time(pools: Pools) -> None:
    one, _, prompts = pools
    many = prompts * 12
    num_tokens = 8 * sum(len(prompt.token_ids) for prompt in many)
    assert num_tokens > 1.2 * CPU_PREFILL_TOKENS
    expected = by_example(one.generate(prompts, seed=3, num_completions=8))
    groups = list(one.generate(many, seed=3, num_completions=8))
    assert len(groups) == len(many)
    # The first of the repeats of each example has the seeds of a call without repeats.
    for prompt in prompts:
        of_prompt = [g for g in groups if g.prompt.example.id == prompt.example.id]
        tokens = [[c.token_ids.tolist() for c in group.completions] for group in of_prompt]
        assert expected[prompt.example.id] in tokens
        assert len({str(rows) for rows in tokens}) == 12
