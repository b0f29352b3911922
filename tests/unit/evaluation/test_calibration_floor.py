"""The calibration error that noise alone makes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evaluation.calibration.statistics import calibration_error, calibration_floor


def test_by_hand():
    # Known scores on either side of what was judged, 1 off each: their deviation with 4 - 1 degrees
    # of freedom is sqrt(4/3), and that of the mean of four half of it.
    floor = calibration_floor([3.0] * 4, [2.0, 4.0, 2.0, 4.0])
    assert floor == pytest.approx((2 / math.pi) ** 0.5 * (4 / 3) ** 0.5 / 2)


def test_the_error_of_a_judge_that_errs_nowhere_is_the_floor():
    """400 texts whose known score is a judged one plus noise of 1.4 points: 0.16."""
    draw = np.random.default_rng(0)
    errors, floors = [], []
    for _ in range(60):
        judged = draw.uniform(1, 5, 400)
        gold = judged + draw.normal(0, 1.4, 400)
        errors.append(calibration_error(judged.tolist(), gold.tolist()))
        floors.append(calibration_floor(judged.tolist(), gold.tolist()))
    assert np.mean(floors) == pytest.approx(0.16, abs=0.01)
    assert np.mean(errors) == pytest.approx(np.mean(floors), rel=0.1)
