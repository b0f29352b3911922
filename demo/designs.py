"""What corpora the demo can make: how labels are delivered, by whom, and with what in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from demo.texts import SENTENCES, SHORT_SENTENCES


@dataclass(frozen=True, slots=True)
class Style:
    """How a label tends to be delivered; everything relative to the speaker's usual."""

    rate: float
    """Mean speaking rate, as a factor."""
    pitch: float
    """Mean pitch, in steps of the synthesizer's scale of 100."""
    liveliness: float
    """Mean pitch range, 0 (monotone) to 99."""
    energy_db: float
    """Mean energy in dB."""
    breath: tuple[float, float]
    """Range of the share of whispered sound, 0 to 1."""
    rise_frac: float
    """Share of the clips that end like a question."""


@dataclass(frozen=True, slots=True)
class Design:
    """A corpus: labels as distributions over deliveries, and how clips are recorded.

    Levels are thirds: below the first of two cuts low, from the second on high.
    """

    folder: str
    """Of the corpus, below the material's."""
    styles: Mapping[str, Style]
    """Label -> how its clips tend to be delivered."""
    num_cold_start: int
    """Clips of the cold start."""
    cold_start_variants: tuple[str, ...]
    """Voices that the cold start hears, in its accent."""
    rate_cuts: tuple[float, float]
    pitch_cuts: tuple[float, float]
    energy_cuts_db: tuple[float, float]
    liveliness_cuts: tuple[float, float]
    rate_spread: float
    """Standard deviation around a style's mean, as the three below: what makes labels overlap."""
    pitch_spread: float
    energy_spread_db: float
    max_gain_db: float
    """Gain of a recording, up or down at most."""
    longest_margin_s: float
    """Before and after the speech, 0.05 at least."""
    max_duration_s: float
    """Longest clip."""
    cold_start_accents: tuple[str, ...] = ("en-029",)
    sentences: tuple[str, ...] = field(default=SENTENCES)
    """What is said."""
    liveliness_spread: float = 8.0


MODAL, BREATHY = (0.0, 0.1), (0.3, 0.5)
"""Breath of a plain voice, and of one that still has a pitch."""

VARIANTS = ("m1", "m3", "m5", "m7", "f1", "f2", "f4", "f5")
"""Voices: four men's, four women's."""

DEMO = Design(
    folder="corpus",
    styles={
        "neutral": Style(1.00, -20, 25, 0, MODAL, 0.0),
        "happy": Style(1.00, 32, 90, 0, MODAL, 0.0),
        "sad": Style(0.77, -20, 15, -7, MODAL, 0.0),
        "angry": Style(1.28, -20, 35, 7, MODAL, 0.0),
        "contempt or disgust": Style(1.00, 2, 55, 0, BREATHY, 0.0),
        "confused": Style(0.77, 30, 75, -7, MODAL, 1.0),
        "whisper": Style(0.77, 2, 45, -7, (0.75, 1.0), 0.0),
        "surprise": Style(1.28, 34, 95, 7, MODAL, 1.0),
        "fear": Style(1.28, 2, 50, 7, BREATHY, 0.0),
    },
    num_cold_start=432,
    # A policy that has heard too few voices goes by who speaks, not by how.
    cold_start_variants=VARIANTS,
    cold_start_accents=("en-029", "en-us-nyc"),
    rate_cuts=(0.885, 1.135),
    pitch_cuts=(-9.0, 17.0),
    energy_cuts_db=(-3.5, 3.5),
    liveliness_cuts=(35.0, 65.0),
    rate_spread=0.06,
    pitch_spread=4.0,
    energy_spread_db=1.5,
    max_gain_db=2.5,
    longest_margin_s=0.4,
    max_duration_s=2.7,
    # Of 3 to 6 words, so that the length of a clip says little of its rate.
    sentences=(*SENTENCES, *SHORT_SENTENCES),
)
"""What `make demo` learns from. Fast and loud, slow and quiet, and between: three labels each share
rate and energy, and are told apart by pitch, its range and the breath in the voice."""

LOUDNESS = Design(
    folder="corpus_loudness",
    styles={
        "neutral": Style(1.00, 0, 45, 0, (0.0, 0.1), 0.05),
        "happy": Style(1.18, 15, 80, 3, (0.0, 0.1), 0.05),
        "sad": Style(0.76, -14, 15, -6, (0.0, 0.3), 0.0),
        "angry": Style(1.22, -4, 60, 9, (0.0, 0.1), 0.05),
        "contempt or disgust": Style(0.78, -18, 65, 3, (0.0, 0.1), 0.05),
        "confused": Style(0.85, 8, 60, -2, (0.0, 0.2), 0.95),
        "whisper": Style(0.95, -5, 30, -8, (0.7, 1.0), 0.05),
        "surprise": Style(1.00, 32, 95, 4, (0.0, 0.1), 0.4),
        "fear": Style(1.35, 20, 15, -4, (0.1, 0.4), 0.05),
    },
    num_cold_start=144,
    # Two men only, as annotated speech is scarce: what RL can add is hearing everyone else.
    cold_start_variants=("m1", "m3"),
    rate_cuts=(0.9, 1.1),
    pitch_cuts=(-5.0, 11.0),
    energy_cuts_db=(-3.0, 2.5),
    liveliness_cuts=(37.0, 65.0),
    rate_spread=0.05,
    pitch_spread=3.0,
    energy_spread_db=1.2,
    max_gain_db=2.0,
    longest_margin_s=0.15,
    max_duration_s=2.5,
)
"""Loudness and length alone give two labels in three: the demo's corpus when most sweeps of
docs/ablation.md were measured, which keep it."""

TRIPLETS = replace(
    DEMO,
    folder="corpus_triplets",
    styles={
        "neutral": Style(1.00, 0, 35, 0, (0.0, 0.1), 0.0),
        "happy": Style(1.28, 9, 85, 7, (0.0, 0.1), 0.0),
        "sad": Style(0.77, -18, 15, -7, (0.0, 0.1), 0.0),
        "angry": Style(1.28, -18, 45, 7, (0.0, 0.1), 0.0),
        "contempt or disgust": Style(0.77, -7, 70, -7, (0.0, 0.1), 0.0),
        "confused": Style(1.00, 14, 60, 0, (0.0, 0.1), 1.0),
        "whisper": Style(1.00, 0, 45, 0, (0.75, 1.0), 0.0),
        "surprise": Style(1.28, 31, 70, 7, (0.0, 0.1), 1.0),
        "fear": Style(0.77, 27, 20, -7, (0.0, 0.1), 0.0),
    },
    num_cold_start=288,
    cold_start_accents=("en-029",),
    pitch_cuts=(-6.0, 11.0),
    liveliness_cuts=(35.0, 60.0),
)
"""As the demo's, but harder: only a whisper has breath, and pitches lie closer. Who does not listen
to pitch, its range and its end is right in 44 %."""

DESIGNS = {"demo": DEMO, "loudness": LOUDNESS, "triplets": TRIPLETS}
"""Name -> corpus, for command lines."""
