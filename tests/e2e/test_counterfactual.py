"""Counterfactual pairs on the real stack: what a run samples, pays, writes, and takes up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.counterfactual import draw_move
from tests.e2e.command import RunFiles, Shell, command
from tests.e2e.conftest import WriteConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SETTINGS = {
    "rollout.counterfactual.moves": "[pitch, rate]",
    "rewards.terms": "[{name: format, target: 'rewards.format:FormatReward', weight: 0.3},"
    " {name: accuracy, target: 'rewards.accuracy:AccuracyReward'},"
    " {name: listens, target: 'rewards.counterfactual:CounterfactualReward'}]",
    "async.max_staleness": "1",
    "train.num_steps": "2",
    "train.prompts_per_step": "4",
    "eval.every_steps": "0",
    "eval.test_split": "''",
    "checkpoint.every_steps": "1",
    "checkpoint.export": "false",
}


def samples_of(run: RunFiles, step: int) -> list[dict[str, Any]]:
    path = run.root / "samples" / f"step_{step:06d}.jsonl"
    return [json.loads(line) for line in path.open()]


def test_half_of_each_group_hears_its_clip_moved(
    tmp_path: Path, shell: Shell, write_config: WriteConfig
) -> None:
    run = RunFiles(tmp_path)
    config = write_config(run.folder)
    done = shell.run(*command("rl", config, SETTINGS))
    assert done.returncode == 0, done.stderr
    done = shell.run(*command("rl", config, SETTINGS | {"train.num_steps": "3"}))
    assert done.returncode == 0 and "resuming after step 2" in done.stdout, done.stderr
    for step in (1, 2, 3):
        rows = samples_of(run, step)
        # 4 prompts, two groups each, two completions a group.
        assert [row["group"] for row in rows] == [n // 2 for n in range(16)]
        for plain, moved in ((rows[n], rows[n + 2]) for n in range(0, 16, 4)):
            assert plain["id"] == moved["id"]
            # The same before and after the stop, from the seed alone.
            drawn = draw_move(0, 0, plain["id"], ["pitch", "rate"])
            assert (moved["move"]["attribute"], moved["move"]["direction"]) == drawn
            assert plain["move"] == {**moved["move"], "direction": 0}
            assert plain["terms"]["listens"] is None and moved["terms"]["accuracy"] is None
            assert plain["terms"]["accuracy"] is not None and plain["correct"] is not None
            # Weights of random numbers claim nothing.
            assert moved["terms"]["listens"] == (0.0 if moved["move"]["clean"] else None)
            assert moved["correct"] is None and moved["terms"]["format"] is not None
    for row in run.rows()[1:]:
        assert row["reward/accuracy_coverage"] == 0.5
        assert row["extra/listens_claimed"] == 0 and 0 <= row["extra/listens_clean"] <= 1
        assert row["reward/listens_coverage"] == pytest.approx(row["extra/listens_clean"] / 2)
