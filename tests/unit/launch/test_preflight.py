"""Preflight: what it finds in folders and environments that are made here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from configs.load import load_config
from configs.schema import RunConfig
from launch.placement import num_gpus_needed
from launch.preflight import (
    ROOT,
    Problem,
    check_authentication,
    check_data,
    check_folder,
    check_gpus,
    check_job_stop,
    check_loss,
    check_output,
    check_ray_folder,
    check_versions,
    preflight,
)
from launch.preflight.checkpoint import check_checkpoint
from launch.preflight.upload import check_upload, upload_sizes

TINY = ROOT / "configs" / "tiny.yaml"
OMNI = ROOT / "configs" / "omni_7b.yaml"
MIB = 2**20


CHECKPOINT_FILES = (
    "chat_template.jinja",
    "config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster, no job, no token of the machine that runs the tests."""
    for name in list(os.environ):
        if name.startswith("RAY_") or name == "TMPDIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))


def complete_run(tmp_path: Path, *overrides: str) -> RunConfig:
    """A configuration whose files all exist."""
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for name in CHECKPOINT_FILES:
        (checkpoint / name).write_text("{}", encoding="utf-8")
    (checkpoint / "model.safetensors").write_bytes(bytes(1000))
    (tmp_path / "manifest.jsonl").write_text("{}\n", encoding="utf-8")
    files = [
        f"model.path={checkpoint}",
        f"data.manifest={tmp_path / 'manifest.jsonl'}",
        f"data.audio_root={tmp_path}",
        f"output_dir={tmp_path / 'new' / 'runs'}",
    ]
    return load_config(TINY, [*files, *overrides])


def only(problems: Sequence[Problem]) -> Problem:
    (problem,) = problems
    return problem


def git_repository(folder: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True, timeout=30)


def test_a_complete_tiny_run_has_no_errors(tmp_path: Path) -> None:
    found = preflight(complete_run(tmp_path))
    assert [str(problem) for problem in found if problem.level == "error"] == []


def test_missing_tiny_files_point_to_make_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config(TINY)
    checkpoint = only(list(check_checkpoint(config)))
    assert checkpoint.level == "error"
    assert checkpoint.what == "model.path: no folder runs/demo/sft/export"
    manifest, audio = check_data(config)
    assert manifest.what == "data.manifest: no file runs/demo/material/corpus/manifest.jsonl"
    assert audio.what == "data.audio_root: no folder runs/demo/material/corpus"
    assert all("make demo" in problem.fix for problem in (checkpoint, manifest, audio))


def test_checkpoint_parts_are_named(tmp_path: Path) -> None:
    config = complete_run(tmp_path)
    assert list(check_checkpoint(config)) == []
    folder = Path(config.model.path)
    (folder / "tokenizer.json").unlink()
    assert only(list(check_checkpoint(config))).what.endswith(
        "lacks tokenizer.json or vocab.json and merges.txt"
    )
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    problem = only(list(check_checkpoint(config)))
    assert problem.what.endswith("lacks *.safetensors")
    assert "safetensors files only" in problem.fix
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": shards}), encoding="utf-8")
    problem = only(list(check_checkpoint(config)))
    assert problem.what.endswith("lacks model-00002-of-00002.safetensors")


@pytest.mark.parametrize("name", CHECKPOINT_FILES)
def test_no_file_of_a_checkpoint_may_be_missing(tmp_path: Path, name: str) -> None:
    config = complete_run(tmp_path)
    (Path(config.model.path) / name).unlink()
    problem = only(list(check_checkpoint(config)))
    assert f"lacks {name}" in problem.what


@pytest.mark.parametrize("name", [name for name in CHECKPOINT_FILES if name.endswith(".json")])
def test_damaged_files_of_a_checkpoint_are_named(tmp_path: Path, name: str) -> None:
    config = complete_run(tmp_path)
    (Path(config.model.path) / name).write_text('{"a": ', encoding="utf-8")
    assert only(list(check_checkpoint(config))).what.endswith(f"no JSON in {name}")


def test_a_chat_template_may_lie_in_three_places(tmp_path: Path) -> None:
    config = complete_run(tmp_path)
    folder = Path(config.model.path)
    (folder / "chat_template.jinja").rename(folder / "chat_template.json")
    assert list(check_checkpoint(config)) == []
    (folder / "chat_template.json").unlink()
    (folder / "processor_config.json").write_text('{"chat_template": "x"}', encoding="utf-8")
    assert list(check_checkpoint(config)) == []


