"""Training and calibration of a judge on the real stack, as a user starts them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from annotate.judge_data import prescribed
from data.files import read_rows, write_rows
from evaluation.calibration.probes import NUM_ATTACKED
from launch.preflight import ROOT
from rewards.judges.base import DIMENSIONS
from rewards.judges.injections import injections
from tests.e2e.command import Shell, command, open_shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

CONFIG = """\
defaults: {base}
name: run
output_dir: {folder}/runs
model: {{path: {checkpoint}}}
data: {{manifest: {folder}/judge.jsonl, audio_root: {corpus}}}
learner: {{cpu_threads: 1}}
optim: {{lr: 2e-3, warmup_steps: 1}}
train: {{num_steps: 8, prompts_per_step: 8}}
eval: {{every_steps: 4, max_examples: 0}}
judge: {{options: {{cpu_threads: 1}}}}
log: {{report: false}}
"""
NUM_HELD_OUT = 12


class JudgeRun(NamedTuple):
    """A judge that was trained, and its configuration."""

    config: Path
    root: Path

    def rows(self) -> list[dict[str, Any]]:
        return read_rows(self.root / "metrics.jsonl")

    def summary(self) -> dict[str, Any]:
        return json.loads((self.root / "calibration" / "summary.json").read_text())


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, home: Path, corpus: Path, tiny_checkpoint: Path
) -> JudgeRun:
    folder = tmp_path_factory.mktemp("judge")
    manifest = read_rows(corpus / "manifest.jsonl")
    by_split = {
        split: [row for row in manifest if row["split"] == split] for split in ("train", "test")
    }
    texts = prescribed(by_split["train"], 48, seed=0)
    texts += prescribed(by_split["test"], NUM_HELD_OUT, seed=0, name="held_out")
    write_rows(folder / "judge.jsonl", texts)
    config = folder / "judge.yaml"
    base = ROOT / "configs" / "tiny_judge.yaml"
    config.write_text(
        CONFIG.format(base=base, folder=folder, checkpoint=tiny_checkpoint, corpus=corpus)
    )
    with open_shell(home) as shell:
        done = shell.run(*command("judge", config))
        assert done.returncode == 0, done.stderr
    return JudgeRun(config, folder / "runs" / "run")


def test_the_loss_falls_and_the_held_out_texts_are_judged(trained: JudgeRun):
    rows = trained.rows()
    assert [row["step"] for row in rows] == list(range(9))
    assert rows[8]["sft/nll"] < 0.75 * rows[1]["sft/nll"]
    judged = [row["step"] for row in rows if "judge_eval/factual_alignment_mae" in row]
    assert judged == [0, 4, 8]


def test_the_export_serves_the_scores_that_the_learner_has(trained: JudgeRun):
    """What training measured on its own weights is what LocalJudge says with the export."""
    summary, rows = trained.summary(), trained.rows()
    for judge, row in (("untrained", rows[0]), ("trained", rows[8])):
        assert summary[judge]["num"] == NUM_HELD_OUT and summary[judge]["missing"] == {}
        for name in DIMENSIONS:
            found = summary[judge]["dimensions"][name]
            assert found["mae"] == pytest.approx(row[f"judge_eval/{name}_mae"], abs=2e-3)
    first, last = (summary[judge]["dimensions"] for judge in ("untrained", "trained"))
    assert any(abs(first[name]["mae"] - last[name]["mae"]) > 0.02 for name in DIMENSIONS)


def test_a_calibration_keeps_all_scores(trained: JudgeRun):
    folder = trained.root / "calibration"
    scores = read_rows(folder / "scores.jsonl")
    num_attacks = NUM_ATTACKED * (1 + 2 * len(injections()))
    assert len(scores) == 3 * NUM_HELD_OUT + num_attacks
    page = (folder / "report.md").read_text()
    assert "| `untrained` |" in page and "| `trained`, padded | 40 |" in page
    assert (folder / "report.png").stat().st_size > 10_000


def test_another_judge_is_calibrated_against_people_and_the_trained_one(
    trained: JudgeRun, shell: Shell, tmp_path: Path
):
    human = tmp_path / "human.csv"
    texts = [r for r in read_rows(trained.config.parent / "judge.jsonl") if r["split"] == "test"]
    with human.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", *DIMENSIONS])
        writer.writeheader()
        writer.writerows({"id": row["id"], **row["scores"]} for row in texts)
    words = command(
        "calibrate",
        trained.config,
        {
            "judge.target": "rewards.judges.measured:MeasuredJudge",
            "judge.target_options.margin": 0.25,
        },
        "--human",
        str(human),
        "--against",
        str(trained.root / "calibration" / "scores.jsonl"),
    )
    done = shell.run(*words, "name=measured")
    assert done.returncode == 0, done.stderr
    path = trained.root.parent / "measured" / "calibration" / "summary.json"
    found = json.loads(path.read_text())["MeasuredJudge"]
    # It measures what two of the prescribed scores are made of; quoted words may add claims.
    assert found["dimensions"]["factual_alignment"]["spearman"] > 0.95
    assert found["human"]["num"] == found["drift"]["num"] == NUM_HELD_OUT
    assert found["human"]["dimensions"]["factual_alignment"]["prescribed"]["mae"] == 0.0


def test_a_judge_needs_held_out_rows(trained: JudgeRun, shell: Shell):
    done = shell.run(*command("judge", trained.config, {"eval.test_split": "eval"}, "--dry-run"))
    assert done.returncode == 2
    assert "no row of the judge file belongs to split 'eval'; it has test, train" in done.stderr
    done = shell.run(*command("judge", trained.config, {"eval.test_split": '""'}, "--dry-run"))
    assert done.returncode == 2 and "eval.test_split is empty" in done.stderr
