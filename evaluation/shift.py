"""Whether a policy hears: how far the level that it claims follows a clip that was moved.

A greedy text changes its level only where a move crosses the policy's threshold; the mean over
sampled texts moves before. Each control is compared with its baseline, sampled with the same seeds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data.files import Row
from data.prosody.claims import LEVELS
from data.records import Group
from evaluation.controls import CONTROLS, moving
from evaluation.grounding import claimed_levels
from evaluation.paired import speaker_places
from evaluation.statistics import Interval, cluster_mean_interval

Levels = dict[str, list[int | None]]
"""Attribute -> the level (0, 1 or 2) that each of n sampled texts claims; None = no single one."""

STEPS = 2.0
"""Largest shift: from the lowest level to the highest."""


@dataclass(frozen=True, slots=True)
class LevelShift:
    """How far the claimed level of an attribute moved with the clips."""

    num_clips: int
    """Clips that were moved cleanly and whose attribute a text claims before, and one after."""
    shift: float | None
    """Mean over these clips of the expected level after minus before, times the direction: levels
    per whole move, -2 to 2; None without such clips."""
    interval: Interval | None
    """95 % of it; None with fewer than two clips, or where no two differ."""
    num_speakers: int | None
    """Speakers that the interval is over; None = clips, since too few speakers are known."""
    unclaimed_frac: float | None
    """Share of the texts to cleanly moved clips, before and after, that claim no single level; they
    are in no mean."""


@dataclass(frozen=True, slots=True)
class ControlShift:
    """What became of all claimed levels under one control."""

    num_clips: int
    """Clips that were sampled before and after."""
    num_unclean: int
    """Those of them that did not move as they should (`renditions.is_clean`), and are left out."""
    attributes: Mapping[str, LevelShift]
    """Attribute -> shift: of the one that was moved, and across, of those that were not."""
    by_level: Mapping[str, LevelShift]
    """Measured level before the move -> shift of what was moved; at the scale's end is no room."""


def sampled_levels(group: Group) -> Levels:
    """Return what the sampled texts to one clip claim."""
    texts = [claimed_levels(completion.text) for completion in group.completions]
    return {attribute: [levels[attribute] for levels in texts] for attribute in LEVELS}


def level_shifts(
    plain: Sequence[Row], controls: Mapping[str, Sequence[Row]]
) -> dict[str, ControlShift]:
    """Return control -> shift, of the controls that move an attribute and were sampled.

    Args:
        plain: Rows of the clips as they are: `id`, `levels` (`Levels`) where they were sampled,
            and `speaker`, `dataset` and `measured` (attribute -> level) where known.
        controls: Name -> rows of the altered clips, which also have `clean`.
    """
    shifts: dict[str, ControlShift] = {}
    for name in moving(controls):
        control = CONTROLS[name]
        baseline = controls.get(control.baseline, ()) if control.baseline else plain
        before = {row["id"]: row for row in baseline if "levels" in row}
        after = [row for row in controls[name] if "levels" in row and row["id"] in before]
        if not after:
            continue
        clean = [(before[row["id"]], row) for row in after if row["clean"]]
        attributes = {key: _shift(clean, key, control.direction) for key in LEVELS}
        moved = control.attribute
        by_level = {
            level: _shift(
                [pair for pair in clean if pair[0].get("measured", {}).get(moved) == level],
                moved,
                control.direction,
            )
            for level in LEVELS[moved]
        }
        shifts[name] = ControlShift(len(after), len(after) - len(clean), attributes, by_level)
    return shifts


def _shift(pairs: Sequence[tuple[Row, Row]], attribute: str, direction: int) -> LevelShift:
    """Return the shift of one attribute over rows before and after."""
    texts = [level for pair in pairs for row in pair for level in row["levels"][attribute]]
    unclaimed = sum(level is None for level in texts) / len(texts) if texts else None
    moves: list[float] = []
    rows: list[Row] = []
    for pair in pairs:
        before, after = (_expected(row["levels"][attribute]) for row in pair)
        if before is not None and after is not None:
            moves.append(direction * (after - before))
            rows.append(pair[0])
    if not moves:
        return LevelShift(0, None, None, None, unclaimed)
    values, speakers = np.array(moves), speaker_places(rows)
    interval = None
    if len(set(moves)) > 1:
        places = np.arange(len(moves)) if speakers is None else speakers
        interval = cluster_mean_interval(values, places, -STEPS, STEPS)
    num_speakers = None if speakers is None else int(speakers.max()) + 1
    return LevelShift(len(moves), float(values.mean()), interval, num_speakers, unclaimed)


def _expected(levels: Sequence[int | None]) -> float | None:
    """Return the mean level over the texts that claim one; None if none does."""
    claimed = [level for level in levels if level is not None]
    return statistics.fmean(claimed) if claimed else None


def shift_metrics(shifts: Mapping[str, ControlShift]) -> dict[str, float]:
    """Return `control_NAME_shift_X` of all controls; what could not be measured has no key."""
    metrics: dict[str, float] = {}
    for name, control in shifts.items():
        key = f"control_{name}_shift"
        metrics[f"{key}_unclean_frac"] = control.num_unclean / control.num_clips
        for level, moved in control.by_level.items():
            if moved.shift is not None:
                metrics[f"{key}_of_{level}"] = moved.shift
        for attribute, moved in control.attributes.items():
            if moved.shift is not None:
                metrics[f"{key}_{attribute}"] = moved.shift
                metrics[f"{key}_{attribute}_num"] = float(moved.num_clips)
            if moved.unclaimed_frac is not None:
                metrics[f"{key}_{attribute}_unclaimed_frac"] = moved.unclaimed_frac
    return metrics