def test_more_tokens_than_the_checkpoint_was_made_for(tmp_path: Path) -> None:
    config = complete_run(tmp_path, "rollout.max_model_len=513")
    text = {"thinker_config": {"text_config": {"max_position_embeddings": 512}}}
    (Path(config.model.path) / "config.json").write_text(json.dumps(text), encoding="utf-8")
    problem = only(list(check_checkpoint(config)))
    assert problem.what.startswith("rollout.max_model_len: 513 tokens")
    assert problem.fix == "set rollout.max_model_len to 512 or less"


@pytest.mark.parametrize("name", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_that_is_too_deep_for_sockets(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    socket = f"/ray/session_2026-11-26_22-41-45_123456_{os.getpid()}/sockets/plasma_store"
    longest = "/" + "a" * (107 - len(socket) - 1)
    monkeypatch.setenv(name, longest)
    assert list(check_ray_folder()) == []
    monkeypatch.setenv(name, longest + "b")
    problem = only(list(check_ray_folder()))
    assert problem.level == "error"
    assert problem.what.startswith(f"{name}: {longest}b has {len(longest) + 1} bytes")
    assert problem.fix.startswith("export RAY_TMPDIR=/tmp/ray-")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert list(check_ray_folder()) == []


def test_the_shorter_of_two_folders_is_the_one_that_ray_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", "/" + "a" * 90)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/r")
    assert list(check_ray_folder()) == []


def test_empty_manifest(tmp_path: Path) -> None:
    config = complete_run(tmp_path)
    Path(config.data.manifest).write_text("", encoding="utf-8")
    assert only(list(check_data(config))).what.endswith("manifest.jsonl is empty")


def test_relative_paths_in_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = complete_run(tmp_path, "output_dir=runs", "data.audio_root=clips")
    assert list(check_output(config)) == []
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    problem = only(list(check_output(config)))
    assert problem.level == "error"
    assert problem.what.startswith("output_dir: runs is relative")
    assert "absolute path" in only(list(check_data(config))).fix
    stop = only(list(check_job_stop()))
    assert "3 s after" in stop.what
    assert stop in preflight(config)
    monkeypatch.setenv("RAY_JOB_STOP_WAIT_TIME_S", "300")
    assert list(check_job_stop()) == []


def test_output_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    config = complete_run(tmp_path, f"output_dir={tmp_path / 'taken' / 'runs'}")
    assert "is not a folder that you may write to" in only(list(check_output(config))).what


def test_too_little_disk(tmp_path: Path) -> None:
    config = complete_run(tmp_path)
    weights = Path(config.model.path) / "model.safetensors"
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    os.truncate(weights, free // 5)  # sparse: three checkpoints and an export do not fit
    assert only(list(check_output(config))).level == "warning"
    os.truncate(weights, free // 2)
    assert only(list(check_output(config))).level == "error"


def test_upload_counts_what_git_does_not_ignore(tmp_path: Path) -> None:
    git_repository(tmp_path)
    (tmp_path / ".gitignore").write_text("runs/\n", encoding="utf-8")
    for name, size in (("runs/big.bin", 200 * MIB), ("data/clip.wav", 60 * MIB), ("a.py", 10)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.truncate(path, size)
    assert upload_sizes(tmp_path) == {".gitignore": 6, "data/clip.wav": 60 * MIB, "a.py": 10}
    assert list(check_upload(tmp_path)) == []
    os.truncate(tmp_path / "data" / "clip.wav", 101 * MIB)
    problem = only(list(check_upload(tmp_path)))
    assert problem.level == "error"
    assert "101 MiB to upload, Ray takes 100; largest: data/clip.wav (101 MiB)" in problem.what


def test_upload_without_git_leaves_out_what_ray_leaves_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "linked.bin").write_bytes(bytes(7))
    folder = tmp_path / "work"
    (folder / ".venv").mkdir(parents=True)
    (folder / ".venv" / "library.so").write_bytes(bytes(5))
    (folder / "a.py").write_bytes(bytes(3))
    (folder / "link").symlink_to(outside)
    assert upload_sizes(folder) == {"a.py": 3, "link/linked.bin": 7}


@pytest.mark.parametrize("git", [True, False])
@pytest.mark.parametrize("name", [".venv", "venv", "__pycache__"])
def test_a_link_to_what_ray_leaves_out_is_not_counted(tmp_path: Path, name: str, git: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "library.so").write_bytes(bytes(7))
    folder = tmp_path / "work"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.py").write_bytes(bytes(3))
    for parent in (folder, folder / "deep"):
        (parent / name).symlink_to(outside)
    if git:
        git_repository(folder)
    assert upload_sizes(folder) == {"a.py": 3}


def test_submitting_from_the_repository_is_small_enough(tmp_path: Path) -> None:
    config = complete_run(tmp_path)
    assert not any("to upload" in problem.what for problem in preflight(config, ROOT))


def test_token_that_others_can_read(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret", encoding="utf-8")
    token.chmod(0o644)
    problem = only(list(check_authentication(submitting=False)))
    assert problem.level == "warning"
    assert problem.fix == f"chmod 600 {token}"
    assert "secret" not in str(problem)
    token.chmod(0o600)
    assert list(check_authentication(submitting=False)) == []


def test_token_that_this_shell_would_not_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(check_authentication(submitting=True)) == []
    (tmp_path / "token").touch(mode=0o600)
    assert only(list(check_authentication(submitting=True))).fix == "export RAY_AUTH_MODE=token"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert only(list(check_authentication(submitting=False))).fix == "export RAY_AUTH_MODE=token"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert list(check_authentication(submitting=True)) == []


def test_gpus_are_counted_per_layout() -> None:
    colocate = ["rollout.colocate=true", "sync.transport=ipc", "rollout.num_engines=4"]
    assert num_gpus_needed(load_config(TINY)) == 0
    assert num_gpus_needed(load_config(OMNI)) == 4 + 3 + 1
    assert num_gpus_needed(load_config(OMNI, ["rollout.tensor_parallel=2"])) == 4 + 6 + 1
    assert num_gpus_needed(load_config(OMNI, colocate)) == 4 + 1
    # Two workers of a local judge share three quarters of a GPU each: two.
    judge = [
        "rewards.terms.2.gpus=0.75",
        "rewards.terms.2.workers=2",
        "rewards.terms.2.options.judge_options.gpu_memory_frac=0.7",
    ]
    assert num_gpus_needed(load_config(OMNI, judge)) == 4 + 3 + 2
    # An evaluation has no learner, whose GPUs colocated engines would share.
    assert num_gpus_needed(load_config(OMNI, [*colocate, *judge]), learns=False) == 4
    judged = [*judge, "eval.judged=true"]
    assert num_gpus_needed(load_config(OMNI, judged), learns=False) == 3 + 2


def test_heads_that_the_gpus_of_an_engine_cannot_share(tmp_path: Path, cluster: None) -> None:
    text = {"thinker_config": {"text_config": {"num_attention_heads": 28}}}
    (tmp_path / "config.json").write_text(json.dumps(text))
    layout = [f"model.path={tmp_path}", "learner.num_ranks=4"]
    assert list(check_gpus(load_config(OMNI, [*layout, "rollout.tensor_parallel=4"]))) == []
    problem = only(list(check_gpus(load_config(OMNI, [*layout, "rollout.tensor_parallel=8"]))))
    assert problem.what == "rollout.tensor_parallel: 8 GPUs cannot share 28 attention heads"
    assert problem.fix == "take one of 2, 4, 7, 14, 28, or 1"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speak for a machine that joins a cluster, whose GPUs are counted later."""
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")


def test_more_gpus_than_any_machine_has() -> None:
    config = load_config(OMNI, ["learner.num_ranks=1000", "train.prompts_per_step=1000"])
    problem = only(list(check_gpus(config)))
    assert problem.level == "error"
    assert problem.what.endswith("1000 x learner + 3 x engine + 1 x reasoning = 1004 GPUs")


def test_modules_that_shadow_ours(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert list(check_folder(tmp_path)) == []
    (tmp_path / "data" / "__init__.py").touch()
    (tmp_path / "trainer.py").touch()
    problem = only(list(check_folder(tmp_path)))
    assert problem.what.endswith("data, trainer")
    assert list(check_folder(ROOT)) == []


def test_versions_of_this_environment() -> None:
    assert not any(problem.what.startswith("Python") for problem in check_versions("cpu"))
    assert not any(problem.what.startswith("ray") for problem in check_versions("cpu"))


def test_errors_come_first_and_read_well(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o644)
    token.chmod(0o644)
    config = complete_run(tmp_path, "data.audio_root=/nowhere")
    levels = [problem.level for problem in preflight(config)]
    assert levels == sorted(levels)
    assert levels[0] == "error"
    shown = str(preflight(config)[0])
    assert shown == (
        "error: data.audio_root: no folder /nowhere\n"
        "  fix: fetch it to this place, or name the right one"
    )


def test_importing_preflight_loads_no_heavy_library() -> None:
    code = (
        "import sys, launch.preflight\n"
        "print([name for name in ('torch', 'ray', 'vllm', 'omegaconf') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_kl_term_that_holds_nothing_is_warned_of():
    (problem,) = check_loss(load_config(TINY, ["loss.kl_estimator=k1"]))
    assert problem.level == "warning" and "expected gradient is 0" in problem.what
    for settings in (["loss.kl_coef=0", "loss.kl_estimator=k1"], ["loss.kl_estimator=k2"]):
        assert not list(check_loss(load_config(TINY, settings)))
    assert not list(check_loss(load_config(TINY, ["loss.kl_estimator=k1"]), learns=False))
