"""Rewards of other trainers run as they are, and what goes wrong in them is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from configs.load import ConfigError, load_config
from configs.loss_schema import LOSS_INPUTS
from data.records import Group, RewardTerms, ScoredGroup, Turn
from launch.preflight.rewards import check_rewards
from rewards.base import (
    RewardError,
    Scores,
    limits_of,
    load_reward,
    validate_scores,
    with_run_options,
)
from rewards.combine import CombineRules, combine
from rewards.foreign_reward import plain
from rewards.missing import missing_fracs
from tests.unit.make_groups import make_group
from tests.unit.rewards.other_trainers import WAITING
from trainer.reward_metrics import reward_metrics

ROOT = Path(__file__).parents[3]
HERE = "tests.unit.rewards.other_trainers"
SWIFT = "tests.unit.rewards.swift_plugin"
PACKAGES = ["rewards", "tests"]


def group_of(*texts: str) -> Group:
    group = make_group(texts, label="angry", id="clip-7")
    example = structs.replace(group.prompt.example, speaker="Ses01F", dataset="iemocap")
    return replace(group, prompt=replace(group.prompt, example=example))


def score(adapter: str, function: str, *texts: str, **options: Any) -> Scores:
    """As a reward worker does it."""
    options = {"function": function, "packages": PACKAGES, "num_steps": 30, **options}
    reward = load_reward(f"rewards.adapters:{adapter}", options, ["rewards"])
    group = group_of(*texts)
    return validate_scores("term", group, reward.score(group), limits_of(reward))


def test_a_verl_function_scores_row_by_row():
    found = score("VerlReward", f"{HERE}:compute_score", "angry", "sad")
    assert found.values == (2.0, -0.5)


def test_what_a_verl_dict_holds_besides_is_kept():
    found = score("VerlReward", f"{HERE}:compute_dict", "a>angry", "sad", arguments={"scale": 3.0})
    assert found.values == (3.0, 0.0)
    first, second = found.details
    assert first == {"pred": "angry", "odd": "{1, 2}", "metrics": {"acc": 1.0}}
    assert second["metrics"] == {"acc": 0.0}
    assert score("VerlReward", f"{HERE}:old_dict", "a", "b").values == (0.25, 0.25)


def test_its_numbers_are_metrics_of_the_step():
    found = score("VerlReward", f"{HERE}:compute_dict", "angry", "angry", "sad", "sad")
    terms = RewardTerms({"verl": found.values}, {"verl": found.details})
    scored = combine(group_of(*"abcd"), terms, {"verl": 1.0}, CombineRules())
    assert reward_metrics([scored], CombineRules())["extra/verl_acc"] == 0.5


def test_coroutines_of_a_group_run_side_by_side():
    WAITING.clear()
    found = score("VerlReward", f"{HERE}:compute_async", "a", "bb", "ccc")
    assert found.values == (1.0, 2.0, 3.0)
    assert score("TrlReward", f"{HERE}:asks_a_server", "a", "").values == (1.0, 0.0)


def test_a_trl_function_gets_texts_and_tokens():
    assert score("TrlReward", f"{HERE}:lengths", "a", "bbb").values == (1.0, 3.0)
    assert score("TrlReward", f"{HERE}:token_lengths", "a", "bbb").values == (2.0, 2.0)
    assert score("TrlReward", f"{HERE}:names_two", "a", "b").values == (1.0, 1.0)


def test_a_conversational_one_gets_messages_columns_and_loggers():
    options = {"conversational": True, "columns": {"answer": "label"}}
    found = score("TrlReward", f"{HERE}:of_task", "angry", "skip", "sad", **options)
    assert found.values == (1.0, None, 0.0)
    logged = {"metrics": {"step": 0.0, "of": 30.0}}
    assert found.details[0] == {"seen": "angry", **logged}
    assert found.details[1] == {"seen": "skip", **logged, "not_applicable": True}


def test_turns_of_a_row_are_json_for_other_trainers_functions():
    turns = (Turn("user", "Well?", "a.wav"), Turn("assistant", "Sad."))
    assert plain(turns) == [
        {"role": "user", "text": "Well?", "audio": "a.wav"},
        {"role": "assistant", "text": "Sad.", "audio": ""},
    ]


def test_what_does_not_apply_is_neither_zero_nor_a_failure():
    found = score("TrlReward", f"{HERE}:all_none", "a", "b")
    terms = RewardTerms({"t": found.values, "u": (1.0, 0.0)}, {"t": found.details})
    weights = {"t": 1.0, "u": 1.0}
    scored = combine(group_of("a", "b"), terms, weights, CombineRules())
    assert scored.rewards == (1.0, 0.0) and scored.weights["t"] == 0.0
    assert missing_fracs([scored], weights, frozenset()) == {"u": 0.0}
    failed = ScoredGroup(scored.group, RewardTerms(terms.values), weights, 1.0, (1.0, 0.0))
    assert missing_fracs([failed], weights, frozenset()) == {"t": 1.0, "u": 0.0}


def test_a_swift_orm_needs_no_swift():
    found = score("SwiftReward", f"{SWIFT}:Match", "angry", "sad", arguments={"bonus": 0.5})
    assert found.values == (1.5, 0.5)
    assert score("SwiftReward", f"{SWIFT}:Asks", "a", "b").values == (0.5, 0.5)


VERL, TRL, ORM = "VerlReward", "TrlReward", "SwiftReward"
ON_7 = "of example 'clip-7'"


@pytest.mark.parametrize(
    ("adapter", "function", "message"),
    [
        (
            VERL,
            f"{HERE}:fails_on_sad",
            f"{HERE}:fails_on_sad on completion 1 {ON_7}: KeyError: 'no such emotion' (other_trai",
        ),
        (VERL, f"{HERE}:async_fails_on_sad", f"on completion 1 {ON_7}: SystemExit: 3"),
        (VERL, f"{HERE}:without_score", f"on completion 0 {ON_7}: returned a dict without 'score'"),
        (VERL, f"{HERE}:wants_more", "needs tokenizer, which it is not given; it is given data_s"),
        (VERL, f"{HERE}:NOT_A_FUNCTION", "has no function NOT_A_FUNCTION"),
        (VERL, f"{HERE}:gone", "has no function gone"),
        (VERL, "json:dumps", "package 'json' is not in rewards.packages"),
        (TRL, f"{HERE}:one_too_few", "on example 'clip-7': returned 1 scores for 2 completions"),
        (TRL, f"{HERE}:one_number", "on example 'clip-7': returned float, expected a list of 2"),
        (TRL, f"{HERE}:a_nan", f"on completion 1 {ON_7}: returned nan, expected a finite number"),
        (TRL, f"{HERE}:a_text", f"on completion 0 {ON_7}: returned 'high', expected a finite"),
        (TRL, f"{HERE}:wants_steps", "needs steps, which it is not given; it is given prompts"),
        (ORM, f"{SWIFT}:NoCall", "NoCall has no __call__"),
    ],
)
def test_what_goes_wrong_is_named(adapter: str, function: str, message: str):
    with pytest.raises(RewardError) as error:
        score(adapter, function, "happy", "sad")
    assert message in str(error.value)


def test_options_that_do_not_fit_are_named():
    for options, message in (
        ({"columns": {"answer": "labl"}}, "columns.answer is 'labl', which is no field of a row"),
        ({"limits": [1, 0]}, "limits are [1, 0]; needed are two numbers"),
        ({"limits": [0, 1]}, "value 1 is 2.0, outside [0, 1]"),
    ):
        with pytest.raises(RewardError) as error:
            score(VERL, f"{HERE}:compute_score", "angry", "angry", **options)
        assert message.replace("value 1", "value 0") in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("trainer", ["verl", "trl", "swift"])
def test_the_shipped_examples_run(trainer: str):
    config = load_config(ROOT / "examples" / "other_trainers" / f"{trainer}.yaml")
    assert list(check_rewards(config)) == []
    group = make_group(
        ["<think>a loud voice</think><answer>angry</answer>", "<answer>sad</answer>"]
    )
    values = {}
    for term in with_run_options(config)[2:]:
        reward = load_reward(term.target, term.options, config.rewards.packages)
        values[term.name] = validate_scores(
            "x", group, reward.score(group), limits_of(reward)
        ).values
    assert all(value == (1.0, 0.0) for name, value in values.items() if name != "choice")
    assert values.get("choice", (1.0, 1.0)) == (1.0, 1.0)


def problems(function: str, *overrides: str, target: str = "TrlReward") -> list[str]:
    base = [
        "rewards.packages=[rewards, tests]",
        f"rewards.terms.1.target=rewards.adapters:{target}",
        f"rewards.terms.1.options.function={function}",
    ]
    config = load_config(ROOT / "configs" / "tiny.yaml", [*base, *overrides])
    return [problem.what for problem in check_rewards(config)]


@pytest.mark.slow
def test_a_loss_that_cannot_run_is_found_before_the_run():
    losses = "tests.unit.trainer.test_losses"

    def said(name: str) -> list[str]:
        settings = ["rewards.packages=[rewards,tests]", f"loss.policy={losses}:{name}"]
        config = load_config(ROOT / "configs" / "tiny.yaml", settings)
        return [problem.what for problem in check_rewards(config)]

    assert said("reinforce") == []
    (found,) = said("reinforse")
    assert found.endswith(f"{losses} has no function reinforse; did you mean reinforce?")
    (found,) = said("loss_of")
    assert found.endswith(
        f"needs kind, old, which it is not given; it is given {', '.join(LOSS_INPUTS)}"
    )


@pytest.mark.slow
def test_a_function_that_cannot_run_is_found_before_the_run():
    where = "rewards.terms.1.options.function"
    assert problems(f"{HERE}:lengths") == []
    (found,) = problems(f"{HERE}:lengthss")
    assert found.endswith(f"{HERE} has no function lengthss; did you mean lengths?")
    (found,) = problems(f"{HERE}:wants_steps")
    assert found.startswith(f"{where}: {HERE}:wants_steps: needs steps, which it is not given")
    assert problems(f"{HERE}:wants_steps", "rewards.terms.1.options.columns={steps: task}") == []
    (found,) = problems(f"{HERE}:lengths", "rewards.packages=[rewards]")
    assert found == f"{where}: {HERE}:lengths is outside rewards.packages: rewards"
    assert problems(f"{SWIFT}:Match", target="SwiftReward") == []
    (found,) = problems(f"{SWIFT}:NoCall", target="SwiftReward")
    assert found.endswith("NoCall has no __call__")


def test_a_judged_one_needs_the_scale_of_trust():
    judged = ["rewards.terms.2.target=rewards.adapters:VerlReward"]
    options = "rewards.terms.2.options={function: 'rewards.trust:mean', limits: [%s]}"
    with pytest.raises(ConfigError, match=r"terms\.2\.judged: trust is made for scores"):
        load_config(ROOT / "configs" / "tiny.yaml", [*judged, options % "0, 5"])
    load_config(ROOT / "configs" / "tiny.yaml", [*judged, options % "0, 1"])
