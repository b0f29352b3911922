"""A policy that is trained and evaluated on rows of no clip, one, two, and of turns, mixed.

By a policy loss that is not ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.files import read_rows
from tests.e2e.command import RunFiles, Shell, command
from tests.e2e.conftest import WriteConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MAX_GAP = 2e-3
TERMS = (
    "[{name: accuracy, target: 'rewards.accuracy:AccuracyReward'}, "
    "{name: letters, target: 'tests.e2e.toy_reward:Letters', options: {trace: /dev/null}}]"
)
SIZES = (0, 1, 2, 2)
"""Clips of each fourth row; the last two have a list, and a clip in a turn."""


def mixed_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with other numbers of clips; those beside a row's own are of its split."""
    mixed: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        audio, other = row["audio"], rows[number - 1]["audio"]
        more: list[dict[str, Any]] = [
            {"audio": [], "prosody": None},
            {},
            {"audio": [audio, other], "target_clip": 0},
            {"turns": [{"role": "user", "audio": other}, {"role": "assistant", "text": "sad"}]},
        ]
        mixed.append(row | more[number % 4])
    return mixed


def test_rows_of_any_number_of_clips_train_and_agree(
    tmp_path: Path, shell: Shell, write_config: WriteConfig, corpus: Path
) -> None:
    manifest = tmp_path / "mixed.jsonl"
    rows = read_rows(corpus / "manifest.jsonl")
    parts = [[row for row in rows if row["split"] == name][:12] for name in ("train", "eval")]
    kept = [row for part in parts for row in mixed_rows(part)]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in kept))
    run = RunFiles(tmp_path)
    settings = {
        "data.manifest": manifest,
        "eval.test_split": "''",
        "train.num_steps": 2,
        "parity.num_clips": 12,
        "parity.max_gap": MAX_GAP,
        # Rows with and without clips share rows of the learner.
        "learner.tokens_per_microbatch": 2048,
        "log.samples_every": 1,
        "rewards.terms": TERMS,
        "loss.policy": "tests.e2e.toy_loss:reinforce",
    }
    done = shell.run(*command("rl", write_config(tmp_path), settings))
    assert done.returncode == 0, done.stdout + done.stderr
    before, *steps = run.rows()
    assert before["parity/max_gap"] < MAX_GAP
    assert len(steps) == 2
    for row in steps:
        assert row["policy/logprob_gap_max"] < MAX_GAP and row["optim/skipped"] == 0
        assert row["policy/ratio_mean"] == pytest.approx(1) and "policy/clip_frac" not in row
    assert "eval/accuracy" in before and "eval/accuracy" in steps[-1]
    samples = [row for file in sorted((run.root / "samples").iterdir()) for row in read_rows(file)]
    number = {row["id"]: place % 4 for part in parts for place, row in enumerate(part)}
    heard = {
        row["id"]: len(row.get("clips") or [row["audio"]] * bool(row["audio"])) for row in samples
    }
    assert heard == {name: SIZES[number[name]] for name in heard} and len(heard) == 12
