"""The shape of a pitch contour, whatever its length and its unvoiced gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPES = ("rising", "falling", "rising-falling", "falling-rising", "flat", "expressive")
"""What a contour can be; one that is none of them clearly is None."""

SHAPE_ST = 2.0
"""Change, in semitones, that makes a rise or a fall."""
FLAT_ST, EXPRESSIVE_ST = 3.0, 9.0
"""Range (95th minus 5th percentile) below which a contour without rise or fall is flat, and from
which it is expressive."""
MIN_FIT = 0.5
"""Share of the contour's variance that a shape must explain."""

_VERTEX = 0.85  # of the half span: a turn closer to an end is no turn


def contour_shape(
    time_s: NDArray[np.float64], contour_st: NDArray[np.float64]
) -> tuple[str | None, float | None]:
    """Return the shape of a contour and the confidence in it.

    A parabola is fitted over the span from the first to the last voiced frame: a gap leaves out
    points and moves none. If it turns within the span and both legs are at least 2 st long, the
    shape has two parts; else its ends tell a rise or a fall of at least 2 st. Without either, the
    range tells flat (below 3 st) or expressive (from 9 st); between them nothing is said.

    Args:
        time_s: [V] times of the voiced frames, ascending; V >= 3.
        contour_st: [V] pitch in semitones.

    Returns:
        One of SHAPES or None, and a confidence in [0, 1] (None if there is no shape): for a rise or
        fall the explained share of the variance, times its shorter leg over 4 st up to 1; for flat
        one minus a sixth of the range; for expressive the range over 18 st up to 1.

    Source: thresholds of 2, 3 and 9 st as in the released EmotionCoT labelling pipeline, which
    compares quarters of the utterance or a quadratic turn.
    """
    span = time_s[-1] - time_s[0]
    x = 2 * (time_s - time_s[0]) / span - 1  # -1 to 1
    curve = np.polynomial.Polynomial.fit(x, contour_st, 2, domain=[-1, 1])
    variance = float(np.var(contour_st))
    # Exactly level: nothing to explain, and nothing unexplained.
    fit = 1 - float(np.mean((contour_st - curve(x)) ** 2)) / variance if variance > 1e-6 else 0.0
    size, shape = _fitted_shape(curve)
    if shape is not None and fit >= MIN_FIT:
        return shape, round(fit * min(1.0, size / 4), 3)
    low, high = np.percentile(contour_st, [5, 95])
    width = float(high - low)
    if width < FLAT_ST:
        return "flat", round(1 - width / 6, 3)
    if width >= EXPRESSIVE_ST:
        return "expressive", round(min(1.0, width / 18), 3)
    return None, None


def _fitted_shape(curve: np.polynomial.Polynomial) -> tuple[float, str | None]:
    """Return the shorter leg of a parabola over [-1, 1] in semitones, and its shape, if any."""
    start, end = float(curve(-1.0)), float(curve(1.0))
    _, slope, bend = (*curve.coef, 0.0, 0.0)[:3]
    vertex = -slope / (2 * bend) if bend else np.inf
    if abs(vertex) < _VERTEX:
        first, second = float(curve(vertex)) - start, end - float(curve(vertex))
        if min(abs(first), abs(second)) >= SHAPE_ST:
            shape = "rising-falling" if first > 0 else "falling-rising"
            return min(abs(first), abs(second)), shape
    change = end - start
    if abs(change) >= SHAPE_ST:
        return abs(change), "rising" if change > 0 else "falling"
    return 0.0, None
