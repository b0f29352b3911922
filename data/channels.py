"""From the channels of a clip to the one that a model hears, and what is odd about them."""

from __future__ import annotations

import numpy as np

from data.records import FloatArray

SILENT_DB = -40.0
"""A channel whose level is that far below the loudest one's is silent: a dead input, with its hiss.
The level is the mean square about the mean."""

OPPOSITE = -0.5
"""Correlation of two channels from which they are of opposite sign."""


def to_mono(samples: FloatArray) -> tuple[FloatArray, str]:
    """Return the mean of the channels that are not silent, and what is odd about the channels.

    A dead channel holds nothing, and would make the clip 6 dB quieter than it was spoken. Channels
    of opposite sign are averaged all the same: which of them is right cannot be told.

    Args:
        samples: [S, C] float32, full scale 1, finite.

    Returns:
        [S], and a sentence; empty if nothing is odd.
    """
    num_channels = samples.shape[1]
    if num_channels == 1:
        return samples[:, 0], ""
    centred = samples - samples.mean(axis=0)
    products = (centred.T @ centred).astype(np.float64) / len(samples)
    powers = np.diag(products)
    live = powers > powers.max() * 10 ** (SILENT_DB / 10)
    if not live.any():
        return samples.mean(axis=1, dtype=np.float32), ""
    odd: list[str] = []
    loudest = int(powers.argmax())
    if not live.all():
        dead = [str(n + 1) for n in np.flatnonzero(~live)]
        odd.append(
            f"{_channels(dead)} of {num_channels} {'are' if len(dead) > 1 else 'is'} silent and "
            "left out of the mean"
        )
    mono = samples[:, live].mean(axis=1, dtype=np.float32)
    scale = np.sqrt(np.outer(powers, powers)) + np.finfo(np.float64).tiny
    correlation = np.where(np.outer(live, live), products / scale, 0.0)
    first, second = np.unravel_index(int(correlation.argmin()), correlation.shape)
    if correlation[first, second] <= OPPOSITE:
        power = max(float(np.square(mono - mono.mean()).mean()), 1e-30)
        loss = 10 * np.log10(powers[loudest] / power)
        pair = sorted((str(first + 1), str(second + 1)))
        odd.append(
            f"{_channels(pair)} are of opposite sign (correlation "
            f"{correlation[first, second]:.2f}): their mean is {loss:.0f} dB quieter than channel "
            f"{loudest + 1}; keep one of them: ffmpeg -i OLD -af 'pan=mono|c0=c{loudest}' NEW.wav"
        )
    return mono, "; ".join(odd)


def _channels(names: list[str]) -> str:
    return f"channel{'s' if len(names) > 1 else ''} {' and '.join(names)}"
