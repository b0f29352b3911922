"""From measurements to words: what is high, loud or fast for this speaker in this corpus.

A level is a third of the speaker's own clips, or of comparable voices where he is rarely heard.
Beside each level stands how far the measurement is from the next one, so that nobody takes a
borderline case for a fact.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data.prosody.claims import LEVELS
from data.prosody.measure import Prosody

MIN_GROUP = 20
"""Clips of a speaker from which his own thirds are taken."""

MIN_CENTRED = 5
"""Clips of a speaker from which his own median is known; his thirds are then the dataset's."""

MIN_SEX = 50
"""Clips of a sex within a dataset from which pitch of rarely heard speakers is compared with it."""

INTONATIONS = ("flat", "falling", "expressive", "rising")
"""Lowest, middle and highest third of the pitch range; or, whatever the range, an end on a rise."""

LEVELS_OF: Mapping[str, tuple[str, ...]] = {**LEVELS, "intonation": INTONATIONS}
"""Attribute -> its levels, in order where they have one."""

RISE_ST = 0.6
"""`f0_end_st` from which a clip ends on a rise."""

RISE_SPREAD_ST = 1.5
"""Unit of distances from a rise: its typical deviation, the same for all corpora."""

CHANGE_ST, CHANGE_DB = 2.0, 3.0
"""Change between the halves of a clip from which pitch, or energy, rises or falls."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A measured clip and whom it is compared with."""

    prosody: Prosody
    speaker: str | None
    dataset: str | None
    sex: str | None = None
    """`female` or `male`, where known."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where the levels of one attribute meet, for one speaker or dataset."""

    low: float
    """Values below are of the first level."""
    high: float
    """Values from here on are of the third level."""
    spread: float
    """Standard deviation in the group; the unit of distances. Above 0."""
    group: str
    """`speaker`, `centred` (the dataset's thirds around the speaker's median), `sex`, `dataset`."""


Whom = tuple[str, str] | None
"""("speaker", name), ("sex", name), or None for a whole dataset."""

Calibration = Mapping[tuple[str, str | None, Whom], Cuts]
"""(attribute, dataset, whom) -> cuts."""


