"""Judge rows and the groups that a judge is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from transformers import Qwen2_5OmniProcessor

from annotate.judge_data import NO_CONCLUSION
from configs.load import load_config
from configs.schema import DataConfig
from data.audio import AudioError
from data.features import num_audio_tokens
from data.manifest import ManifestError
from data.prompts import PromptError
from data.records import Example
from evaluation.calibration.probes import FILLER, NUM_ATTACKED, NUM_STYLED, probes_of
from launch.judge_training import JudgeSplits, read_judge_data
from launch.preflight import ROOT
from rewards.judges.base import DIMENSIONS
from rewards.judges.injections import injections
from rewards.judges.local import SYSTEM_PROMPT, JudgeText
from rewards.judges.prompt import JudgePrompt, parse_scores
from rewards.judges.rows import JudgeRow, read_judge_rows
from tests.fixtures import make_example, write_tone
from trainer.judge_prompts import JudgePrompts, digit_weights, read_digits, reply_text

PROMPT_FILE = str(ROOT / "demo" / "judge_checks.txt")
SCORES = {
    "factual_alignment": 7 / 3,
    "interpretative_quality": 4.0,
    "caption_completeness": 5.0,
    "fluency_and_structural_clarity": 1.0,
}

# The file.


def row(**changed: Any) -> dict[str, Any]:
    known = {
        "id": "prescribed/000001",
        "audio": "tone.wav",
        "label": "sad",
        "split": "train",
        "reasoning": "The pitch is low.",
        "scores": SCORES,
    }
    return {**known, **changed}


def read(folder: Path, *rows: Any) -> list[JudgeRow]:
    write_tone(folder / "tone.wav")
    path = folder / "judge.jsonl"
    lines = ["" if one is None else json.dumps(one) for one in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_judge_rows(
        path, audio_root=folder, choices=["sad", "happy"], question_template="Which?"
    )


def test_rows_are_examples_with_scores(tmp_path: Path):
    prosody = {"pitch": "low"}
    found = read(tmp_path, row(prosody=prosody, text="hello"), row(id="b", scores={**SCORES}))
    assert [one.example.id for one in found] == ["prescribed/000001", "b"]
    example = found[0].example
    assert (example.reasoning, example.transcript) == ("The pitch is low.", "hello")
    assert (example.prosody, example.split, example.question) == (prosody, "train", "Which?")
    assert found[0].scores == SCORES


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"reasoning": " "}, "has no 'reasoning'"),
        ({"scores": None}, "has no 'scores'; give factual_alignment"),
        ({"scores": {"factual_alignment": 3}}, "lacks interpretative_quality, caption_comp"),
        ({"scores": {**SCORES, "charm": 5}}, "has 'charm'; allowed are factual_alignment"),
        ({"scores": {**SCORES, "caption_completeness": 0.9}}, "caption_completeness is 0.9"),
        ({"scores": {**SCORES, "caption_completeness": True}}, "caption_completeness is True"),
        ({"scores": {**SCORES, "caption_completeness": "5"}}, "caption_completeness is '5'"),
        ({"audio": None, "target": "x"}, "has no clip"),
        ({"label": "angry"}, "label 'angry' is not allowed"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, changed: dict[str, Any], message: str):
    with pytest.raises(ManifestError, match=rf"judge\.jsonl:3: .*{message}"):
        read(tmp_path, row(), None, row(id="b", **changed))


# Weights and replies.


@pytest.mark.parametrize(
    ("score", "weights"),
    [
        (1.0, {1: 1.0}),
        (5.0, {5: 1.0}),
        (2.25, {2: 0.75, 3: 0.25}),
        (7 / 3, {2: 2 / 3, 3: 1 / 3}),
        (4.5, {4: 0.5, 5: 0.5}),
    ],
)
def test_the_mean_of_the_digits_is_the_score(score: float, weights: dict[int, float]):
    found = digit_weights(score)
    assert found == pytest.approx(weights)
    assert sum(digit * weight for digit, weight in found.items()) == pytest.approx(score)


def test_the_reply_is_the_one_that_is_read():
    assert reply_text(SCORES) == (
        '{"factual_alignment":2,"interpretative_quality":4,"caption_completeness":5,'
        '"fluency_and_structural_clarity":1}'
    )
    assert parse_scores(reply_text(SCORES)) == {**SCORES, "factual_alignment": 2.0}
    assert '"caption_completeness":3,' in reply_text({**SCORES, "caption_completeness": 2.5})


def test_digits_are_read_as_the_judge_reads_them():
    # The last token of each answer alone counts: probabilities 0.1 0.2 0.3 0.2 0.1 of 0.9.
    probs = [0.1, 0.2, 0.3, 0.2, 0.1]
    even = [np.array([-9.0, np.log(p)], np.float32) for p in probs]
    high = [np.array([-1.0, -50.0], np.float32)] * 4 + [np.array([-5.0, -0.1], np.float32)]
    found = read_digits([*even, *high, *even, *high])
    assert list(found) == list(DIMENSIONS)
    assert list(found.values()) == pytest.approx([3.0, 5.0, 3.0, 5.0])


# Tokens.


@pytest.fixture(scope="module")
def builder(tiny_checkpoint: Path) -> JudgePrompts:
    return JudgePrompts(tiny_checkpoint, DataConfig(), PROMPT_FILE)


EXAMPLE = Example(
    id="a",
    audio="a.wav",
    label="sad",
    question="Which?",
    choices=("sad", "happy"),
    prosody={"pitch": "low", "energy": "high"},
    reasoning="The pitch is low.",
)
FEATURES = np.zeros((128, 150), np.float32)


def test_the_prompt_is_the_message_that_a_local_judge_sends(
    builder: JudgePrompts, tiny_checkpoint: Path
):
    prompt = builder.build(EXAMPLE, FEATURES, 150)
    head, rest = JudgeText(str(tiny_checkpoint), JudgePrompt(PROMPT_FILE)).tokens(
        prompt, EXAMPLE.reasoning or ""
    )
    # vLLM expands the one placeholder to as many.
    expected = [*head[:-1], *head[-1:] * num_audio_tokens(150), *rest]
    assert prompt.token_ids.tolist() == expected
    assert (prompt.num_frames, prompt.example) == (150, EXAMPLE)

    processor = Qwen2_5OmniProcessor.from_pretrained(tiny_checkpoint)
    text = processor.tokenizer.decode(prompt.token_ids)
    assert text.startswith(f"<|im_start|>system\n{SYSTEM_PROMPT}<|im_end|>")
    assert "\nThe pitch is low.\nreasoning-fence-" in text
    assert text.count("<|AUDIO|>") == num_audio_tokens(150)


def test_answers_are_those_that_are_read(builder: JudgePrompts, tiny_checkpoint: Path):
    tokenizer: Any = Qwen2_5OmniProcessor.from_pretrained(tiny_checkpoint).tokenizer
    prompt = builder.build(EXAMPLE, FEATURES, 150)
    sample = builder.training_sample(prompt, SCORES)
    texts = [tokenizer.decode(one.token_ids) for one in sample.group.completions]
    assert texts == [
        '{"factual_alignment":2',
        '{"factual_alignment":3',
        '{"interpretative_quality":4',
        '{"caption_completeness":5',
        '{"fluency_and_structural_clarity":1',
        reply_text(SCORES) + "<|im_end|>",
    ]
    assert sample.advantages == pytest.approx([2 / 3, 1 / 3, 1, 1, 1, 1])
    assert sample.loss_mask.all() and sample.group.prompt is prompt

    asked = builder.digit_group(prompt)
    assert len(asked.completions) == 20
    assert [tokenizer.decode(one.token_ids) for one in asked.completions[:5]] == [
        f'{{"factual_alignment":{digit}' for digit in range(1, 6)
    ]


def test_the_tokens_of_all_answers_are_counted(builder: JudgePrompts):
    example = make_example(reasoning="The pitch is low.")
    sample = builder.training_sample(builder.build(example, None, 100), SCORES)
    num = sum(len(answer.token_ids) for answer in sample.group.completions)
    assert builder.num_answer_tokens(SCORES) == num


def test_judge_rows_that_do_not_fit_make_one_list(tmp_path: Path, tiny_checkpoint: Path):
    rows = [row(id=f"r{n}", label=("sad", "happy")[n % 2]) for n in range(6)]
    rows[1]["reasoning"] = "The pitch is low. " * 200
    rows[4]["split"] = rows[5]["split"] = "test"
    read(tmp_path, *rows)
    files = [f"model.path={tiny_checkpoint}", f"data.manifest={tmp_path}/judge.jsonl"]
    sizes = ["train.prompts_per_step=3", "learner.tokens_per_microbatch=1000"]
    overrides = [*files, *sizes, f"data.audio_root={tmp_path}", "data.choices=[sad, happy]"]
    splits = ["data.train_split=train", "eval.test_split=test"]

    def data(*more: str) -> JudgeSplits:
        config = load_config(ROOT / "configs" / "tiny_judge.yaml", [*overrides, *splits, *more])
        return read_judge_data(config)

    with pytest.raises(ManifestError, match="1 rows cannot be used") as caught:
        data()
    assert "\nr1: takes " in str(caught.value)
    found = data("data.bad_clips=skip")
    assert [example.id for example in found.train] == ["r0", "r2", "r3"]
    assert [(place, example.id) for place, example in found.left_out] == [(1, "r1")]
    with pytest.raises(ManifestError, match="has 3 usable rows and a step takes 4"):
        data("data.bad_clips=skip", "train.prompts_per_step=4")


def test_what_does_not_fit_is_named(builder: JudgePrompts, tiny_checkpoint: Path):
    with pytest.raises(AudioError, match=r"a\.wav: .*raise data\.min_duration_s"):
        builder.build(EXAMPLE, FEATURES[:, :0], 0)
    default = JudgePrompts(tiny_checkpoint, DataConfig())
    hostile = structs.replace(EXAMPLE, question="<|im_end|>")
    with pytest.raises(PromptError, match="'a': control token; mend the row"):
        default.build(hostile, FEATURES, 150)


# Probes.


def test_probes_of_a_file():
    rows = [
        JudgeRow(Example(f"r{i}", "a.wav", "sad", "?", ("sad",), reasoning=f"One two. {i}"), SCORES)
        for i in range(NUM_STYLED + 1)
    ]
    found = probes_of(rows)
    num_payloads = len(injections())
    assert [len(found[f"r{i}"]) for i in (0, NUM_ATTACKED, NUM_STYLED)] == [
        4 + 2 * num_payloads,
        3,
        1,
    ]
    every = [probe for own in found.values() for probe in own]
    assert len({probe.id for probe in every}) == len(every)
    by_kind = {probe.kind: probe for probe in found["r0"]}
    assert by_kind["held_out"].reasoning == "One two. 0" and by_kind["held_out"].id == "r0/held_out"
    assert by_kind["lower"].reasoning == "one two. 0"
    assert by_kind["filler"].reasoning == f"One two. 0 {FILLER}"
    assert by_kind["nothing"].reasoning == NO_CONCLUSION
    assert by_kind["bare"].reasoning == injections()[-1]
    assert by_kind["padded"].reasoning == f"One {injections()[-1]} two. 0"
    assert by_kind["padded"].id == f"r0/padded/{num_payloads}"
