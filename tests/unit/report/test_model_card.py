"""The card of an export: what it says, what it says to be missing, and that names stay names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData

from configs.load import dump_config, load_config
from evaluation.formats import code_span, escape, indented
from report.model_card import (
    CardFacts,
    card_facts,
    checkpoint_name,
    front_matter,
    model_card,
    write_model_card,
)
from report.run_facts import RunFacts, alarms_of, read_facts, split_facts
from trainer.run_folder import RunFolder

ROOT = Path(__file__).parents[3]
START = {
    "time": "2026-01-02T03:04:05+00:00",
    "first_step": 0,
    "code": "0123456789ab",
    "python": "3.11.9",
    "versions": {"torch": "2.13.0", "ray": "2.60.0"},
    "machine": {"processor": "Some CPU", "cores": 2, "memory_gib": 23.5, "gpus": ["H100", "H100"]},
}
TEST_ROWS = [
    {"split": "test", "label": label, "speaker": speaker, "dataset": "crema"}
    for label in ("happy", "sad")
    for speaker in ("a", "b")
    for _ in range(25)
]
METRICS = [
    {"step": 0, "test_before/accuracy": 0.5, "test_before/recall_happy": 0.25},
    {
        "step": 140,
        "time/step_s": 90.0,
        "gate/reasoning_open": 1.0,
        "gate/reasoning_opened_at": 38.0,
        "test_after/accuracy": 0.8,
        "test_after/ua": 0.75,
        "test_after/recall_happy": 0.9,
        "test_after/recall_contempt_or_disgust": 0.125,
        "test_after/reasoning_factual_alignment": 3.875,
    },
]


def facts(config: str = "tiny.yaml", overrides: tuple[str, ...] = (), **fields: Any) -> RunFacts:
    settings = yaml.safe_load(dump_config(load_config(ROOT / "configs" / config, overrides)))
    status = {"state": "finished", "step": 140, "reason": "", "resume_cmd": "python launch/rl.py"}
    return replace(
        RunFacts(
            config=settings,
            status=status,
            rows=METRICS,
            starts=[START],
            splits=split_facts([*TEST_ROWS, {"split": "train", "label": "sad"}]),
        ),
        **fields,
    )


def card(run: RunFacts, start: str = "Qwen/Qwen2.5-Omni-7B", **header: Any) -> str:
    return model_card(CardFacts(run, start, header))


def test_the_header_is_yaml_with_what_is_known():
    header = front_matter(
        card(facts(), license="other", license_name="qwen-research", language=["en"])
    )
    assert {key: value for key, value in header.items() if key != "model-index"} == {
        "license": "other",
        "license_name": "qwen-research",
        "language": ["en"],
        "base_model": "Qwen/Qwen2.5-Omni-7B",
        "library_name": "transformers",
        "pipeline_tag": "audio-text-to-text",
        "tags": [
            "cadence-rl",
            "audio",
            "speech-emotion-recognition",
            "reasoning",
            "reinforcement-learning",
        ],
    }
    assert not {"license", "language"} & front_matter(card(facts())).keys()


def read_by_the_hub(text: str) -> ModelCardData:
    return cast(ModelCardData, ModelCard(text).data)


def test_the_hub_reads_the_results_in_the_header():
    header = read_by_the_hub(card(facts()))
    assert header.model_name == "demo/rl"
    results = {r.metric_type: r for r in header.eval_results or []}
    assert {kind: result.metric_value for kind, result in results.items()} == {
        "accuracy": 0.8,
        "recall": 0.75,
        "reasoning_factual_alignment": 3.875,
        "recall_happy": 0.9,
        "recall_contempt_or_disgust": 0.125,
    }
    assert results["recall"].metric_name == "mean recall of the emotions (UA)"
    assert {(r.dataset_type, r.dataset_split) for r in header.eval_results or []} == {
        ("manifest", "test")
    }
    probes = facts("tiny_sft.yaml", rows=[{"step": 110, "probe/pitch_accuracy": 0.5}])
    (result,) = read_by_the_hub(card(probes)).eval_results or []
    assert (result.dataset_name, result.metric_type, result.metric_value) == (
        "pitch",
        "accuracy",
        0.5,
    )
    assert "model-index" not in front_matter(card(facts(rows=[])))


@pytest.mark.parametrize(
    "line",
    [
        "- Reinforcement learning (GRPO-PTR): 140 steps of 32 prompts with 8 completions each, all "
        "weights trained. Advantage: reward minus the group's mean, over its standard deviation; "
        "loss: clipped token ratios (PPO, GRPO), KL to the start policy with weight 0.1.",
        "- Done: 140 of 140 steps.",
        "- Data, training: split train, 1 rows.",
        "- Data, test before and after: split test, 100 rows, 2 speakers (corpora: crema 100).",
        "- Data, evaluation during the run: split eval, size not known: the manifest is not here, "
        "or has no such rows.",
        "- Reward accuracy: weight 1, throughout.",
        "- Reward reasoning: weight 0.5, once the accuracy of the rollouts has reached 0.4 and "
        "moved by at most 0.04 in 10 steps, not before step 20; a judge's opinion "
        "(rewards.judges.measured:MeasuredJudge), damped where it prefers wrong answers.",
        "- The gate of reasoning opened after step 38.",
        "- Seed: 0. Number format: float32.",
        "- Time: 1m30s for all steps. Machine: Some CPU, 2 cores, 23.5 GiB, GPUs: H100, H100 (the "
        "driver's machine).",
        "- Versions: Python 3.11.9, torch 2.13.0, ray 2.60.0, code 0123456789ab.",
        "| accuracy (WA) | 50.0 % | 80.0 % |",
        "| mean recall of the emotions (UA) | not measured | 75.0 % |",
        "| reasoning: factual alignment (1 to 5) |  | 3.88 |",
        "| happy | 50 | 25.0 % | 90.0 % |",
        "| contempt or disgust |  | not measured | 12.5 % |",
        # 1.96 sqrt(0.8 x 0.2 / 100) = 0.0784
        "- It is wrong in 20.0 % of the tested clips. With 100 clips this is known to about 7.8 "
        "points either way (95 %, clips taken as independent; clips of one speaker are not).",
        "- Emotions differ: contempt or disgust is recognized in 12.5 %, happy in 90.0 % of its "
        "clips.",
        "- A judge (reasoning) gave the facts in its reasoning 3.88 of 5 on average.",
        "    python launch/rl.py",
    ],
)
def test_what_the_card_says(line: str):
    assert line in card(facts()).splitlines()


def test_what_is_missing_is_said_to_be_missing():
    bare = card(facts(rows=[], starts=[], splits={}, status={"resume_cmd": ""}))
    for words in (
        "Done: 0 of 140 steps.",
        "Machine: not recorded.",
        "Versions: not recorded.",
        "**There is no result of a test**: the run has not ended.",
        "How often it is right is not known: no answers were tested.",
        "The start checkpoint names no licence in its card.",
        "The command was not recorded",
    ):
        assert words in bare
    untested = card(facts(overrides=("eval.test_split=''",), rows=[]))
    assert "the run was given no test split (`eval.test_split`)" in untested


def test_without_a_test_the_last_evaluation_is_shown_as_such():
    text = card(facts(overrides=("eval.test_split=''",), rows=[{"step": 9, "eval/accuracy": 0.5}]))
    assert "Greedy answers on split eval (size not known" in text
    assert "| accuracy (WA) | not measured | 50.0 % |" in text


def test_the_card_of_a_supervised_run():
    rows = [{"step": 110, "probe/pitch_accuracy": 0.5, "probe/pitch_ua": 0.4}]
    text = card(facts("tiny_sft.yaml", rows=rows))
    assert "- Supervised fine-tuning on reference answers: 200 steps of 32 rows" in text
    assert "| pitch | 50.0 % |" in text
    assert "**No answers were generated and tested**" in text
    assert "Reward" not in text


def test_the_card_of_a_judge():
    rows = [
        {"step": 0, "judge_eval/factual_alignment_mae": 2.0},
        {
            "step": 110,
            "judge_eval/factual_alignment_mae": 0.5,
            "judge_eval/factual_alignment_spearman": 0.75,
        },
    ]
    text = card(facts("tiny_sft.yaml", ("eval.test_split=test",), rows=rows))
    assert "judge" in front_matter(text)["tags"]
    assert "A judge of reasoning about speech" in text and "speech emotion model" not in text
    assert "- Supervised fine-tuning on texts with known scores: 200 steps" in text
    assert "Against known scores of held-out texts (100 rows, 2 speakers):" in text
    assert "| factual alignment | 0.75 | 0.50 |" in text
    assert "rewards.judges.local:LocalJudge" in text and "labels" not in text


def test_names_stay_names():
    evil = "a|b` *c* <script>x</script> [d](e)\n---\n# head $x$"
    shown = escape(evil)
    assert shown == (r"a\|b\` \*c\* &lt;script&gt;x&lt;/script&gt; \[d\](e) --- \# head \$x\$")
    run = facts()
    data = {**run.config["data"], "choices": [evil, "sad"], "manifest": evil, "question": evil}
    run = replace(run, config={**run.config, "name": evil, "data": data})
    run.config["rewards"]["terms"][0]["name"] = evil
    text = card(replace(run, status={"resume_cmd": "python x 'a\n# b'"}), start=evil, license=evil)
    assert front_matter(text)["base_model"] == front_matter(text)["license"] == evil
    body = text.split("\n---\n", 1)[1]
    code = body[body.index("```python") : body.index("\n```\n")]
    assert json.dumps(evil) in code
    prose = body.replace(code, "").replace(code_span(evil), "")
    assert "<script>" not in prose and "\n# head" not in body and "\n---" not in body
    assert "\n    # b'" in body


def test_code_spans_and_blocks_cannot_be_left():
    assert code_span("a`b``c") == "``` a`b``c ```"
    assert code_span("a b") == "`a b`"
    assert indented("a\n```\nb") == "    a\n    ```\n    b"


def test_the_name_of_the_start_checkpoint(tmp_path: Path):
    ours = {"tags": ["cadence-rl"], "base_model": "Qwen/Qwen2.5-Omni-7B"}
    assert checkpoint_name(tmp_path / "export", ours) == "Qwen/Qwen2.5-Omni-7B"
    theirs = {"tags": ["audio"], "base_model": "some/other"}
    assert checkpoint_name(tmp_path / "Mine", theirs) == "Mine"
    cached = tmp_path / "models--Qwen--Qwen2.5-Omni-3B" / "snapshots" / "abc"
    assert checkpoint_name(cached, {}) == "Qwen/Qwen2.5-Omni-3B"


@pytest.mark.parametrize("text", ["", "# no header", "---\n: : [\n---\n", "---\n- a list\n---\n"])
def test_a_card_without_a_readable_header(text: str):
    assert front_matter(text) == {}


def test_the_card_of_a_run_folder(tmp_path: Path):
    start = tmp_path / "models" / "Start"
    start.mkdir(parents=True)
    (start / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Start\n")
    folder = RunFolder(tmp_path / "run")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in TEST_ROWS))
    config = load_config(
        ROOT / "configs" / "tiny.yaml", [f"model.path={start}", f"data.manifest={manifest}"]
    )
    folder.open(dump_config(config), lambda old: [])
    folder.metrics_path.write_text("".join(json.dumps(row) + "\n" for row in METRICS))
    folder.write_status("running", 140, "", "python launch/rl.py --config x.yaml")
    folder.export_dir.mkdir()
    text = write_model_card(folder).read_text()
    assert text == model_card(card_facts(read_facts(folder.root)))
    assert front_matter(text)["license"] == "apache-2.0"
    assert "As the start checkpoint: apache-2.0 (its card is kept as `README.base.md`)." in text
    assert "| sad | 50 |" in text and "\n    python launch/rl.py --config x.yaml\n" in text


def test_alarms_are_found_again_in_the_metrics():
    rows = [
        {
            "step": step,
            "rollout/completion_tokens_mean": 20.0,
            "judge/reasoning_right_wrong_gap": -0.25 if step > 2 else 0.25,
        }
        for step in range(1, 9)
    ]
    run = facts(overrides=("log.alarm_steps=3",), rows=[{"step": 0, "eval/ua": 0.5}, *rows])
    found = alarms_of(run)
    assert [step for step, _ in found] == [5, 8]
    assert found[0][1].startswith("for 3 steps the judge of 'reasoning' has scored wrong answers")
    assert "- Alarm at step 5: for 3 steps the judge of 'reasoning'" in card(run)
    assert alarms_of(facts()) == []


def test_the_card_of_an_adapter_says_how_peft_loads_it():
    start = "Qwen/Qwen2.5-Omni-7B"
    text = model_card(CardFacts(facts(), start, {"license": "mit"}, is_adapter=True))
    head = front_matter(text)
    assert (head["library_name"], head["base_model"]) == ("peft", start)
    assert head["model-index"][0]["results"]
    assert f'base, folder = "{start}", "."' in text
    assert "PeftModel.from_pretrained(model, folder, key_mapping=names)" in text
    assert "README.base.md" not in text and "This is the adapter alone" in text
    whole = model_card(CardFacts(facts(), start, {"license": "mit"}))
    assert "peft" not in whole and "(its card is kept as `README.base.md`)." in whole
