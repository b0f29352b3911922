"""The arithmetic of benchmarks/simulate.py and hardware.py, by worked numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hardware import (
    CONSTANTS,
    MODELS,
    Workload,
    best,
    rollout_seconds,
    update_seconds,
)
from benchmarks.simulate import (
    Stages,
    decode_seconds,
    fit,
    growth,
    print_run,
    shared_bounds,
    step_seconds,
)


@pytest.mark.parametrize(
    ("stages", "alternating", "pipelined"),
    [
        (Stages(4, 1, 2, 0.5), 7.5, 4.5),  # the engines never wait but for a sync
        (Stages(2, 0, 5, 0.5), 7.5, 5.5),  # the learner never does
        (Stages(3, 0, 3, 0), 6, 3),
        (Stages(2, 4, 1, 0), 7, 3.5),  # one judged step is on its way while the next is sampled
    ],
)
def test_a_step_takes_its_sum_or_the_longer_half(
    stages: Stages, alternating: float, pipelined: float
) -> None:
    assert step_seconds([stages] * 1000, 0) == pytest.approx(alternating)
    assert step_seconds([stages] * 1000, 1) == pytest.approx(pipelined, rel=3e-3)


def test_more_staleness_evens_out_steps_of_different_lengths() -> None:
    steps = [Stages(5, 0, 5, 0), Stages(1, 0, 1, 0)] * 500
    assert step_seconds(steps, 0) == pytest.approx(6)
    one, three = step_seconds(steps, 1), step_seconds(steps, 3)
    assert 3 <= three < one < 6
    # Long judging is hidden by as many steps as may be on their way.
    tail = [Stages(2, 8, 1, 0)] * 1000
    assert step_seconds(tail, 1) == pytest.approx(11 / 2, rel=3e-3)
    assert step_seconds(tail, 3) == pytest.approx(11 / 4, rel=5e-3)


def test_shared_cores_gain_the_tail_at_worst() -> None:
    steps = [Stages(4, 1, 2, 0.5)] * 1000
    best_case, worst = shared_bounds(steps, 1)
    assert (best_case, worst) == (pytest.approx(4.5, rel=3e-3), pytest.approx(6.5))
    assert shared_bounds(steps, 0) == (pytest.approx(7.5), pytest.approx(7.5))


def test_an_engine_decodes_until_its_longest_completion() -> None:
    # 2 tokens of three, 3 more of two, 5 more of one.
    seconds = decode_seconds([10, 2, 5], lambda active: 1 + 0.1 * active)
    assert seconds == pytest.approx(2 * 1.3 + 3 * 1.2 + 5 * 1.1)


def test_growth_is_the_slope_of_logarithms() -> None:
    assert growth([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)
    assert growth([1, 2, 4], [5, 5, 5]) == pytest.approx(0)


def test_a_law_is_found_again_and_goes_beyond_its_sizes() -> None:
    def row(prompts: int, group: int, tokens: int, prompt_tokens: int) -> dict[str, float]:
        return {
            "prompts": prompts,
            "group": group,
            "tokens": tokens,
            "prompt_tokens": prompt_tokens,
            "rollout_s": 0.1 + 0.004 * tokens + 5e-5 * tokens * prompts * group,
            "sync_s": 0.05,
        }

    sizes = [(8, 8, 32, 60), (4, 8, 32, 60), (8, 4, 32, 60), (8, 8, 64, 60), (8, 8, 32, 90)]
    known = [row(*size) for size in sizes]
    law, beyond = fit(known, "rollout"), row(32, 8, 128, 200)
    assert law(beyond) == pytest.approx(beyond["rollout_s"], rel=1e-6)
    assert (law.coefficients >= 0).all()
    assert fit(known, "sync")(beyond) == pytest.approx(0.05)
    # What a noisy fit would make negative is left out.
    falling = [r | {"reward_s": 1 / (r["prompts"] * r["group"])} for r in known]
    assert (fit(falling, "reward").coefficients >= 0).all()


def test_the_measured_step_of_one_gpu_comes_out() -> None:
    """docs/gpu.md: 18 layers of 3B, 10 x 8 x 256 tokens; rollout 1.63 s, kernels 1.0 s."""
    half = MODELS["3b"].__class__(2.0e9, 18, 18_432, MODELS["3b"].token_s / 2, 2, 1)
    work = Workload(prompt_tokens=217, mean_tokens=256)
    lengths = np.full((10, 8), 256)
    assert rollout_seconds(half, work, lengths, 1) == pytest.approx(1.63, rel=0.05)
    assert update_seconds(half, work, 8 * 256, 1) == pytest.approx(1.0, rel=0.1)


def test_a_group_is_never_split_so_ranks_beyond_the_prompts_do_nothing() -> None:
    model, work = MODELS["3b"], Workload(prompts=8)
    at = {ranks: update_seconds(model, work, 2000, ranks) for ranks in (2, 4, 8, 16)}
    assert at[2] > at[4] > at[8]
    assert at[16] >= at[8]  # only communication changes, which now leaves the node
    row = CONSTANTS["row"].value
    assert at[8] > row + 2260 * model.token_s


def test_more_gpus_help_less_and_less_at_the_papers_size() -> None:
    seconds = [best("3b", Workload(), gpus, "split").seconds for gpus in (4, 8, 64)]
    assert seconds[0] > seconds[1] > seconds[2] > 0.9 * seconds[1]
    pipelined = best("3b", Workload(), 8, "staleness 1")
    assert pipelined.seconds < seconds[1] and pipelined.ranks + pipelined.engines == 8
    assert best("7b", Workload(), 8, "split").ranks >= 4


def test_a_run_is_read_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {
        "data": 0,
        "rollout": 4,
        "reward": 1,
        "update": 2,
        "sync": 0.5,
        "eval": 9,
        "step": 16.5,
    }
    line = json.dumps({f"time/{part}_s": seconds for part, seconds in times.items()})
    before = json.dumps({"step": 0, "eval/ua": 0.5})
    for name in ("a", "b"):
        (tmp_path / name).write_text("\n".join([before, *[line] * 203]), encoding="utf-8")
    print_run(str(tmp_path / "a"), str(tmp_path / "b"))
    printed = capsys.readouterr().out
    assert "200 steps" in printed and "| 0 | 7.500 | 7.500 |" in printed
    assert "| 1 | 4.515 | 6.500 |" in printed
    assert printed.count("7.500 s a step") == 2
