"""What an attacker may try beyond what the rooms' own tests cover: see SECURITY.md."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from configs.schema import DataConfig, RewardTermConfig
from data.prompts import PromptBuilder
from rewards.base import RewardError, reward_class
from rewards.pool import RewardPool
from tests.judge_server import running
from tests.unit.make_groups import make_group
from trainer.policy import load_thinker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECRET = "sentinel-c0ffee-5a17"


@pytest.fixture
def foreign_model(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """Return a checkpoint that somebody else may have filled."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "foreign"))


def evil_pickle(flag: Path) -> bytes:
    """Return a pickle that makes a file when it is read; by hand, since nothing here imports it."""
    return b"cos\nmkdir\n(V" + str(flag).encode() + b"\ntR."


def test_the_evil_pickle_would_run(tmp_path: Path):
    import torch

    flag, file = tmp_path / "ran", tmp_path / "evil.bin"
    file.write_bytes(evil_pickle(flag))
    unsafe: Any = {"weights_only": False}
    with pytest.raises(Exception):  # noqa: B017  # whatever torch says of what it has run
        torch_load(torch, file, **unsafe)
    assert flag.exists()


def torch_load(torch: Any, file: Path, **options: Any) -> Any:
    """Call the unsafe reader of torch, which nothing else here calls."""
    return getattr(torch, "load")(file, **options)  # noqa: B009


@pytest.mark.fault(
    "a checkpoint holds its weights as a pickle that runs code",
    happens="refused: weights are read from safetensors alone",
    lost="nothing",
)
def test_pickled_weights_are_not_read(foreign_model: Path, tmp_path: Path):
    flag = tmp_path / "ran"
    for file in foreign_model.glob("*.safetensors*"):
        file.unlink()
    for name in ("pytorch_model.bin", "model.bin", "training_args.bin"):
        (foreign_model / name).write_bytes(evil_pickle(flag))
    with pytest.raises((OSError, ValueError)):
        load_thinker(foreign_model, "float32")
    assert not flag.exists()


@pytest.mark.fault(
    "a pickle lies beside good weights",
    happens="it is left alone",
    lost="nothing",
)
def test_a_pickle_beside_the_weights_does_not_run(foreign_model: Path, tmp_path: Path):
    flag = tmp_path / "ran"
    for name in ("pytorch_model.bin", "optimizer.pt", "scheduler.pt", "training_args.bin"):
        (foreign_model / name).write_bytes(evil_pickle(flag))
    load_thinker(foreign_model, "float32")
    PromptBuilder(foreign_model, DataConfig())
    assert not flag.exists()


@pytest.mark.fault(
    "a checkpoint brings code of its own (auto_map)",
    happens="it does not run",
    lost="nothing",
)
def test_code_of_a_checkpoint_does_not_run(foreign_model: Path, tmp_path: Path):
    flag = tmp_path / "ran"
    (foreign_model / "evil.py").write_text(f"import os\nos.mkdir({str(flag)!r})\n")
    kinds = ("AutoConfig", "AutoModel", "AutoProcessor", "AutoTokenizer", "AutoFeatureExtractor")
    for file in foreign_model.glob("*.json"):
        content = json.loads(file.read_text())
        if isinstance(content, dict) and "weight_map" not in content and "config" in file.name:
            content["auto_map"] = dict.fromkeys(kinds, "evil.Evil")
            file.write_text(json.dumps(content))
    load_thinker(foreign_model, "float32")
    PromptBuilder(foreign_model, DataConfig())
    assert not flag.exists()


TARGETS = [
    "os:system",
    "builtins:exec",
    "subprocess:Popen",
    "importlib:import_module",
    "rewards/../os:system",
    "rewards .format:FormatReward",
    "rewards.base:importlib",
    "__main__:Reward",
    ".rewards.format:FormatReward",
    "rewards\n:FormatReward",
    "\u0433ewards.format:FormatReward",
]


@pytest.mark.fault(
    "a configuration names code outside rewards.packages",
    happens="refused before it is imported",
    lost="nothing",
)
@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_a_target_outside_the_allow_list_is_refused(target: str):
    with pytest.raises(RewardError, match="reward target"):
        reward_class(target, ["rewards"])


@pytest.fixture
def secret_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the name of a variable with the secret, which workers see too."""
    monkeypatch.setenv("SENTINEL_KEY", SECRET)
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield "SENTINEL_KEY"
    ray.shutdown()


@pytest.mark.fault(
    "a judge's server fails in every way while it is called with a key",
    happens="the key stands in no score, reason, warning or error",
    lost="nothing",
)
def test_the_key_of_a_failing_judge_stands_nowhere(
    secret_key: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"choices": [{"message": {"content": f"Bearer {SECRET}"}}]})
    items = ["401", "500", "429 1", "302", "drop", "cut", "hang", f"raw {echo}", f"text {SECRET}"]
    options = {
        "judge": "rewards.judges.http:HttpJudge",
        "judge_options": {
            "model": "m",
            "api_key_env": secret_key,
            "max_attempts": 1,
            "timeout_s": 2.0,
            "max_concurrent_calls": 1,
            "breaker_failures": 99,
        },
    }
    with running(lambda number, body: items[number]) as server:
        options["judge_options"]["url"] = server.url
        term = RewardTermConfig(
            name="reasoning", target="rewards.reasoning:ReasoningReward", judged=True,
            options=options,
        )  # fmt: skip
        pool = RewardPool([term], ["rewards"])
        groups = [
            make_group([f"<think>text {i}</think><answer>sad</answer>"], id=str(i))
            for i in range(len(items))
        ]
        found = list(pool.score(groups, {"reasoning": 1.0}))
        pool.close()
        sent = [headers["Authorization"] for headers in server.headers]
    assert sent == [f"Bearer {SECRET}"] * len(items)  # else nothing is shown here
    reasons = {terms.details["reasoning"][0]["missing"] for _, terms in found}
    assert len(reasons) >= 6 and "" not in reasons
    assert SECRET not in repr(found) + caplog.text
    logs = Path(_session_folder())
    leaked = [
        file.name
        for file in logs.rglob("*")
        if file.is_file() and SECRET.encode() in file.read_bytes()
    ]
    assert leaked == []


def _session_folder() -> str:
    """Return the folder of Ray's logs on this machine."""
    return os.path.join(ray._private.worker._global_node.get_session_dir_path(), "logs")
