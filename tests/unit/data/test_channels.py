from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from data.audio import AudioError, read_audio
from data.channels import to_mono
from data.headers import read_headers
from tests.fixtures import make_example, tone


def stereo(right: float, hiss: float = 0.0) -> np.ndarray:
    left = tone(440.0)
    noise = np.random.default_rng(0).normal(0, 1, len(left)).astype(np.float32)
    return np.stack([left, right * left + hiss * noise], axis=1).astype(np.float32)


@pytest.mark.parametrize("hiss", [0.0, 1e-4])
def test_a_silent_channel_does_not_make_a_clip_quieter(hiss: float) -> None:
    samples = stereo(0.0, hiss)
    mono, note = to_mono(samples)
    np.testing.assert_array_equal(mono, samples[:, 0])
    assert note == "channel 2 of 2 is silent and left out of the mean"


def test_channels_of_opposite_sign_are_said_with_what_is_lost() -> None:
    mono, note = to_mono(stereo(-0.9))
    np.testing.assert_allclose(mono, 0.05 * tone(440.0), atol=1e-6)
    assert "channels 1 and 2 are of opposite sign (correlation -1.00)" in note
    assert "26 dB quieter than channel 1" in note
    assert "pan=mono|c0=c0" in note


@pytest.mark.parametrize("right", [1.0, 0.3])
def test_usual_stereo_is_averaged_in_silence(right: float) -> None:
    mono, note = to_mono(stereo(right))
    np.testing.assert_allclose(mono, (1 + right) / 2 * tone(440.0), atol=1e-6)
    assert note == ""


def test_exact_inversion_is_named_as_the_cause(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", stereo(-1.0), 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"is silent: channels 1 and 2 are of opposite sign"):
        read_audio(tmp_path / "a.wav", min_duration_s=0.1, max_duration_s=30)


def test_clips_with_odd_channels_are_named_in_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sf.write(tmp_path / "dead.wav", stereo(0.0), 16_000)
    sf.write(tmp_path / "good.wav", stereo(1.0), 16_000)
    rows = [make_example(n, audio=name) for n, name in enumerate(("dead.wav", "good.wav"))]
    with caplog.at_level(logging.WARNING):
        read_headers(
            rows, tmp_path, min_duration_s=0.1, max_duration_s=30, num_workers=1, deep=True
        )
    assert "1 clips have odd channels" in caplog.text
    assert "dead.wav: channel 2 of 2" in caplog.text
    assert "good.wav" not in caplog.text
