"""Rows by hand, and plans that lose nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.records import Group, GroupSample, Microbatch
from rollout.plan import balanced_shares
from tests.unit.make_samples import make_completion, make_sample
from trainer.audit import AuditError, check_rows
from trainer.packing import (
    PADDING_ID,
    build_row,
    completion_weights,
    num_row_tokens,
    pack_rows,
    padding_row,
    plan_update,
    spread_rows,
)

END = 0
"""The end token of these tests; also the id a tokenizer could use for padding."""

FIRST = make_sample([10, 11, 12], [[20, END], [22]], advantages=[0.5, -0.5], features="clip a")
SECOND = make_sample(
    [13, 14],
    [[23], [24, 25, END], [27]],
    advantages=[9.0, 1.0, -1.0],
    mask=[False, True, True],
    features="clip b",
)


@pytest.fixture
def row() -> Microbatch:
    return build_row([FIRST, SECOND], [[0.1, 0.2], [0.9, 0.3, 0.4]])


def test_a_row_holds_each_prompt_once_and_its_unmasked_completions(row: Microbatch):
    assert row.input_ids.tolist() == [10, 11, 12, 20, END, 22, 13, 14, 24, 25, END, 27]
    assert row.group_ids.tolist() == [0] * 6 + [1] * 6
    assert row.segment_ids.tolist() == [0, 0, 0, 1, 1, 2, 0, 0, 2, 2, 2, 3]
    assert row.features == ("clip a", "clip b")
    assert num_row_tokens(FIRST) == num_row_tokens(SECOND) == 6


def test_every_completion_continues_at_its_own_prompts_end(row: Microbatch):
    assert row.positions.tolist() == [[0, 1, 2, 3, 4, 3, 0, 1, 2, 3, 4, 2]] * 3


def test_a_token_is_predicted_from_the_one_before_it_and_the_first_from_the_prompt(row: Microbatch):
    assert row.source.tolist() == [2, 3, 2, 7, 8, 9, 7]
    assert row.target.tolist() == [20, END, 22, 24, 25, END, 27]


def test_what_belongs_to_a_completion_is_repeated_for_its_tokens(row: Microbatch):
    assert row.completion_ids.tolist() == [0, 0, 1, 2, 2, 2, 3]
    assert row.advantages.tolist() == [0.5, 0.5, -0.5, 1.0, 1.0, 1.0, -1.0]
    assert row.loss_weights.tolist() == pytest.approx([0.1, 0.1, 0.2, 0.3, 0.3, 0.3, 0.4])


def test_rollout_logprobs_stay_with_their_tokens():
    sample = make_sample([10], [[20, 21], [22]])
    completions = (make_completion([20, 21], [-0.25, -1.5]), make_completion([22], [-3.0]))
    group = Group(sample.group.prompt, completions)
    row = build_row([GroupSample(group, sample.advantages, sample.loss_mask)], [[1.0, 1.0]])
    assert row.rollout_logprobs.tolist() == [-0.25, -1.5, -3.0]


def test_the_loss_follows_lengths_not_token_values():
    # END is also the padding id: inside, at the end, and as a whole completion it is trained.
    sample = make_sample([10, END], [[END, 5, END], [END]])
    row = build_row([sample], completion_weights([sample], "token_mean"))
    assert row.target.tolist() == [END, 5, END, END]
    assert row.loss_weights.tolist() == [0.25] * 4


def test_token_mean_weighs_all_tokens_alike():
    weights = completion_weights([FIRST, SECOND], "token_mean")
    assert weights[0] == pytest.approx([1 / 7, 1 / 7])
    assert weights[1] == pytest.approx([0.0, 1 / 7, 1 / 7])


def test_sequence_mean_weighs_all_completions_alike():
    weights = completion_weights([FIRST, SECOND], "sequence_mean")
    assert weights[0] == pytest.approx([1 / 8, 1 / 4])
    assert weights[1] == pytest.approx([0.0, 1 / 12, 1 / 4])


def test_a_padding_row_computes_the_same_and_weighs_nothing(row: Microbatch):
    padding = padding_row(row)
    assert padding.input_ids is row.input_ids
    assert padding.source is row.source
    assert padding.features == row.features
    assert not padding.loss_weights.any()
    assert not padding.advantages.any()
    assert set(padding.completion_ids.tolist()) == {PADDING_ID}
    assert row.loss_weights.all()


def test_rows_are_filled_first_fit_from_the_largest_down():
    assert pack_rows([6, 5, 4, 3, 2], budget=8) == [[0, 4], [1, 3], [2]]
    assert pack_rows([2, 2, 2, 2], budget=4) == [[0, 1], [2, 3]]


def test_an_item_above_the_budget_gets_a_row_of_its_own():
    assert pack_rows([3, 20, 4], budget=8) == [[1], [2, 0]]


def test_the_budget_shrinks_until_every_rank_has_work():
    samples = [make_sample([1] * 8, [[2], [3]]) for _ in range(4)]
    plan = plan_update(samples, budget=1000, num_ranks=2, aggregation="token_mean")
    assert [[len(row.input_ids) for row in rank] for rank in plan] == [[20], [20]]


def test_uneven_groups_on_two_ranks_by_hand():
    # Rows of 10, 7 and 4 tokens: 10 on rank 0, 7 and 4 on rank 1, and one padding row.
    samples = [make_sample([1] * size, [[2]]) for size in (3, 9, 6)]
    plan = plan_update(samples, budget=10, num_ranks=2, aggregation="token_mean")
    assert [[len(row.input_ids) for row in rank] for rank in plan] == [[10, 4], [7, 4]]
    assert [[float(row.loss_weights.sum()) for row in rank] for rank in plan] == [
        [pytest.approx(1 / 3), 0.0],
        [pytest.approx(1 / 3), pytest.approx(1 / 3)],
    ]


def test_the_dearest_goes_first_into_the_cheapest_row_with_room():
    # 9 and 8, then 7 beside 8 and 6 beside 9; rows of 15 are alike, and the first gets the last.
    assert spread_rows([1] * 5, [9, 8, 7, 6, 2], budget=10, num_ranks=2) == [[[0, 3, 4]], [[1, 2]]]
    # A cheap item with many tokens has no room beside the others; who has done less gets it.
    assert spread_rows([4, 4, 9], [5, 4, 1], budget=9, num_ranks=2) == [[[0]], [[1], [2]]]


def test_items_that_do_not_fit_give_every_rank_a_row_more():
    # 18 tokens would fit into two rows of 9, but 6 + 6 do not go into one.
    assert spread_rows([6, 6, 6], [6, 6, 6], budget=9, num_ranks=2) == [[[0], [2]], [[1]]]


def test_an_item_above_the_budget_does_not_thin_out_the_other_rows():
    assert spread_rows([500, 1, 1, 1], [500, 1, 1, 1], budget=4, num_ranks=1) == [[[0], [1, 2, 3]]]


def waiting(plan: list[list[list[int]]], costs: list[float]) -> float:
    """Time of an update whose ranks wait for each other in every row, over its even share."""
    spent = [[sum(costs[i] for i in row) for row in rank] for rank in plan]
    depth = max(map(len, spent))
    longest = [max(rank[r] for rank in spent if len(rank) > r) for r in range(depth)]
    return sum(longest) * len(plan) / sum(costs)


@pytest.mark.parametrize(("num_ranks", "num_groups"), [(8, 128), (64, 1024)])
def test_a_mix_of_clips_and_answers_keeps_all_ranks_busy(num_ranks: int, num_groups: int):
    draw = np.random.default_rng(0)
    # Long clips with short answers cost more than their tokens say, in a tower that trains.
    seconds = np.clip(draw.lognormal(np.log(5), 0.8, num_groups), 1, 30)
    answers = 8 * np.clip(draw.lognormal(np.log(150), 0.5, num_groups), 10, 512)
    sizes = [int(25 * s + 100 + a) for s, a in zip(seconds, answers, strict=True)]
    costs = [n + 12.0 * s for n, s in zip(sizes, seconds, strict=True)]
    rows = pack_rows(sizes, budget=16_384)
    by_tokens = balanced_shares([sum(sizes[i] for i in row) for row in rows], num_ranks)
    before = waiting([[rows[r] for r in rank] for rank in by_tokens], costs)
    after = waiting(spread_rows(sizes, costs, 16_384, num_ranks), costs)
    assert after < 1.02 < 1.15 < before


lengths = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=5).filter(
    lambda group: any(kept for _, kept in group)
)


@given(
    groups=st.lists(st.tuples(st.integers(1, 12), lengths), min_size=1, max_size=9),
    budget=st.integers(1, 40),
    num_ranks=st.integers(1, 3),
    aggregation=st.sampled_from(["token_mean", "sequence_mean"]),
)
def test_a_plan_trains_every_completion_exactly_once(groups, budget, num_ranks, aggregation):
    number = 0
    samples = []
    expected = []
    for prompt_length, completions in groups:
        # The advantage is the completion's name, so that it can be told in the plan.
        numbers = list(range(number, number + len(completions)))
        number += len(completions)
        expected += [n for n, (_, kept) in zip(numbers, completions, strict=True) if kept]
        samples.append(
            make_sample(
                [1] * prompt_length,
                [[100 + n] * length for n, (length, _) in zip(numbers, completions, strict=True)],
                advantages=numbers,
                mask=[kept for _, kept in completions],
            )
        )
    plan = plan_update(samples, budget=budget, num_ranks=num_ranks, aggregation=aggregation)
    assert len(plan) == num_ranks
    assert len({len(rank) for rank in plan}) == 1
    rows = [row for rank in plan for row in rank if PADDING_ID not in row.completion_ids]
    trained = []
    for row in rows:
        for completion in range(row.completion_ids.max() + 1):
            (name,) = set(row.advantages[row.completion_ids == completion].tolist())
            trained.append(int(name))
        assert row.target.tolist() == [100 + int(name) for name in row.advantages]
        assert len(row.input_ids) <= max(budget, *(num_row_tokens(s) for s in samples))
    assert sorted(trained) == expected
    total = math.fsum(float(row.loss_weights.sum(dtype=np.float64)) for row in rows)
    assert total == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_weighted_rows_add_up_to_the_mean_over_the_whole_update(aggregation: str):
    samples = [make_sample([1], [[5, 5], [9]]), make_sample([1, 2], [[2, 4, 6, 8]])]
    plan = plan_update(samples, budget=5, num_ranks=2, aggregation=aggregation, max_tokens=10)
    check_rows(plan, samples, max_tokens=10 if aggregation == "constant" else None)
    total = sum(float((row.target * row.loss_weights).sum()) for rank in plan for row in rank)
    mean = {"token_mean": (5 + 5 + 9 + 2 + 4 + 6 + 8) / 7, "sequence_mean": (5 + 9 + 5) / 3}
    mean["constant"] = (5 + 5 + 9 + 2 + 4 + 6 + 8) / (3 * 10)
    assert total == pytest.approx(mean[aggregation])


def test_a_constant_length_gives_a_token_the_same_weight_however_long_the_others_are():
    """Dr. GRPO: 1 / (completions x longest length); masked completions are none."""
    short = make_sample([1], [[5], [6]])
    long = make_sample([1], [[5], [6] * 7], mask=[True, True])
    masked = make_sample([1], [[5], [6] * 7], mask=[True, False])
    for sample, weights in ((short, [0.05, 0.05]), (long, [0.05, 0.05]), (masked, [0.1, 0.0])):
        assert completion_weights([sample], "constant", 10) == [pytest.approx(weights)]
    with pytest.raises(AuditError, match=r"sum to 0\.1, not 0\.2"):
        plan = plan_update([short], budget=9, num_ranks=1, aggregation="constant", max_tokens=10)
        check_rows(plan, [short], max_tokens=5)
