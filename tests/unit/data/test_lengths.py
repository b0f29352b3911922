"""Whether rows fit: the count of a check is that of the prompt that a run would build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs.load import load_config
from configs.schema import CounterfactualConfig, RunConfig
from data.audio import AudioInfo
from data.lengths import LengthCheck, policy_lengths, sft_lengths, warn_of_cut_answers
from data.prompts import PromptBuilder, target_text
from data.records import ClipFeatures, Turn
from tests.fixtures import make_example

ROOT = Path(__file__).parents[3]
SECOND = AudioInfo(16_000, 16_000, 1)
"""25 tokens."""


def config(checkpoint: Path, kind: str = "policy", **sizes: int) -> RunConfig:
    name = "tiny_sft" if kind == "sft" else "tiny"
    loaded = load_config(ROOT / "configs" / f"{name}.yaml", [f"model.path={checkpoint}"])
    rollout = replace(loaded.rollout, max_completion_tokens=48, **sizes)
    return replace(loaded, rollout=rollout)


def prompt_tokens(checkpoint: Path, **fields: Any) -> int:
    """Tokens of a prompt about a clip of a second, without those of the clips beside it."""
    builder = PromptBuilder(checkpoint, load_config(ROOT / "configs/tiny.yaml").data)
    example = make_example(**fields)
    beside = [ClipFeatures(None, 3, 0)] * len(example.others)
    return len(builder.build(example, None, 100, beside).token_ids) - len(beside)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_a_prompt_may_fill_its_room_and_not_a_token_more(tiny_checkpoint: Path, rate: int) -> None:
    second = AudioInfo(rate, rate, 1)
    room = prompt_tokens(tiny_checkpoint)
    fits = policy_lengths(config(tiny_checkpoint, max_model_len=room + 48))
    assert fits(make_example(), [second]) == ""
    short = policy_lengths(config(tiny_checkpoint, max_model_len=room + 47))
    problem = short(make_example(), [second])
    assert problem.startswith(f"takes {room} tokens (texts of the prompt {room - 25}, clip 25), ")
    assert f"less rollout.max_completion_tokens leaves {room - 1}; shorten the" in problem
    assert short(make_example(), [AudioInfo(rate * 24 // 25, rate, 1)]) == ""


def test_a_clip_that_pairs_slow_down_takes_more_room(tiny_checkpoint: Path) -> None:
    room = prompt_tokens(tiny_checkpoint)
    plain = config(tiny_checkpoint, max_model_len=room + 48)
    for moves, size, tokens in ((["rate"], 1.6, 40), (["rate"], 1.25, 31), (["pitch"], 1.6, 25)):
        pairs = CounterfactualConfig(moves=moves, rate=size)
        check = policy_lengths(replace(plain, rollout=replace(plain.rollout, counterfactual=pairs)))
        problem = check(make_example(), [SECOND])
        assert (f"clip {tokens})" in problem) if tokens > 25 else not problem


def test_rows_of_one_question_are_tokenized_once(tiny_checkpoint: Path) -> None:
    builder = PromptBuilder(tiny_checkpoint, config(tiny_checkpoint).data)
    built: list[str] = []

    class Counting:
        def build(self, example, *clips):
            built.append(example.id)
            return builder.build(example, *clips)

    check = LengthCheck(Counting(), 500, "X allows", "shorten it")  # type: ignore[arg-type]
    for number in range(50):
        assert check(make_example(number), [SECOND]) == ""
    assert built == ["clip-0"]
    check(make_example(0, question="Another?"), [SECOND])
    check(make_example(0, audio=""), [])
    assert len(built) == 3


def test_a_question_with_a_control_token_is_no_prompt(tiny_checkpoint: Path) -> None:
    check = policy_lengths(config(tiny_checkpoint))
    for number in (1, 2):
        problem = check(make_example(number, question="<|im_end|>?"), [SECOND])
        assert f"the question of example 'clip-{number}' holds the control token" in problem


def test_answers_count_with_their_prompt(tiny_checkpoint: Path) -> None:
    run = config(tiny_checkpoint, "sft")
    row = make_example(reasoning="low and slow " * 30)
    builder = PromptBuilder(tiny_checkpoint, run.data)
    prompt = len(builder.build(row, None, 100).token_ids)
    answer = len(builder.encode_target(target_text(row)))

    def check(budget: int) -> str:
        learner = replace(run.learner, tokens_per_microbatch=budget)
        return sft_lengths(replace(run, learner=learner))(row, [SECOND])

    assert check(prompt + answer) == ""
    problem = check(prompt + answer - 1)
    assert f"clip 25, answer {answer}), and learner.tokens_per_microbatch allows" in problem


@pytest.mark.parametrize(
    ("reasoning", "message"),
    [
        (None, "example 'clip-0' has no 'reasoning'; add it or drop the row"),
        ("high </think> low", "holds </think>; write the text between the tags only"),
        ("high <|im_start|> low", "holds the control token <|im_start|>; remove it"),
        ("word " * 60_000, "and the checkpoint's positions allow 4096; shorten the row"),
    ],
)
def test_answers_that_cannot_be_trained_on(
    tiny_checkpoint: Path, reasoning: str | None, message: str
) -> None:
    check = sft_lengths(config(tiny_checkpoint, "sft"))
    assert message in check(make_example(reasoning=reasoning), [SECOND])


def test_answers_that_engines_would_cut(
    tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = config(tiny_checkpoint, "sft")
    builder = PromptBuilder(tiny_checkpoint, run.data)
    rows = [make_example(n, reasoning="low and slow " * n) for n in (1, 2, 9)]
    lengths = [len(builder.encode_target(target_text(row))) for row in rows]

    def limited(tokens: int) -> RunConfig:
        return replace(run, rollout=replace(run.rollout, max_completion_tokens=tokens))

    warn_of_cut_answers(limited(lengths[-1]), rows)
    assert caplog.text == ""
    warn_of_cut_answers(limited(lengths[0]), rows)
    assert (
        f"2 of 3 reference answers are longer than rollout.max_completion_tokens={lengths[0]}"
        in (caplog.text)
    )
    assert f"the longest has {lengths[-1]} tokens" in caplog.text


DIALOGUE = (Turn("user", "Well?", "a.wav"), Turn("assistant", "She is tense."))


def test_all_clips_and_turns_count(tiny_checkpoint: Path) -> None:
    fields = {"before": ("b.wav",), "turns": DIALOGUE}
    alone, more = prompt_tokens(tiny_checkpoint), prompt_tokens(tiny_checkpoint, **fields)
    lengths = [SECOND, AudioInfo(32_000, 16_000, 1), AudioInfo(16_000, 16_000, 1)]
    row = make_example(**fields)
    tokens = more + 50 + 25
    fits = policy_lengths(config(tiny_checkpoint, max_model_len=tokens + 48))
    assert fits(row, lengths) == ""
    assert fits(make_example(), [SECOND]) == ""  # the other row's turns are not its
    short = policy_lengths(config(tiny_checkpoint, max_model_len=tokens + 47))
    assert f"takes {tokens} tokens (texts of the prompt {tokens - 100}, 3 clips 100), and" in short(
        row, lengths
    )
    assert more > alone + 10  # two markers for each clip, three for each turn, its words
