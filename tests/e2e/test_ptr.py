"""GRPO-PTR end to end: the gate opens, the judge joins, trust bites where the judge is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from launch.preflight import ROOT
from tests.e2e.command import RunFiles, Shell, command, open_shell
from tests.e2e.conftest import WriteConfig
from tests.judge_server import running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

SFT = """\
defaults: {base}
name: sft
output_dir: {folder}
model:
  path: {checkpoint}
data:
  manifest: {corpus}/manifest.jsonl
  audio_root: {corpus}
rollout:
  max_completion_tokens: 48
train:
  num_steps: 100
  prompts_per_step: 16
parity:
  num_clips: 0
"""

PTR = """\
defaults: small.yaml
rollout:
  group_size: 8
  max_completion_tokens: 48
rewards:
  packages: [rewards, demo, tests]
  terms:
    - {{name: format, target: "rewards.format:FormatReward", weight: 0.3}}
    - {{name: accuracy, target: "rewards.accuracy:AccuracyReward", weight: 1.0}}
    - name: reasoning
      target: rewards.reasoning:ReasoningReward
      weight: 0.5
      judged: true
      schedule:
        {{kind: gate, threshold: 0.0, window: 1, flatness: 1.0, min_steps: 2, ramp_steps: 2}}
      options: {options}
optim:
  lr: 1e-5
train:
  num_steps: 4
  prompts_per_step: 16
