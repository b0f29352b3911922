"""What benchmarks/at_size.py counts: FLOPs by hand, rows of its report, and a part on the CPU."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.at_size import make_job, parse
from benchmarks.at_size_model import (
    PEAKS_TFLOPS,
    build,
    estimate_gb,
    forward_flops,
    linear_weights,
    make_samples,
    peak_tflops,
    rows_of,
    tower_weights,
    update_flops,
)
from benchmarks.at_size_numerics import score
from benchmarks.at_size_report import Report
from benchmarks.groups import one_completion_each
from demo.random_checkpoint import SIZES, full_config, weight_shapes

JOB = make_job(parse(["--size", "tiny", "--device", "cpu", "--seconds", "1", "--rounds", "1"]))


def row_of(prompt: int, completions: list[int]):
    """A row of one group without a clip's frames, of these lengths."""
    (sample,) = make_samples(replace(JOB, clip_s=0.5), 1)
    group = sample.group
    prompts = replace(
        group.prompt, token_ids=np.full(prompt, 30), features=np.zeros((128, 0), np.float32)
    )
    first = group.completions[0]
    made = tuple(replace(first, token_ids=np.full(n, 30)) for n in completions)
    made = tuple(replace(c, rollout_logprobs=np.zeros(len(c.token_ids))) for c in made)
    sample = replace(
        sample,
        group=replace(group, prompt=prompts, completions=made),
        advantages=np.ones(len(made)),
        loss_mask=np.ones(len(made), bool),
    )
    return rows_of([sample], 1)[0]


def test_the_flops_of_a_row_by_hand():
    size = replace(
        SIZES["tiny"],
        hidden_size=64,
        num_heads=2,
        num_kv_heads=1,
        intermediate_size=10,
        num_layers=3,
        vocab_size=100,
    )
    # Query and output 64 x 64, key and value 64 x 32; three matrices of 64 x 10.
    assert linear_weights(size) == 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 10 == 14_208
    found = forward_flops(size, row_of(4, [2, 3]))
    # The prompt sees 1 + 2 + 3 + 4, the first completion 5 + 6, the second 5 + 6 + 7.
    pairs = 10 + 11 + 18
    assert found["body"] == 3 * (2 * 14_208 * 9 + 4 * 64 * pairs)
    assert found["head"] == 2 * 64 * 100 * 5
    assert found["tower"] == 0


def test_an_update_is_three_passes_and_a_fourth_with_checkpointing():
    row = row_of(4, [2, 3])
    parts = forward_flops(JOB.size, row)
    model, hardware = update_flops(JOB.size, [row, row], checkpointing=True)
    assert model == 2 * 3 * (parts["body"] + parts["head"])
    assert hardware - model == 2 * parts["body"]
    assert update_flops(JOB.size, [row], checkpointing=False)[1] == model / 2


@pytest.mark.parametrize("name", ["3b", "7b"])
def test_counted_weights_are_those_of_the_model(name: str):
    size = SIZES[name]
    shapes = weight_shapes(full_config(size))
    layer = [s.numel() for n, s in shapes.items() if ".model.layers.0." in n and len(s) == 2]
    assert linear_weights(size) == sum(layer)
    tower = [s.numel() for n, s in shapes.items() if ".audio_tower.layers." in n and len(s) == 2]
    assert tower_weights(size) == sum(tower)


def test_the_memory_of_weights_and_gradients_is_counted():
    thinker = build(JOB)
    row = rows_of(make_samples(JOB, 1), 10**9)[0]
    found = estimate_gb(JOB.size, thinker, row, checkpointing=True, chunk=16)
    total = sum(w.numel() for w in thinker.parameters())
    trained = sum(w.numel() for w in thinker.parameters() if w.requires_grad)
    assert found["weights"] == pytest.approx(2e-9 * total)
    assert found["gradients"] == pytest.approx(2e-9 * trained)
    # Five copies in float32 of 16 x 512 logits.
    assert found["logits"] == pytest.approx(5 * 4 * 16 * 512 / 1e9)
    kept = estimate_gb(JOB.size, thinker, row, checkpointing=False, chunk=16)["activations"]
    assert kept > found["activations"]


def test_devices_by_their_names():
    assert peak_tflops("NVIDIA H100 80GB HBM3") == 989
    assert peak_tflops("NVIDIA H100 PCIe") == 756
    assert peak_tflops("NVIDIA A100-SXM4-80GB") == 312
    assert peak_tflops("cpu") == 0
    names = [name for name, _ in PEAKS_TFLOPS]
    assert all(first not in later for i, first in enumerate(names) for later in names[i + 1 :])


def test_packed_and_lone_completions_score_alike():
    samples = make_samples(JOB, 2)
    thinker = build(JOB, dtype=torch.float32, checkpointing=False)
    together = score(JOB, thinker, samples, "sdpa", torch.float32)
    alone = score(JOB, thinker, one_completion_each(samples), "sdpa", torch.float32)
    assert len(together) == sum(len(c.token_ids) for s in samples for c in s.group.completions)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_rows_are_written_as_they_come_and_late_ones_are_left_out(tmp_path: Path):
    out = tmp_path / "made" / "rows.jsonl"
    report = Report(out, budget_s=60)
    report.start("steps")
    assert report.measure({"way": "a"}, lambda: {"s": 2.0}, lambda found: {"twice": found["s"] * 2})
    late = Report(out, budget_s=0)
    late.start("tower")
    assert late.measure({"way": "b"}, lambda: {"s": 1.0}) is None

    def out_of_memory() -> dict[str, float]:
        raise torch.OutOfMemoryError("tried to allocate 9 GiB")

    assert report.measure({"way": "c"}, out_of_memory) is None
    first, second, third = map(json.loads, out.read_text().splitlines())
    assert first == {"part": "steps", "way": "a", "s": 2.0, "twice": 4.0}
    assert second == {"part": "tower", "way": "b", "left_out": "no time"}
    assert third["left_out"].startswith("out of memory: tried to allocate")


def test_a_wrong_part_is_named(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse(["stepz"])
    assert "no part 'stepz'; there are attention, mask" in capsys.readouterr().err
