"""How the completions of a call are spread over engines, and their seeds."""

from __future__ import annotations

from rollout.plan import balanced_shares, cost, plan_requests


def seeds(ids: list[str], num_engines: int, seed: int = 7) -> dict[tuple[int, int], int]:
    """(prompt, completion) -> seed, for groups of 8."""
    return {
        (part.position, part.first + i): part.seed + i
        for part in plan_requests(ids, 8, num_engines, seed)
        for i in range(part.num_completions)
    }


def test_prompts_stay_whole_while_there_are_enough_of_them() -> None:
    parts = plan_requests(["a", "b", "c"], 8, num_engines=3, seed=0)
    assert [(p.position, p.first, p.num_completions) for p in parts] == [
        (0, 0, 8),
        (1, 0, 8),
        (2, 0, 8),
    ]


def test_prompts_that_are_left_over_are_shared_out() -> None:
    parts = plan_requests([str(n) for n in range(10)], 8, num_engines=4, seed=0)
    assert [p.num_completions for p in parts] == [8] * 8 + [4] * 4
    assert [(p.position, p.first) for p in parts[8:]] == [(8, 0), (8, 4), (9, 0), (9, 4)]


def test_engines_get_equally_many_completions_whatever_the_prompts_are() -> None:
    # One clip of 30 s among short ones: by prompt tokens alone it would have an engine to itself.
    lengths = [800, *[50] * 9]
    parts = plan_requests([str(n) for n in range(10)], 8, num_engines=4, seed=0)
    costs = [cost(part, lengths[part.position], max_completion_tokens=512) for part in parts]
    assert costs[0] == 800 + 8 * 512
    shares = balanced_shares(costs, 4)
    assert [sum(parts[i].num_completions for i in share) for share in shares] == [20] * 4
    assert shares[0][0] == 0, "the longest first"


def test_more_engines_than_prompts_share_a_prompt() -> None:
    parts = plan_requests(["a", "b"], 8, num_engines=6, seed=0)
    assert [(p.position, p.first, p.num_completions) for p in parts] == [
        *[(0, 0, 3), (0, 3, 3), (0, 6, 2)],
        *[(1, 0, 3), (1, 3, 3), (1, 6, 2)],
    ]
    # Never more parts than completions.
    assert len(plan_requests(["a"], 2, num_engines=5, seed=0)) == 2


def test_seeds_depend_neither_on_the_engines_nor_on_the_other_prompts() -> None:
    alone = seeds(["b"], num_engines=1)
    for num_engines in (1, 2, 5, 16):
        many = seeds(["a", "b", "c"], num_engines)
        assert [many[1, i] for i in range(8)] == [alone[0, i] for i in range(8)]
        assert len(set(many.values())) == 24


def test_seeds_differ_between_calls_and_between_repeats_of_an_example() -> None:
    twice = seeds(["a", "a"], num_engines=1)
    assert len(set(twice.values())) == 16
    assert not set(twice.values()) & set(seeds(["a"], num_engines=1, seed=8).values())
    assert all(0 <= value < 2**63 for value in twice.values())


def test_the_largest_row_goes_to_the_rank_with_the_least_work():
    assert balanced_shares([7, 5, 4, 3, 1], num_engines=2) == [[0, 3], [1, 2, 4]]
    assert balanced_shares([1, 9], num_engines=3) == [[1], [0], []]
