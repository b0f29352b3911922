"""A key in a configuration, in place of the name of its variable: no command takes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from configs.load import ConfigError, load_config
from configs.secrets import (
    secret_problems,
)
from launch import annotate, calibrate, cli, doctor, sweep
from launch.preflight.rewards import check_rewards
from rewards.judges.chat import ChatClient, ChatError
from tests.faults.test_secrets import HEADER, SECRET, TINY, leaks

HOLDING = {
    "named so": {"api_key": SECRET},
    "in a list": {"servers": [{"url": "http://h"}, {"API-Key": SECRET}]},
    "in headers": {"headers": {"Authorization": HEADER}},
    "of another name": {"headers": {"X-Door": HEADER}},
    "camel case": {"apiKey": SECRET},
    "token": {"token": SECRET},
    "hub token": {"hf_token": SECRET},
    "secret key": {"aws_secret_key": SECRET},
    "password": {"passwd": SECRET},
    "password in an address": {"url": f"http://me:{quote(SECRET, safe='')}@h/v1"},
    "key in an address": {"url": f"http://h/v1?a=b&api-key={quote(SECRET)}"},
    "in place of its variable": {"api_key_env": SECRET},
    "a hexadecimal one in place of its variable": {"api_key_env": "sesame5a17ec0ffee"},
}


def in_yaml(options: dict[str, Any]) -> str:
    term = {
        "name": "reasoning",
        "target": "rewards.reasoning:ReasoningReward",
        "judged": True,
        "options": {"judge": "rewards.judges.http:HttpJudge", "judge_options": options},
    }
    accuracy = {"name": "accuracy", "target": "rewards.accuracy:AccuracyReward", "weight": 1.0}
    return f"rewards.terms={json.dumps([accuracy, term])}"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(
            how,
            id=how,
            marks=pytest.mark.fault(
                f"a configuration holds a key: {how}",
                happens="refused with the option's name, before anything is written; not quoted",
                lost="nothing",
            ),
        )
        for how in HOLDING
    ],
)
def test_a_configuration_with_a_key_is_refused_unquoted(how: str):
    with pytest.raises(ConfigError, match=r"rewards\.terms\.1\.options\.judge_options\.") as caught:
        load_config(TINY, [in_yaml(HOLDING[how])])
    assert leaks(str(caught.value)) == [] and "environment" in str(caught.value)


def test_options_that_only_sound_like_secrets_are_let_through():
    options = {
        "api_key_env": "JUDGE_API_KEY",
        "max_tokens": 5,
        "end_token": "<|im_end|>",
        "url": "http://h:8000/v1?model=a@b",
        "prompt": "Basic emotions; see http://h/?key=c",
        "bucket": "s3://bucket/a@b",
        "password": None,
    }
    assert list(secret_problems(options)) == []


COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "rl": lambda argv: cli.main("policy", "", argv),
    "sft": lambda argv: cli.main("sft", "", argv),
    "judge": lambda argv: cli.main("judge", "", argv),
    "evaluate": lambda argv: cli.main("evaluate", "", argv),
    "calibrate": calibrate.main,
    "doctor": doctor.main,
}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            command,
            marks=pytest.mark.fault(
                f"launch/{command}.py is given a key in place of its variable's name",
                happens="exit 2; nothing is written, and the key is not shown",
                lost="nothing",
            ),
        )
        for command in (*COMMANDS, "annotate", "sweep")
    ],
)
def test_no_command_takes_or_shows_a_key(
    command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    options = {"url": "http://h/v1", "model": "m", "api_key_env": SECRET}
    if command == "annotate":
        settings = [f"reasoning.{name}={value}" for name, value in options.items()]
        code = annotate.main(["corpus=ravdess", f"root={tmp_path}", *settings])
    elif command == "sweep":
        key, _, value = in_yaml(options).partition("=")
        trial = {"name": "a", "config": TINY, "set": {key: json.loads(value)}}
        (tmp_path / "s.yaml").write_text(json.dumps({"name": "s", "trials": [trial]}))
        code = sweep.main(["--config", "s.yaml"])
        (tmp_path / "s.yaml").unlink()
    else:
        code = COMMANDS[command](["--config", TINY, in_yaml(options)])
    printed = capfd.readouterr()
    assert code == 2 and "environment" in printed.err
    assert leaks(printed.out + printed.err) == []
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.fault(
    "the environment variable of a judge's key is not set",
    happens="refused before anything starts, with its name and what to export",
    lost="nothing",
)
def test_a_key_that_is_not_set_is_found_before_the_start(monkeypatch: pytest.MonkeyPatch):
    for name in ("RAY_ADDRESS", "RAY_JOB_CONFIG_JSON_ENV_VAR", "NO_SUCH_DOOR"):
        monkeypatch.delenv(name, raising=False)
    options = {"url": "http://h/v1", "model": "m", "api_key_env": "NO_SUCH_DOOR"}
    config = load_config(TINY, [in_yaml(options)])
    (problem,) = check_rewards(config)
    assert problem.level == "error"
    assert "rewards.terms.1.options: the environment variable NO_SUCH_DOOR" in problem.what
    monkeypatch.setenv("NO_SUCH_DOOR", "x")
    assert list(check_rewards(config)) == []
    monkeypatch.delenv("NO_SUCH_DOOR")
    monkeypatch.setenv("RAY_ADDRESS", "auto")  # the workers' nodes may have it
    assert list(check_rewards(config)) == []


def test_a_client_is_not_built_with_a_key_for_a_name():
    limits = dict.fromkeys(("max_concurrent_calls", "timeout_s", "max_attempts"), 1)
    limits |= dict.fromkeys(("max_reply_bytes", "breaker_failures", "breaker_cooldown_s"), 1)
    with pytest.raises(ChatError, match="is not the name of an environment variable") as caught:
        ChatClient("http://h/v1", api_key_env=SECRET, **limits)
    assert leaks(str(caught.value)) == []