"""

INVERTED = {
    "judge": "demo.judges:InvertedJudge",
    "judge_options": {"judge": "rewards.judges.measured:MeasuredJudge"},
    "dimension_weights": {"factual_alignment": 1.0},
}


@pytest.fixture(scope="module")
def cold_started(
    tmp_path_factory: pytest.TempPathFactory, home: Path, corpus: Path, tiny_checkpoint: Path
) -> Path:
    """Return a checkpoint that writes well-formed answers."""
    folder = tmp_path_factory.mktemp("sft")
    config = folder / "sft.yaml"
    base = ROOT / "configs" / "tiny_sft.yaml"
    config.write_text(
        SFT.format(base=base, folder=folder, checkpoint=tiny_checkpoint, corpus=corpus)
    )
    with open_shell(home) as shell:
        done = shell.run(*command("sft", config))
    assert done.returncode == 0, done.stderr
    return folder / "sft" / "export"


def run_ptr(
    folder: Path,
    shell: Shell,
    write_config: WriteConfig,
    start: Path,
    options: Mapping[str, object] = INVERTED,
    **settings: object,
) -> RunFiles:
    write_config(folder)
    config = folder / "ptr.yaml"
    config.write_text(PTR.format(options=json.dumps(options)))
    overrides = {"model.path": start, "eval.judged": True, "log.samples_every": 1} | settings
    done = shell.run(*command("rl", config, overrides))
    assert done.returncode == 0, done.stdout + done.stderr
    return RunFiles(folder)


def samples(run: RunFiles, step: int) -> list[dict[str, Any]]:
    path = run.root / "samples" / f"step_{step:06d}.jsonl"
    return [json.loads(line) for line in path.open()]


def test_an_inverted_judge_is_damped_from_its_first_step(
    tmp_path: Path, shell: Shell, write_config: WriteConfig, cold_started: Path
) -> None:
    run = run_ptr(tmp_path, shell, write_config, cold_started)
    rows = run.rows()
    assert [row.get("gate/reasoning_open") for row in rows] == [None, 0, 1, 1, 1]
    # Before the gate no judge is called; the held-out answers are judged all the same.
    for row in rows[1:3]:
        assert row["reward/reasoning_weight"] == row["reward/reasoning_coverage"] == 0
        assert not any(key.startswith("judge/") for key in row)
        assert row["trust/applied_frac"] == 0 and "trust/mean" not in row
    for key in ("test_before/reasoning_factual_alignment", "eval/reasoning_coverage"):
        assert key in rows[0]
    first, second = rows[3:]
    assert first["trust/mean"] < 1 and first["trust/below_one_frac"] > 0
    assert first["reward/reasoning_coverage"] > 0.3
    # Half of the weight on the ramp, then all of it, where the term was not left out.
    assert weights_of(samples(run, 3)) == {0.0, 0.25}
    assert weights_of(samples(run, 4)) == {0.0, 0.5}
    assert "judge/reasoning_right_mean" in first and "judge/reasoning_right_mean" in second
    check_rewards(samples(run, 4))


def weights_of(rows: list[dict[str, Any]]) -> set[float]:
    return {row["weights"]["reasoning"] for row in rows}


def check_rewards(rows: list[dict[str, Any]]) -> None:
    """Every reward follows from the rows of its group alone."""
    damped = 0
    for number in {row["group"] for row in rows}:
        group = [row for row in rows if row["group"] == number]
        known = [
            row["terms"]["reasoning"] for row in group if row["terms"]["reasoning"] is not None
        ]
        for row in group:
            terms, weights = row["terms"], row["weights"]
            total = 0.3 * terms["format"] + 1.0 * terms["accuracy"]
            if weights["reasoning"]:
                value = terms["reasoning"]
                if value is None:
                    value = sum(known) / len(known) if terms["format"] else 0.0
                total += weights["reasoning"] * row["trust"] * value
                damped += row["trust"] < 1
            assert row["reward"] == pytest.approx(total)
    assert damped > 0


FAULTS = ["500", "429 60", "drop", "cut", "text four", "ok 9", "ok NaN", "huge", "hang", "ok 5.5"]


def http_options(url: str) -> dict[str, object]:
    """Options of a reasoning term whose judge is a server."""
    return {
        "judge": "rewards.judges.http:HttpJudge",
        "judge_options": {
            "url": url,
            "model": "judge",
            "timeout_s": 1.0,
            "max_attempts": 1,
            "breaker_failures": 1000,
        },
    }


@pytest.fixture(scope="module")
def judged_from_the_start(
    tmp_path_factory: pytest.TempPathFactory,
    shell: Shell,
    write_config: WriteConfig,
    cold_started: Path,
) -> RunFiles:
    """Return a run whose judge is out in the first step, and fails now and then in the others.

    Trust is off.
    """
    folder = tmp_path_factory.mktemp("http")
    first = RunFiles(folder).root / "samples" / "step_000001.jsonl"
    later = count()  # safe in threads

    def script(_: int, body: dict[str, Any]) -> str:
        if not first.exists():
            return "503"
        number = next(later)
        return FAULTS[number // 4 % len(FAULTS)] if number % 4 == 0 else f"ok {1 + number % 5}"

    with running(script) as server:
        run = run_ptr(
            folder, shell, write_config, cold_started, http_options(server.url), **FROM_THE_START
        )
    assert next(later) > 2 * len(FAULTS) * 4
    return run


FROM_THE_START = {
    "rewards.terms.2.schedule.kind": "constant",
    "rewards.terms.2.concurrency": 16,
    "rewards.trust.enabled": False,
    "train.num_steps": 3,
    "eval.judged": False,
}


def test_training_goes_on_past_a_judge_that_fails_now_and_then(
    judged_from_the_start: RunFiles,
) -> None:
    for row in judged_from_the_start.rows()[2:]:
        assert row["optim/skipped"] == 0
        assert 0.1 < row["judge/reasoning_missing_frac"] < 0.4
        assert row["reward/reasoning_weight"] > 0
        assert row["trust/mean"] == 1.0 and row["trust/applied_frac"] > 0
    reasons = {
        row["details"]["reasoning"].get("missing")
        for step in (2, 3)
        for row in samples(judged_from_the_start, step)
    }
    expected = {"http 500", "http 429", "connection", "not json", "out of range", "timeout"}
    assert expected | {"not an integer", "reply too large", ""} <= reasons


def test_a_step_without_a_judge_is_withheld(judged_from_the_start: RunFiles) -> None:
    row = judged_from_the_start.rows()[1]
    assert row["optim/skipped"] == 1
    assert row["reward/reasoning_coverage"] == 0 and "judge/reasoning_right_mean" not in row
    assert row["judge/reasoning_missing_frac"] == 1
    assert all(row["terms"]["reasoning"] is None for row in samples(judged_from_the_start, 1))
