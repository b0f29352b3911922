"""The whole pipeline: every stage loads, and works on what earlier stages leave behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.annotate_schema import AnnotateConfig
from configs.load import load_config, load_sections
from configs.schema import RunConfig
from demo.pipeline import EVALUATIONS, FOLDER, JUDGE, POLICIES, TRAINING, texts
from demo.stages import Stage

ROOT = Path(__file__).resolve().parents[3]
STAGES = (*TRAINING, *EVALUATIONS)


def config_of(stage: Stage) -> RunConfig:
    _, flag, path, *overrides = stage.arguments()
    assert flag == "--config"
    return load_config(ROOT / path, overrides)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: str(stage.folder))
def test_a_stage_loads_and_writes_where_it_says(stage: Stage):
    config = config_of(stage)
    assert Path(config.output_dir) / config.name == stage.folder
    assert (ROOT / f"launch/{stage.command}.py").is_file()
    assert config.device == "cpu"
    header = (ROOT / stage.arguments()[2]).read_text(encoding="utf-8").split("\ndefaults:", 1)[0]
    assert "# Hardware:" in header and Path(stage.config).stem in header


def test_every_model_comes_from_an_earlier_stage():
    made = {str(FOLDER / "checkpoint")}
    for stage in STAGES:
        config = config_of(stage)
        judges = [
            term.options["judge_options"]["model_path"]
            for term in config.rewards.terms
            if "model_path" in term.options.get("judge_options", {}) and stage.command == "rl"
        ]
        assert {config.model.path, *judges} <= made, stage.title
        made.add(str(stage.folder / "export"))
    assert {str(FOLDER / run / "export") for run in POLICIES.values()} <= made


def test_the_two_judged_runs_differ_in_the_judge_alone():
    plain, untrained = (
        config_of(next(s for s in TRAINING if s.folder.name == name))
        for name in ("ptr", "ptr_untrained")
    )
    assert plain.rewards.terms[2].options["judge_options"].pop("model_path") == str(
        FOLDER / "judge/export"
    )
    assert untrained.rewards.terms[2].options["judge_options"].pop("model_path") == str(
        FOLDER / "sft_prosody/export"
    )
    untrained.name = plain.name
    assert plain == untrained
    assert JUDGE.startswith("rewards.terms.2.")


def test_what_is_evaluated_is_not_trained_on():
    data = load_sections(ROOT / "configs/pipeline/data.yaml", AnnotateConfig)
    trained = {config_of(stage).data.train_split for stage in TRAINING}
    tested = {config_of(stage).eval.test_split for stage in EVALUATIONS}
    assert tested == {"test"} == {data.tasks.probe_split} and not tested & trained
    assert data.output == str(FOLDER / "data")


def test_only_a_finished_run_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    stage = TRAINING[0]
    assert not stage.is_finished()
    stage.folder.mkdir(parents=True)
    for state, finished in (("running", False), ("failed", False), ("finished", True)):
        (stage.folder / "run_status.json").write_text(json.dumps({"state": state}))
        assert stage.is_finished() is finished


def test_the_tokenizer_sees_questions_answers_and_reasoning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    data = FOLDER / "data"
    data.mkdir(parents=True)
    (data / "sft.jsonl").write_text(
        '{"question": "How loud?", "target": "<answer>high</answer>"}\n'
    )
    (data / "manifest.jsonl").write_text('{"reasoning": "It is loud."}\n{"reasoning": null}\n')
    (data / "judge.jsonl").write_text('{"reasoning": "It is soft."}\n')
    assert list(texts()) == ["How loud?", "<answer>high</answer>", "It is loud.", "It is soft."]
