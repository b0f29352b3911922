"""Renditions differ by what was asked, as measured, and by nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from data.prosody.measure import measure
from data.prosody.renditions import MAX_PEAK, Change, analyse, join, render
from tests.unit.task_clips import noise, speech


@pytest.mark.parametrize("voice", ["en-us+m3", "en-gb-x-rp+f4"])
def test_each_change_moves_its_own_measurement(voice: str):
    samples = speech(voice)
    parts = analyse(samples)
    plain = measure(render(parts, Change()), None)
    original = measure(samples, None)
    assert plain.f0_median_hz == pytest.approx(original.f0_median_hz, rel=0.02)
    assert plain.energy_dbfs == pytest.approx(original.energy_dbfs, abs=0.3)

    for step in (4.0, -4.0):
        moved = measure(render(parts, Change(pitch_st=step)), None)
        assert moved.f0_median_hz and plain.f0_median_hz
        assert 12 * math.log2(moved.f0_median_hz / plain.f0_median_hz) == pytest.approx(
            step, abs=0.3
        )
        assert moved.speech_s == pytest.approx(plain.speech_s, rel=0.02)
        assert moved.energy_dbfs == pytest.approx(plain.energy_dbfs, abs=0.3)

    assert plain.energy_dbfs is not None
    louder = measure(render(parts, Change(energy_db=6)), None)
    assert louder.energy_dbfs == pytest.approx(plain.energy_dbfs + 6, abs=0.1)
    assert louder.f0_median_hz == pytest.approx(plain.f0_median_hz, rel=0.001)

    faster = render(parts, Change(rate=1.25))
    assert faster.dtype == np.float32
    assert len(faster) == pytest.approx(len(samples) / 1.25, rel=0.02)
    found = measure(faster, None)
    assert found.energy_dbfs == pytest.approx(plain.energy_dbfs, abs=0.3)
    assert found.speech_s == pytest.approx(plain.speech_s / 1.25, rel=0.02)
    assert found.f0_median_hz == pytest.approx(plain.f0_median_hz, rel=0.02)


def test_a_rendition_is_the_same_every_time():
    samples = speech()
    first, second = (render(analyse(samples), Change(rate=1.33)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_hiss_stays_one():
    hiss = noise()
    found = render(analyse(hiss), Change(pitch_st=4))
    assert len(found) == len(hiss)
    assert measure(found, None).energy_dbfs == pytest.approx(-26, abs=0.5)


def test_joining_scales_all_renditions_by_one_factor():
    """Peaks of 0.5 and 1.98: everything is halved, so the ratio of 3.96 stays."""
    quiet, loud = np.full(160, 0.5, np.float32), np.full(320, -1.98, np.float32)
    joined = join([quiet, loud], 0.01)
    assert len(joined) == 160 + 160 + 320 and joined.dtype == np.float32
    np.testing.assert_allclose(joined[:160], 0.25)
    np.testing.assert_array_equal(joined[160:320], 0)
    np.testing.assert_allclose(joined[320:], -MAX_PEAK)


def test_joining_leaves_what_fits_as_it_is():
    tone = np.linspace(-0.9, 0.9, 50).astype(np.float32)
    np.testing.assert_array_equal(join([tone, tone], 0), np.concatenate([tone, tone]))
