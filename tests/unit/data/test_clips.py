"""Clips for the eye and ear of a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data.audio import wav_bytes
from data.clips import read_clip
from tests.fixtures import write_tone


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
