"""The task with 27 labels: what a label says is what its clip was drawn with."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from configs.load import load_config
from configs.sweep import load_sweep
from data.parsing import normalize_label, parse_output
from demo.levels27 import STYLES27, prepare27
from launch.preflight import ROOT


@pytest.mark.parametrize("sweep", ["levels27", "levels27_heard"])
def test_there_are_27_labels_and_the_sweeps_offer_them(sweep: str):
    assert len(STYLES27) == 27
    plan = load_sweep(ROOT / "configs" / "sweeps" / f"{sweep}.yaml")
    for stage in [*plan.prepare, *plan.trials]:
        assert load_config(stage.config).data.choices == list(STYLES27)


def test_an_answer_is_read_back_as_its_label():
    for label in STYLES27:
        parsed = parse_output(f"<think>a</think><answer> {label} </answer>", truncated=False)
        assert parsed.answer is not None
        assert normalize_label(parsed.answer) == normalize_label(label)


@pytest.mark.slow
def test_labels_name_the_levels_that_clips_were_drawn_with(tmp_path: Path):
    sizes = {"num_train": 54, "num_eval": 27, "num_test": 27, "num_cold_start": 27}
    corpus = prepare27(tmp_path, **sizes, seed=1)
    rows = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    assert Counter(row["split"] for row in rows) == {
        "train": 54,
        "eval": 27,
        "test": 27,
        "cold_start": 27,
    }
    for row in rows:
        levels = row["settings"]["levels"]
        expected = "{pitch} pitch, {energy} energy, {rate} rate".format_map(levels)
        assert row["label"] == expected
        assert row["prosody"]["pitch"] in ("low", "normal", "high")
        assert f"{levels['pitch']} pitch" in row["reasoning"] or (
            f"pitch is {levels['pitch']}" in row["reasoning"]
        )
    assert len({row["label"] for row in rows}) > 20
    assert prepare27(tmp_path) == corpus