def attribute_values(prosody: Prosody) -> dict[str, float]:
    """Return what is compared, by attribute, without what was not measured.

    `range` is that of pitch, for the intonation. Rate is `rate/letters` or `rate/nuclei`: the two
    are never compared with each other.
    """
    pitch = prosody.f0_median_hz
    letters, nuclei = prosody.letters_per_s, prosody.nuclei_per_s
    values = {
        "pitch": None if pitch is None else 12 * math.log2(pitch / 100),
        "energy": prosody.energy_dbfs,
        "range": prosody.f0_range_st,
        "rate/letters": letters,
        "rate/nuclei": nuclei if letters is None else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def calibrate(clips: Iterable[Clip]) -> Calibration:
    """Return the cuts of every attribute: thirds of the clips of a speaker within a dataset.

    A speaker with fewer than 20 measured clips gets the thirds of the dataset around his own median
    from 5 clips on. Below that, and for unnamed ones, pitch is compared with the dataset's clips of
    the same sex, if there are 50, and all else with the whole dataset. A speaker is known by
    dataset and name.
    """
    by_whom: dict[tuple[str, str | None, Whom], array[float]] = defaultdict(lambda: array("d"))
    for clip in clips:
        for name, value in attribute_values(clip.prosody).items():
            for whom in _compared_with(name, clip):
                by_whom[name, clip.dataset, whom].append(value)
    centred: dict[tuple[str, str | None], array[float]] = defaultdict(lambda: array("d"))
    for (name, dataset, whom), values in by_whom.items():
        if whom is not None and whom[0] == "speaker" and len(values) >= MIN_CENTRED:
            centred[name, dataset].extend((np.array(values) - np.median(values)).tolist())
    cuts: dict[tuple[str, str | None, Whom], Cuts] = {}
    for (name, dataset, whom), values in by_whom.items():
        kind = "dataset" if whom is None else whom[0]
        if kind == "dataset" or len(values) >= {"speaker": MIN_GROUP, "sex": MIN_SEX}[kind]:
            cuts[name, dataset, whom] = _cuts(values, kind)
        elif kind == "speaker" and len(values) >= MIN_CENTRED:
            middle = float(np.median(values))
            cuts[name, dataset, whom] = _cuts(centred[name, dataset], "centred", middle)
    return cuts


def is_nobody(clip: Clip) -> bool:
    """Return whether neither speaker nor sex is known: then pitch has no level.

    Beside a whole data set, a high voice is a woman's and a low one a man's, whatever they feel.
    """
    return clip.speaker is None and clip.sex is None


def _compared_with(name: str, clip: Clip) -> Iterator[Whom]:
    """Yield whom a clip's value is compared with, the closest first."""
    if name == "pitch" and is_nobody(clip):
        return
    if clip.speaker is not None:
        yield "speaker", clip.speaker
    if clip.sex is not None and name == "pitch":
        yield "sex", clip.sex
    yield None


def _cuts(values: Sequence[float], group: str, middle: float = 0.0) -> Cuts:
    low, high = np.percentile(values, [100 / 3, 200 / 3])
    # All equal: nothing is far from anything.
    spread = float(np.std(values)) or 1.0
    return Cuts(middle + float(low), middle + float(high), spread, group)


def describe(clip: Clip, calibration: Calibration) -> dict[str, Any]:
    """Return a clip's `prosody` as it stands in a manifest; docs/data.md explains every key.

    Args:
        clip: one of the clips that were calibrated on, or another of the same dataset.
        calibration: as `calibrate` returns it; what it has no cuts for becomes None.
    """
    readings: dict[str, tuple[float, Cuts]] = {}
    for key, value in attribute_values(clip.prosody).items():
        all_cuts = (calibration.get((key, clip.dataset, who)) for who in _compared_with(key, clip))
        cuts = next((one for one in all_cuts if one is not None), None)
        if cuts is not None:
            readings[key] = value, cuts
    source = next((key for key in readings if key.startswith("rate/")), None)
    facts: dict[str, Any] = {}
    for name in ("pitch", "energy", "rate"):
        facts |= _level_facts(name, readings.get(source or name if name == "rate" else name))
    facts["rate_from"] = source and source.removeprefix("rate/")
    facts |= _intonation_facts(clip.prosody.f0_end_st, readings.get("range"))
    facts["pitch_change"] = _change(clip.prosody.f0_change_st, CHANGE_ST)
    facts["energy_change"] = _change(clip.prosody.energy_change_db, CHANGE_DB)
    return facts | clip.prosody.as_json()


def _level(value: float, cuts: Cuts) -> int:
    return int(value >= cuts.low) + int(value >= cuts.high)


def _level_facts(name: str, reading: tuple[float, Cuts] | None) -> dict[str, Any]:
    """Return a level, its distances to the levels beside it, and whom it is relative to."""
    keys = (name, f"{name}_to_below", f"{name}_to_above", f"{name}_group")
    if reading is None:
        return dict.fromkeys(keys)
    value, cuts = reading
    index = _level(value, cuts)
    below = None if index == 0 else value - (cuts.low, cuts.high)[index - 1]
    above = None if index == 2 else (cuts.low, cuts.high)[index] - value
    distances = [None if d is None else round(d / cuts.spread, 3) for d in (below, above)]
    return dict(zip(keys, (LEVELS[name][index], *distances, cuts.group), strict=True))


def _intonation_facts(end_st: float | None, reading: tuple[float, Cuts] | None) -> dict[str, Any]:
    """Return the intonation, and how far the clip is from each of the other three."""
    keys = ("intonation", *(f"intonation_to_{name}" for name in INTONATIONS), "intonation_group")
    if end_st is None or reading is None:
        return dict.fromkeys(keys)
    value, cuts = reading
    rises = end_st >= RISE_ST
    chosen = INTONATIONS[3] if rises else INTONATIONS[_level(value, cuts)]
    from_rise = abs(end_st - RISE_ST) / RISE_SPREAD_ST
    intervals = ((-math.inf, cuts.low), (cuts.low, cuts.high), (cuts.high, math.inf))
    steps = [max(low - value, value - high, 0.0) / cuts.spread for low, high in intervals]
    distances = [*(max(step, from_rise if rises else 0.0) for step in steps), from_rise]
    shown = [
        None if name == chosen else round(distance, 3)
        for name, distance in zip(INTONATIONS, distances, strict=True)
    ]
    return dict(zip(keys, (chosen, *shown, cuts.group), strict=True))


def _change(value: float | None, least: float) -> str | None:
    """Return `rising`, `falling` or `steady`."""
    if value is None:
        return None
    return "rising" if value >= least else "falling" if value <= -least else "steady"
