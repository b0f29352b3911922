"""What a user sees of a mistake: an exit code and a short message, before Ray starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.e2e.command import Shell, command, open_shell
from tests.e2e.conftest import WriteConfig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

MAX_STDERR_LINES = 12
FOUR_HOURS = 4 * 3600 * 16_000

Refused = Callable[..., str]


@pytest.fixture
def shell(home: Path) -> Iterator[Shell]:
    """Return a shell of the test's own, in which no other test has started Ray."""
    with open_shell(home) as shell:
        yield shell


@pytest.fixture
def config_path(tmp_path: Path, write_config: WriteConfig) -> Path:
    """Return a configuration whose run folder is `tmp_path/runs/run`."""
    return write_config(tmp_path)


@pytest.fixture
def refused(shell: Shell, config_path: Path) -> Refused:
    """Return a function that runs RL, checks how it was refused, and returns the message."""

    def run(exit_code: int, **overrides: object) -> str:
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        done = shell.run(*command("rl", config_path, dotted))
        assert_short(done)
        assert done.returncode == exit_code, done.stderr
        assert not shell.has_used_ray
        return done.stderr

    return run


def assert_short(done: subprocess.CompletedProcess[str]) -> None:
    """Check that a message is for people: few lines, and no traceback."""
    assert len(done.stderr.splitlines()) <= MAX_STDERR_LINES, done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def damaged(tmp_path: Path, corpus: Path) -> Path:
    """Return a copy of the corpus that a test may damage."""
    return Path(shutil.copytree(corpus, tmp_path / "damaged"))


def edit_row(manifest: Path, number: int, **fields: object) -> None:
    """Change fields of a manifest's line, counted from 1."""
    lines = manifest.read_text().splitlines()
    lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | fields)
    manifest.write_text("\n".join(lines) + "\n")


def test_a_typing_error_names_the_nearest_key_at_once(refused: Refused, shell: Shell) -> None:
    begin = time.monotonic()
    message = refused(2, optim__learning_rat=1e-3, rollout__group_sise=4)
    assert time.monotonic() - begin < 15
    assert "rollout.group_sise" in message
    assert "nearest is rollout.group_size" in message
    assert "optim.learning_rat" in message


def test_manifest_problems_are_listed_by_file_and_line(refused: Refused, damaged: Path) -> None:
    manifest = damaged / "manifest.jsonl"
    lines = manifest.read_text().splitlines()
    lines[2] = lines[2][:-20]
    manifest.write_text("\n".join(lines) + "\n")
    edit_row(manifest, 5, label="bored")
    (damaged / "audio" / "train-00007.wav").unlink()
    message = refused(2, data__manifest=manifest, data__audio_root=damaged)
    assert f"{manifest}:3: is not JSON" in message
    assert f"{manifest}:5: " in message
    assert "'bored'" in message
    assert "neutral" in message  # what is allowed
    assert f"{manifest}:8: " in message
    assert "train-00007.wav" in message


def test_bad_clips_are_all_named_before_anything_starts(refused: Refused, damaged: Path) -> None:
    audio = damaged / "audio"
    whole = (audio / "train-00001.wav").read_bytes()
    (audio / "train-00001.wav").write_bytes(whole[: len(whole) // 2])
    # 4 hours of silence in a file of some kB: read, it would take 900 MB.
    sf.write(audio / "bomb.flac", np.zeros(FOUR_HOURS, np.int16), 16_000)
    assert (audio / "bomb.flac").stat().st_size < 1_000_000
    edit_row(damaged / "manifest.jsonl", 4, audio="audio/bomb.flac")
    message = refused(2, data__manifest=damaged / "manifest.jsonl", data__audio_root=damaged)
    assert "2 clips" in message
    assert "train-00001: " in message and "the file is cut" in message
    assert "train-00003: " in message and "lasts 14400.0 s" in message


def test_folder_of_another_run_is_left_alone(
    refused: Refused, tmp_path: Path, config_path: Path
) -> None:
    folder = tmp_path / "runs" / "run"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    message = refused(2)
    assert str(folder) in message and "another run" in message
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_missing_checkpoint_fails_the_preflight(refused: Refused, tmp_path: Path) -> None:
    message = refused(3, model__path=tmp_path / "nowhere")
    assert "model.path" in message and str(tmp_path / "nowhere") in message


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    shell: Shell, config_path: Path, tmp_path: Path
) -> None:
    done = shell.run(*command("rl", config_path, None, "--dry-run"))
    assert done.returncode == 0, done.stderr
    assert "60 train" in done.stdout
    assert not (tmp_path / "runs").exists()
    assert not shell.has_used_ray


def test_a_silent_clip_is_named_before_anything_starts(
    shell: Shell, config_path: Path, damaged: Path
) -> None:
    silent = damaged / "audio" / "cold_start-00002.wav"
    sf.write(silent, np.zeros(16_000, np.int16), 16_000)
    overrides = {
        "data.manifest": damaged / "manifest.jsonl",
        "data.audio_root": damaged,
        "data.train_split": "cold_start",
        "loss.kind": "sft",
        "train.prompts_per_step": 39,
    }
    done = shell.run(*command("sft", config_path, overrides))
    assert_short(done)
    assert done.returncode == 2, done.stderr
    assert "cold_start-00002" in done.stderr and "is silent" in done.stderr
    assert not shell.has_used_ray
    skipped = shell.run(
        *command("sft", config_path, overrides | {"data.bad_clips": "skip"}, "--dry-run")
    )
    assert skipped.returncode == 0, skipped.stderr
    assert "39 train, 1 left out" in skipped.stdout
