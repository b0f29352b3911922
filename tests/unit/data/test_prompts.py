from __future__ import annotations

import dataclasses
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from transformers import Qwen2_5OmniProcessor

from configs.schema import DataConfig
from data.audio import AudioError
from data.prompts import PromptBuilder, PromptError, load_processor, prompt_function, target_text
from data.records import ClipFeatures, Turn
from demo.checkpoint import build_checkpoint
from tests.fixtures import make_corpus, make_example, read_corpus, tone

RELEASED_STYLE_TEMPLATE = (
    "{% for m in messages %}"
    "{% if loop.first and m['role'] != 'system' %}"
    "<|im_start|>system\nDefault instructions.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ m['role'] }}\n"
    "{% for part in m['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part %}<|vision_bos|><|IMAGE|><|vision_eos|>"
    "{% elif part['type'] == 'audio' or 'audio' in part %}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Conditions as in the released checkpoint: a default system message, parts told by their keys."""

CONFIG = DataConfig(system_prompt="Listen.")
EXAMPLE = make_example(1, question="Which of {choices}?", reasoning="The pitch is high.")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "checkpoint"
    build_checkpoint(path, hidden_size=32, num_layers=1)
    return path


@pytest.fixture(scope="module")
def builder(checkpoint: Path) -> PromptBuilder:
    return PromptBuilder(checkpoint, CONFIG)


def with_template(checkpoint: Path, folder: Path, template: str) -> Path:
    copy = folder / "copy"
    shutil.copytree(checkpoint, copy)
    (copy / "chat_template.jinja").write_text(template)
    return copy


def test_the_prompt_is_the_chat_with_one_placeholder(builder: PromptBuilder) -> None:
    prompt = builder.build(EXAMPLE, "reference", 100)
    assert prompt.text == (
        "<|im_start|>system\nListen.<|im_end|>\n"
        "<|im_start|>user\n<|audio_bos|><|AUDIO|><|audio_eos|>"
        "Which of neutral, happy, sad, angry?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert (prompt.features, prompt.num_frames, prompt.example) == ("reference", 100, EXAMPLE)
    assert prompt.token_ids.dtype == np.int64
    assert (prompt.token_ids == builder.audio_token_id).sum() == 25
    collapsed = builder.decode(prompt.token_ids).replace("<|AUDIO|>" * 25, "<|AUDIO|>")
    assert collapsed == prompt.text


@pytest.mark.parametrize("duration_s", [0.1, 0.777, 1.3])
def test_tokens_and_features_equal_those_of_the_processor(
    checkpoint: Path, builder: PromptBuilder, duration_s: float
) -> None:
    samples = tone(440.0, duration_s=duration_s)
    features = builder.extract_features(samples)
    prompt = builder.build(EXAMPLE, features, features.shape[1])
    processor = Qwen2_5OmniProcessor.from_pretrained(checkpoint)
    batch = processor(text=[prompt.text], audio=[samples], return_tensors="np")
    assert prompt.token_ids.tolist() == batch["input_ids"][0].tolist()
    assert features.shape[1] == batch["feature_attention_mask"][0].sum()
    assert np.array_equal(features, batch["input_features"][0][:, : features.shape[1]])


def test_a_template_in_the_released_style_gives_the_same_prompt(
    checkpoint: Path, builder: PromptBuilder, tmp_path: Path
) -> None:
    path = with_template(checkpoint, tmp_path, RELEASED_STYLE_TEMPLATE)
    assert PromptBuilder(path, CONFIG).render(EXAMPLE) == builder.render(EXAMPLE)
    no_system = PromptBuilder(path, dataclasses.replace(CONFIG, system_prompt=""))
    assert no_system.render(EXAMPLE).startswith(
        "<|im_start|>system\nDefault instructions.<|im_end|>"
    )


@pytest.mark.parametrize("file", ["chat_template.json", "processor_config.json"])
def test_the_template_is_found_where_the_processor_finds_it(
    checkpoint: Path, tmp_path: Path, file: str
) -> None:
    path = with_template(checkpoint, tmp_path, "")
    (path / "chat_template.jinja").unlink()
    known = json.loads((path / file).read_text()) if (path / file).exists() else {}
    (path / file).write_text(json.dumps(known | {"chat_template": "ours"}))
    expected = Qwen2_5OmniProcessor.from_pretrained(path)
    found = load_processor(path)
    assert found.chat_template == expected.chat_template == "ours"
    assert found.audio_token == expected.audio_token
    assert found.tokenizer.get_vocab() == expected.tokenizer.get_vocab()
    assert found.feature_extractor.to_dict() == expected.feature_extractor.to_dict()


def test_without_a_system_prompt_there_is_no_system_message(checkpoint: Path) -> None:
    bare = PromptBuilder(checkpoint, dataclasses.replace(CONFIG, system_prompt=""))
    assert bare.render(EXAMPLE).startswith("<|im_start|>user\n<|audio_bos|>")


DIALOGUE = make_example(
    1,
    question="Which of {choices}?",
    turns=(Turn("user", "Where were you?", "b.wav"), Turn("assistant", "Tense."), Turn("user", "")),
    before=("c.wav",),
)
"""Two clips before `clip-1.wav`: one in a turn, one with the question."""


def test_turns_and_clips_are_placed_in_order(builder: PromptBuilder) -> None:
    clip = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    assert builder.render(DIALOGUE) == (
        "<|im_start|>system\nListen.<|im_end|>\n"
        f"<|im_start|>user\n{clip}Where were you?<|im_end|>\n"
        "<|im_start|>assistant\nTense.<|im_end|>\n"
        "<|im_start|>user\n<|im_end|>\n"
        f"<|im_start|>user\n{clip}{clip}Which of neutral, happy, sad, angry?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    forbidden = make_example(1, turns=(Turn("user", "a<|im_end|>"),))
    with pytest.raises(PromptError, match="turn 1 of example 'clip-1' holds the control token"):
        builder.render(forbidden)


@pytest.mark.slow
def test_several_clips_have_the_tokens_and_features_of_the_processor(
    checkpoint: Path, builder: PromptBuilder
) -> None:
    clips = [tone(440.0, duration_s=length) for length in (0.5, 0.777, 1.3)]
    arrays = [builder.extract_features(samples) for samples in clips]
    made = [ClipFeatures(a, a.shape[1], a.nbytes) for a in arrays]
    prompt = builder.build(DIALOGUE, arrays[2], arrays[2].shape[1], made[:2])
    processor = Qwen2_5OmniProcessor.from_pretrained(checkpoint)
    batch = processor(text=[prompt.text], audio=clips, return_tensors="np")
    assert prompt.token_ids.tolist() == batch["input_ids"][0].tolist()
    lengths = batch["feature_attention_mask"].sum(axis=1)
    assert prompt.num_frames == lengths.sum()
    for ours, theirs, length in zip(prompt.clips, batch["input_features"], lengths, strict=True):
        assert np.array_equal(ours, theirs[:, :length])
    # The clip that the row is about is the first one here, and still the one that judges hear.
    turned = structs.replace(DIALOGUE, turns=(), before=(), after=("b.wav", "c.wav"))
    prompt = builder.build(turned, arrays[2], arrays[2].shape[1], made[:2])
    assert prompt.features is arrays[2]
    assert [clip.shape[1] for clip in prompt.clips] == [130, 50, 78]
    other = prompt.with_clips(["x", "y", "z"])
    assert (other.features, other.clips) == ("x", ("x", "y", "z"))
    assert other.token_ids is prompt.token_ids


def test_clips_that_a_template_does_not_place_are_counted(
    checkpoint: Path, builder: PromptBuilder, tmp_path: Path
) -> None:
    path = with_template(checkpoint, tmp_path, "Hi.<|AUDIO|>")
    beside = [ClipFeatures(None, 10, 0)] * 2
    with pytest.raises(PromptError, match="the clips of example 'clip-1' 1 times instead of 3 t"):
        PromptBuilder(path, CONFIG).build(DIALOGUE, None, 100, beside)
    beside[1] = ClipFeatures(None, 2, 0)
    with pytest.raises(AudioError, match=r"^c\.wav: a clip of 2 frames is too short"):
        builder.build(DIALOGUE, None, 100, beside)


@pytest.mark.parametrize("num_clips", [0, 2])
def test_a_template_that_does_not_place_the_clip_once_is_refused(
    checkpoint: Path, tmp_path: Path, num_clips: int
) -> None:
    path = with_template(checkpoint, tmp_path, "Hi." + "<|AUDIO|>" * num_clips)
    with pytest.raises(PromptError, match=f"'clip-1' {num_clips} times instead of once"):
        PromptBuilder(path, CONFIG).build(EXAMPLE, None, 100)


def test_a_folder_without_a_template_or_no_folder_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    path = with_template(checkpoint, tmp_path, "")
    (path / "chat_template.jinja").unlink()
    with pytest.raises(PromptError, match="has no chat template"):
        PromptBuilder(path, CONFIG)
    with pytest.raises(PromptError, match=r"is not a folder; set model\.path"):
        PromptBuilder("Qwen/Qwen2.5-Omni-7B", CONFIG)


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|AUDIO|>", "<|endoftext|>"])
def test_control_tokens_in_a_question_or_choice_are_refused(
    builder: PromptBuilder, token: str
) -> None:
    asked = make_example(2, question=f"What{token}?")
    with pytest.raises(PromptError, match="question of example 'clip-2' holds the control token"):
        builder.build(asked, None, 100)
    offered = make_example(2, question="{choices}?", choices=("sad", f"a{token}b"))
    with pytest.raises(PromptError, match="holds the control token"):
        builder.build(offered, None, 100)


def test_control_tokens_in_the_system_prompt_are_refused(checkpoint: Path) -> None:
    config = dataclasses.replace(CONFIG, system_prompt="Listen.<|im_end|>")
    with pytest.raises(PromptError, match=r"data\.system_prompt holds the control token"):
        PromptBuilder(checkpoint, config)


def test_a_clip_too_short_for_the_encoder_is_a_clip_error(builder: PromptBuilder) -> None:
    with pytest.raises(AudioError, match=r"clip-1\.wav: a clip of 2 frames is too short"):
        builder.build(EXAMPLE, None, 2)


def test_all_special_tokens_but_the_end_are_forbidden(
    checkpoint: Path, builder: PromptBuilder
) -> None:
    tokenizer = load_processor(checkpoint).tokenizer
    names = {tokenizer.convert_ids_to_tokens(i) for i in builder.forbidden_token_ids}
    assert names == {
        *("<|endoftext|>", "<|im_start|>", "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"),
        *("<|IMAGE|>", "<|VIDEO|>", "<|vision_bos|>", "<|vision_eos|>", "<|vision_pad|>"),
    }
    assert list(builder.forbidden_token_ids) == sorted(builder.forbidden_token_ids)
    assert tokenizer.convert_ids_to_tokens(builder.end_token_id) == "<|im_end|>"
    assert tokenizer.convert_ids_to_tokens(builder.pad_token_id) == "<|endoftext|>"


def test_answer_tags_that_are_tokens_of_their_own_stay_allowed(
    checkpoint: Path, builder: PromptBuilder, tmp_path: Path
) -> None:
    processor = Qwen2_5OmniProcessor.from_pretrained(checkpoint)
    processor.tokenizer.add_tokens(["<think>", "</think>", "<tool_call>"])
    processor.save_pretrained(tmp_path / "tags")
    tags = PromptBuilder(tmp_path / "tags", CONFIG)
    tool_call = processor.tokenizer.convert_tokens_to_ids("<tool_call>")
    assert set(tags.forbidden_token_ids) == {*builder.forbidden_token_ids, tool_call}
    text = target_text(EXAMPLE)
    assert tags.decode(tags.encode_target(text)) == text


def test_a_target_is_the_tagged_answer_and_the_end_token(builder: PromptBuilder) -> None:
    text = target_text(EXAMPLE)
    assert text == "<think>The pitch is high.</think><answer>happy</answer>"
    token_ids = builder.encode_target(text)
    assert token_ids.dtype == np.int64
    assert token_ids[-1] == builder.end_token_id
    assert (token_ids[:-1] != builder.end_token_id).all()
    assert builder.decode(token_ids) == text


def test_targets_that_would_not_parse_are_refused(builder: PromptBuilder) -> None:
    with pytest.raises(PromptError, match="'clip-1' has no 'reasoning'"):
        target_text(make_example(1))
    with pytest.raises(PromptError, match="holds </think>"):
        target_text(make_example(1, reasoning="a</think>b"))
    with pytest.raises(PromptError, match=r"holds the control token <\|im_end\|>"):
        builder.encode_target("sad<|im_end|>")


def test_only_the_final_end_token_is_cut_from_a_decoded_text(builder: PromptBuilder) -> None:
    end, start = builder.end_token_id, builder.forbidden_token_ids[1]
    a, b = builder.encode_target("a")[0], builder.encode_target("b")[0]
    rows = [[a, end], [a, b], [a, end, b, start], [end], [], np.array([a, end])]
    texts = ["a", "ab", "a<|im_end|>b<|im_start|>", "", "", "a"]
    assert [builder.decode(row) for row in rows] == texts


def test_half_a_character_decodes_to_a_replacement(builder: PromptBuilder) -> None:
    euro = builder.encode_target("\u20ac")
    assert builder.decode(euro) == "\u20ac"
    assert "\ufffd" in builder.decode(euro[:1])


def test_prompts_from_disk_are_the_same_in_threads_and_published_once(
    builder: PromptBuilder, tmp_path: Path
) -> None:
    examples = read_corpus(make_corpus(tmp_path, 6))
    config = dataclasses.replace(CONFIG, audio_root=str(tmp_path))
    published: list[np.ndarray] = []

    def publish(features: np.ndarray) -> int:
        published.append(features)
        return id(features)

    build = prompt_function(builder, config, publish)
    with ThreadPoolExecutor(4) as pool:
        prompts = list(pool.map(build, examples * 5))
    assert len(published) == 6
    assert {prompt.features for prompt in prompts} == {id(features) for features in published}
    assert all(features.shape == (128, 50) for features in published)
    alone = prompt_function(builder, config)
    for prompt, again in zip(prompts, map(alone, examples * 5), strict=True):
        assert prompt.token_ids.tolist() == again.token_ids.tolist()
        assert prompt.num_frames == again.num_frames == 50


def test_rows_share_the_features_of_a_clip(builder: PromptBuilder, tmp_path: Path) -> None:
    one, two, *_ = read_corpus(make_corpus(tmp_path, 2))
    config = dataclasses.replace(CONFIG, audio_root=str(tmp_path))
    published: list[np.ndarray] = []

    def publish(features: np.ndarray) -> int:
        published.append(features)
        return len(published)

    build = prompt_function(builder, config, publish)
    both = build(structs.replace(two, before=(one.audio,)))
    assert both.clips == (1, 2) and both.features == 2 and both.num_frames == 100
    assert (build(one).clips, build(two).clips) == ((1,), (2,))
    none = build(structs.replace(one, audio=""))
    assert (none.clips, none.num_frames) == ((3,), 0)
    assert [features.shape[1] for features in published] == [50, 50, 0]
    (tmp_path / one.audio).unlink()
    with pytest.raises(AudioError, match=r"clip-0\.wav"):
        prompt_function(builder, config)(structs.replace(two, before=(one.audio,)))


def test_the_duration_limits_of_the_config_apply(builder: PromptBuilder, tmp_path: Path) -> None:
    (example, *_) = read_corpus(make_corpus(tmp_path, 1))
    config = dataclasses.replace(CONFIG, audio_root=str(tmp_path), max_duration_s=0.4)
    with pytest.raises(AudioError, match=r"longer than data\.max_duration_s = 0\.4"):
        prompt_function(builder, config)(example)


def test_a_text_only_task_has_no_placeholder_and_no_frames(
    builder: PromptBuilder, tmp_path: Path
) -> None:
    example = make_example(1, audio="", question="Why?", target="<answer>so</answer>")
    config = dataclasses.replace(CONFIG, audio_root=str(tmp_path))
    prompt = prompt_function(builder, config)(example)
    assert prompt.text == (
        "<|im_start|>system\nListen.<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert (prompt.num_frames, prompt.features.shape) == (0, (128, 0))
    assert not (prompt.token_ids == builder.audio_token_id).any()
    assert target_text(example) == "<answer>so</answer>"
