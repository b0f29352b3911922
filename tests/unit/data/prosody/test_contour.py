"""Contour shapes of curves drawn by hand: the same for every length and with gaps."""

from __future__ import annotations

import numpy as np
import pytest

from data.prosody.contour import SHAPES, contour_shape
from data.prosody.measure import measure
from tests.unit.data.prosody.test_measure import silence, voice

POINTS = {
    "rising": [0, 2, 4],
    "falling": [5, 3, 1],
    "rising-falling": [0, 5, 0],
    "falling-rising": [6, 2, 6],
    "flat": [1, 1.4, 0.8, 1.2, 1],
    "expressive": [0, 13, 1, 14, 0, 13, 1],
}


def curve(kind: str, duration_s: float, gaps: bool) -> tuple[np.ndarray, np.ndarray]:
    time_s = np.arange(0, duration_s, 0.01)
    points = POINTS[kind]
    pitch = np.interp(time_s / duration_s, np.linspace(0, 1, len(points)), points)
    kept = np.ones(len(time_s), bool)
    if gaps:
        place = time_s / duration_s
        kept = ~(((place > 0.2) & (place < 0.35)) | ((place > 0.6) & (place < 0.7)))
    return time_s[kept], pitch[kept]


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("duration_s", [0.4, 1.2, 6.0])
@pytest.mark.parametrize("gaps", [False, True])
def test_shape_depends_on_the_curve_alone(kind: str, duration_s: float, gaps: bool):
    shape, confidence = contour_shape(*curve(kind, duration_s, gaps))
    assert shape == kind
    assert confidence is not None and 0.25 <= confidence <= 1


def test_confidence_by_hand():
    # A straight line of 4 st is explained whole, and its leg of 4 st is the full size.
    assert contour_shape(*curve("rising", 1.0, False))[1] == pytest.approx(1.0, abs=0.02)
    # A line of 3 st: 3 / 4.
    time_s = np.linspace(0, 1, 101)
    assert contour_shape(time_s, 3 * time_s) == ("rising", pytest.approx(0.75, abs=0.001))
    # Exactly level: a range of 0.
    assert contour_shape(time_s, np.zeros(101)) == ("flat", 1.0)


def test_between_flat_and_expressive_nothing_is_said():
    time_s = np.linspace(0, 1, 101)
    wave = 3 * np.sin(2 * np.pi * 4 * time_s)  # a range of nearly 6 st, no direction
    assert contour_shape(time_s, wave) == (None, None)


@pytest.mark.parametrize(
    ("points_hz", "shape"),
    [
        ([120, 160], "rising"),
        ([160, 120], "falling"),
        ([120, 180, 120], "rising-falling"),
        ([180, 125, 180], "falling-rising"),
        ([150, 150], "flat"),
    ],
)
def test_shape_of_a_voice_with_gaps(points_hz: list[float], shape: str):
    clip = voice(points_hz, 1.5)
    clip[int(0.5 * 16000) : int(0.65 * 16000)] = 0
    found = measure(np.concatenate([silence(0.2), clip, silence(0.3)]), None)
    assert found.contour == shape
    assert found.contour_confidence is not None and found.contour_confidence > 0.5


def test_percentiles_and_reliability_of_a_voice():
    found = measure(voice([120, 240]), None)
    # Even in semitones: 5 % and 95 % of an octave above 120 Hz.
    assert found.f0_p5_hz == pytest.approx(120 * 2**0.05, rel=0.02)
    assert found.f0_p95_hz == pytest.approx(120 * 2**0.95, rel=0.02)
    assert found.f0_reliability is not None and found.f0_reliability > 0.97
    noise = np.random.default_rng(0).normal(0, 0.12, 16000).astype(np.float32)
    noisy = measure(voice([150]) + noise, None)
    assert noisy.f0_reliability is not None
    assert 0.3 < noisy.f0_reliability < 0.9


def test_pauses_count_in_the_speaking_rate_alone():
    syllable = voice([150, 140], 0.25) * np.hanning(4000).astype(np.float32)
    four = np.concatenate([syllable] * 4)
    found = measure(np.concatenate([silence(0.2), four, silence(0.5), four, silence(0.2)]), None)
    assert found.num_pauses == 1
    assert found.nuclei_per_s is not None and found.spoken_nuclei_per_s is not None
    assert found.pause_frac is not None
    assert found.spoken_nuclei_per_s == pytest.approx(
        found.nuclei_per_s * (1 - found.pause_frac), rel=1e-6
    )
    assert found.nuclei_per_s == pytest.approx(4.0, rel=0.15)
