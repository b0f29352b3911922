"""Altered clips for grounding controls: what a policy says if the voice is gone or changed.

Source: the question of the paper's reviewers whether the reasoning follows the voice or the text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from msgspec import structs

from data.audio import read_audio
from data.prosody.measure import measure
from data.prosody.renditions import (
    UNCHANGED,
    Change,
    Voice,
    analyse,
    change_by,
    is_clean,
    render,
)
from data.records import Example, FloatArray

PITCH_ST, ENERGY_DB, RATE = 4.0, 6.0, 1.25
"""Size of the changes: semitones, dB, factor of the speed."""

SILENCE_PEAK = 1e-5
"""Peak of the noise that stands for silence."""


class Clip:
    """A clip that controls alter: taken apart once, for all of them."""

    def __init__(self, samples: FloatArray) -> None:
        """Keep [S] float32 samples at 16 kHz."""
        self.samples = samples

    @cached_property
    def voice(self) -> Voice:
        """The clip taken apart, the first time that it is asked for."""
        return analyse(self.samples)


Alter = Callable[[Clip], FloatArray]


@dataclass(frozen=True, slots=True)
class Control:
    """One way to alter a clip, and what should follow."""

    alter: Alter
    """Clip -> [S] float32 altered samples at 16 kHz."""
    attribute: str = ""
    """What it moves: `pitch`, `energy` or `rate`; empty if nothing in particular."""
    direction: int = 0
    """+1 = up, -1 = down."""
    baseline: str = ""
    """Control that it is compared with; empty = the clips as they are. Pitch and rate are compared
    with clips that were taken apart and put together unchanged, so that the sound of that does not
    count."""
    change: Change = UNCHANGED
    """What it moves, by how much."""


def _silent(clip: Clip) -> FloatArray:
    noise = np.random.default_rng(0).uniform(-SILENCE_PEAK, SILENCE_PEAK, len(clip.samples))
    return noise.astype(np.float32)


def _gain(db: float) -> Alter:
    return lambda clip: (clip.samples * 10 ** (db / 20)).astype(np.float32)


def _rendered(change: Change) -> Alter:
    return lambda clip: render(clip.voice, change)


def _move(attribute: str, direction: int, size: float) -> Control:
    change = change_by(attribute, direction, size)
    if attribute == "energy":
        return Control(_gain(change.energy_db), attribute, direction, change=change)
    return Control(_rendered(change), attribute, direction, "resynthesis", change)


CONTROLS: Mapping[str, Control] = {
    "silence": Control(_silent),
    "shuffle": Control(lambda clip: clip.samples),
    "resynthesis": Control(_rendered(UNCHANGED)),
    "pitch_up": _move("pitch", 1, PITCH_ST),
    "pitch_down": _move("pitch", -1, PITCH_ST),
    "energy_up": _move("energy", 1, ENERGY_DB),
    "energy_down": _move("energy", -1, ENERGY_DB),
    "rate_up": _move("rate", 1, RATE),
    "rate_down": _move("rate", -1, RATE),
}
"""Name -> control. `shuffle` gives every example the clip of another one: `shuffled`."""


def with_baselines(names: Iterable[str]) -> list[str]:
    """Return the controls with those that they are compared with, each once, in their order."""
    names = list(names)
    wanted = {*names, *(CONTROLS[name].baseline for name in names)}
    return [name for name in CONTROLS if name in wanted]


def moving(names: Iterable[str]) -> list[str]:
    """Return the controls among these that move an attribute."""
    return [name for name in names if CONTROLS[name].attribute]


@dataclass(frozen=True, slots=True)
class AlteredClip:
    """What controls made of a clip."""

    samples: Mapping[str, FloatArray]
    """Control -> [S] float32 at 16 kHz."""
    clean: frozenset[str]
    """Controls whose move was clean (`renditions.is_clean`); empty if it was not measured."""


def alter_clip(
    path: Path,
    names: Sequence[str],
    min_duration_s: float,
    max_duration_s: float,
    *,
    measured: bool = False,
) -> AlteredClip:
    """Read a clip and return what each of the controls makes of it.

    Args:
        path: Of the clip.
        names: Controls, with their baselines if it is measured.
        min_duration_s: Shortest clip that is taken.
        max_duration_s: Longest.
        measured: Whether it is measured which moves are clean: 15 ms of one core each.

    Raises:
        AudioError: As `data.audio.read_audio`.
    """
    clip = Clip(read_audio(path, min_duration_s=min_duration_s, max_duration_s=max_duration_s))
    altered = {name: CONTROLS[name].alter(clip) for name in names}
    moves = moving(names) if measured else []
    heard = {"": clip.samples, **altered}
    wanted = {*moves, *(CONTROLS[name].baseline for name in moves)}
    voices = {name: measure(heard[name], None) for name in wanted}
    controls = {name: CONTROLS[name] for name in moves}
    clean = (n for n, c in controls.items() if is_clean(voices[c.baseline], voices[n], c.change))
    return AlteredClip(altered, frozenset(clean))


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """Return the examples with each other's clips: of another speaker, as far as there are others.

    Args:
        examples: With speakers where known; every clip is given to one example.
        seed: Draws the exchange.
    """
    rng = np.random.default_rng(seed)
    order = [int(index) for index in rng.permutation(len(examples))]
    # By speaker, then moved by the size of the largest one: no speaker meets himself if none has
    # more than half of the clips.
    order.sort(key=lambda index: str(examples[index].speaker))
    speakers = [str(examples[index].speaker) for index in order]
    step = max((speakers.count(name) for name in set(speakers)), default=0) % max(1, len(order))
    step = step or (1 if len(order) > 1 else 0)
    givers = order[step:] + order[:step]
    exchanged = {taker: examples[giver].audio for taker, giver in zip(order, givers, strict=True)}
    return [structs.replace(example, audio=exchanged[i]) for i, example in enumerate(examples)]
