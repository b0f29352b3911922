"""Who takes which GPU: sums, refusals, and ranks that stay together."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.load import ConfigError, load_config
from configs.schema import RunConfig
from launch.placement import Bundle, Seat, assign, bundles, describe_need, misfit
from launch.preflight import ROOT

CONFIGS = ROOT / "configs"
COLOCATED = ["rollout.colocate=true", "sync.transport=ipc"]


def omni(*overrides: str, name: str = "omni_7b") -> RunConfig:
    return load_config(CONFIGS / f"{name}.yaml", overrides)


def shape(needed: list[Bundle]) -> list[tuple[float, list[str]]]:
    return [(b.gpus, [f"{seat.role} {seat.index}" for seat in b.seats]) for b in needed]


def test_a_split_run_has_a_bundle_for_every_actor() -> None:
    assert shape(bundles(omni("rollout.tensor_parallel=2", "rollout.num_engines=2"))) == [
        *[(1, [f"learner {i}"]) for i in range(4)],
        *[(2, [f"engine {i}"]) for i in range(2)],
        (1, ["reasoning 0"]),
    ]


def test_a_colocated_run_has_a_bundle_for_every_pair() -> None:
    needed = bundles(omni(*COLOCATED, "rollout.num_engines=4"))
    assert shape(needed) == [
        *[(1, [f"learner {i}", f"engine {i}"]) for i in range(4)],
        (1, ["reasoning 0"]),
    ]
    assert all(sum(seat.gpus for seat in b.seats) == b.gpus for b in needed)


def test_a_supervised_run_has_ranks_alone() -> None:
    for name in ("omni_sft_prosody", "omni_sft_cold_start", "omni_judge"):
        config = omni(name=name)
        assert shape(bundles(config)) == [
            (1, [f"learner {i}"]) for i in range(config.learner.num_ranks)
        ]


def test_a_calibration_has_its_judge_alone() -> None:
    judge = omni(name="omni_judge")
    assert shape(bundles(judge, learns=False)) == [(1, ["judge 0"])]
    for name, gpus, expected in (("omni_judge", 0, []), ("omni_sft_cold_start", 0, [])):
        config = omni(f"judge.gpus={gpus}", name=name)
        assert shape(bundles(config, learns=False)) == expected


def test_the_sum_is_told_by_role() -> None:
    needed = bundles(omni("rollout.tensor_parallel=2"))
    assert describe_need(needed) == "4 x learner + 3 x engine of 2 + 1 x reasoning = 11 GPUs"
    pairs = bundles(omni(*COLOCATED, "rollout.num_engines=4"))
    assert describe_need(pairs) == "4 x learner with engine + 1 x reasoning = 5 GPUs"


def test_a_run_that_fits() -> None:
    assert misfit(bundles(omni()), [8]) is None
    assert misfit(bundles(omni()), [4, 4]) is None
    assert misfit(bundles(omni("rollout.tensor_parallel=2")), [5, 6]) is None
    assert misfit([], []) is None


@pytest.mark.parametrize(
    ("overrides", "nodes", "reason"),
    [
        ([], [], "4 x learner + 3 x engine + 1 x reasoning = 8 GPUs, and there is none"),
        ([], [4], "= 8 GPUs, and there are 4 (1 node of 4)"),
        (["learner.num_ranks=8"], [8], "8 x learner + 3 x engine + 1 x reasoning = 12 GPUs"),
        (
            ["rollout.tensor_parallel=4", "rollout.num_engines=1"],
            [3, 3, 3],
            "engine needs 4 GPUs of one node, 1 times, and there are 9 (3 nodes of 3), where there "
            "is room for 0",
        ),
        (
            ["rollout.tensor_parallel=4", "rollout.num_engines=3", "learner.num_ranks=1"],
            [6, 8],
            None,
        ),
        (
            ["rollout.tensor_parallel=4", "rollout.num_engines=3", "learner.num_ranks=1"],
            [7, 7],
            "engine needs 4 GPUs of one node, 3 times, and there are 14 (2 nodes of 7), where "
            "there is room for 2",
        ),
        (
            ["rewards.terms.2.gpus=2", "rewards.terms.2.workers=2"],
            [1] * 12,
            "reasoning needs 2 GPUs of one node, 2 times",
        ),
        ([*COLOCATED, "rollout.num_engines=4"], [4], "4 x learner with engine + 1 x reasoning = 5"),
    ],
)
def test_a_run_that_does_not_fit(
    overrides: list[str], nodes: list[int], reason: str | None
) -> None:
    found = misfit(bundles(omni(*overrides)), nodes)
    assert (found is None) if reason is None else (reason in (found or ""))


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["rewards.terms.2.gpus=0"], "rewards.terms.2.gpus: found 0, but LocalJudge runs a model"),
        (["rewards.terms.2.gpus=0.5"], "judge_options.gpu_memory_frac is 0.85"),
        (["rewards.terms.2.gpus=1.5"], "above 1 it must be a whole number"),
        (COLOCATED, "rollout.num_engines: 3 engine GPUs beside learner.num_ranks: 4"),
        ([*COLOCATED, "rollout.num_engines=2", "rollout.tensor_parallel=2"], "colocate needs 1"),
        (["learner.num_ranks=16"], "16 ranks for the 10 groups of an update"),
        (
            ["learner.num_ranks=4", "loss.minibatches=5"],
            "4 ranks for the 2 groups of an update (train.prompts_per_step: 10, loss.minibatches: "
            "5)",
        ),
        (["rollout.num_engines=100"], "100 engines for the 80 completions of a step"),
        (["rollout.colocate=true"], "rollout.colocate needs ipc"),
        (["sync.transport=ipc"], "ipc needs rollout.colocate: true"),
    ],
)
def test_impossible_layouts_are_refused_with_their_arithmetic(
    overrides: list[str], reason: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        omni(*overrides)
    assert reason in str(refusal.value)


def test_a_judge_on_a_cpu_claims_no_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"terms.2.gpus: found 1; device: cpu needs 0"):
        load_config(CONFIGS / "tiny.yaml", ["rewards.terms.2.gpus=1"])


def test_ranks_fill_one_node_before_the_next() -> None:
    needed = [Bundle(1, (Seat("learner", i, 1),)) for i in range(4)]
    needed += [Bundle(2, (Seat("engine", 0, 2),)), Bundle(1, (Seat("judge", 0, 1),))]
    # Ray has scattered the single GPUs: three on b, two on a; the pair lies on a.
    node_of = ["a", "b", "b", "a", "a", "b"]
    taken = assign(needed, node_of)
    assert sorted(taken) == list(range(6))
    assert [node_of[reserved] for reserved in taken] == ["b", "b", "b", "a", "a", "a"]
    assert taken[4] == 4  # only a bundle of its own size will do
