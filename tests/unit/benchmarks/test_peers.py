"""What the comparison with ms-swift reads out of its steps, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.peers.ms_swift import check, medians, write_prompts
from configs.schema import RunConfig

STEP = {
    "seconds": 3.0,
    "loss": 0.1,
    "grad_norm": 0.5,
    "completions/min_length": 64.0,
    "completions/max_length": 64.0,
    "parts": {
        "_prepare_inputs": 2.0,
        "_prepare_batch_inputs": 0.9,
        "encode_sample": 0.3,
        "_move_model_to_vllm": 0.1,
    },
}


def test_the_parts_of_a_step_add_up_to_it():
    laps = medians([STEP, STEP | {"seconds": 4.0}, STEP | {"seconds": 9.0}])
    assert laps["time/step_s"] == 4.0
    assert laps["time/rollout_s"] == pytest.approx(2.0 - 0.9 - 0.1)
    assert laps["time/update_s"] == pytest.approx(4.0 - 2.0 + 0.9 - 0.3)
    parts = sum(value for name, value in laps.items() if name != "time/step_s")
    assert parts == pytest.approx(laps["time/step_s"])


def test_without_vllm_nothing_is_sent():
    parts = dict(STEP["parts"])
    del parts["_move_model_to_vllm"]
    assert medians([STEP | {"parts": parts}])["time/sync_s"] == 0.0


@pytest.mark.parametrize(
    "figures",
    [
        {"completions/min_length": 63.0},
        {"completions/max_length": 65.0},
        {"loss": float("nan")},
        {"grad_norm": float("inf")},
        {"grad_norm": 0.0},
    ],
)
def test_another_job_is_refused(figures: dict[str, float]):
    check([STEP], 64)
    with pytest.raises(RuntimeError, match="not the job"):
        check([STEP, STEP | figures], 64)


def test_every_step_has_clips_of_one_length(tmp_path: Path):
    config = RunConfig()
    config.train.prompts_per_step = 2
    data = write_prompts(tmp_path, config, [0.2, 0.5], num_steps=3)
    rows = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    assert [row["clip_s"] for row in rows] == [0.2] * 6 + [0.5] * 6
    assert len({row["audios"][0] for row in rows}) == 12
    assert all(Path(row["audios"][0]).exists() for row in rows)
