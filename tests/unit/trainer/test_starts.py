"""What a run writes down about each of its starts."""

from __future__ import annotations

import datetime
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np

from data.audio import wav_bytes
from data.clips import read_clip
from tests.fixtures import write_tone
from trainer.starts import code_version, read_starts, record_start


def test_a_start_says_when_where_and_with_what(tmp_path: Path) -> None:
    path = tmp_path / "starts.jsonl"
    assert read_starts(path) == []
    record_start(path, 0)
    record_start(path, 51)
    first, second = read_starts(path)
    assert (first["first_step"], second["first_step"]) == (0, 51)
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(first["time"])
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=5)
    assert first["versions"]["torch"] == metadata.version("torch")
    assert first["versions"]["ray"] == metadata.version("ray")
    assert first["machine"]["cores"] >= 1 and first["machine"]["memory_gib"] > 0


def test_the_commit_of_the_code(tmp_path: Path) -> None:
    assert code_version(tmp_path) == ""  # no checkout
    who = ["-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    assert code_version(tmp_path) == head.stdout[:12]
    (tmp_path / "new.txt").write_text("x")
    subprocess.run(["git", "add", "new.txt"], cwd=tmp_path, check=True)
    assert code_version(tmp_path) == f"{head.stdout[:12]}-dirty"


def test_a_clip_is_read_below_its_root_alone(tmp_path: Path) -> None:
    root = tmp_path / "corpus"
    write_tone(root / "in.wav", duration_s=0.25)
    write_tone(tmp_path / "out.wav")
    samples = read_clip(root, "in.wav")
    assert samples is not None and len(samples) == 4000
    for audio in ("../out.wav", "gone.wav", ""):
        assert read_clip(root, audio) is None


def test_a_clip_as_wav() -> None:
    packed = wav_bytes(np.array([0.0, 1.0, -2.0], np.float32))
    assert np.frombuffer(packed[44:], "<i2").tolist() == [0, 32767, -32767]
