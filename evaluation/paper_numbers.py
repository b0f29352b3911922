"""Figures of the paper that our tables are set beside, as it prints them.

Source: EmotionThinker (arXiv 2601.15668), Tables 2, 4 and 5: accuracy in %, quality on 1 to 5 as
judged by GPT-4o. The paper states neither splits nor sizes of its test sets, so a figure of another
protocol beside it is a comparison of orders, not of points.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

SOURCE = "EmotionThinker, arXiv 2601.15668"


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of Table 4."""

    name: str
    accuracy: float
    """%, over the clips of all benchmarks together."""
    quality: float
    """1 to 5."""


TABLE_2: Mapping[str, Mapping[str, float]] = {
    "Kimi-Audio": {
        "IEMOCAP": 57.72,
        "MELD": 59.13,
        "RAVDESS": 61.07,
        "SAVEE": 55.21,
        "Avg": 58.83,
        "quality": 2.72,
    },
    "MERaLiON2": {
        "IEMOCAP": 51.05,
        "MELD": 51.10,
        "RAVDESS": 37.02,
        "SAVEE": 25.43,
        "Avg": 46.09,
        "quality": 3.04,
    },
    "MiniCPM-O": {
        "IEMOCAP": 35.54,
        "MELD": 52.78,
        "RAVDESS": 40.93,
        "SAVEE": 35.47,
        "Avg": 43.60,
        "quality": 3.01,
    },
    "Qwen2.5-Omni-7B": {
        "IEMOCAP": 45.70,
        "MELD": 54.64,
        "RAVDESS": 64.77,
        "SAVEE": 52.49,
        "Avg": 50.83,
        "quality": 2.87,
    },
    "BLSP-Emo": {
        "IEMOCAP": 76.00,
        "MELD": 57.30,
        "RAVDESS": 72.00,
        "SAVEE": 63.73,
        "Avg": 65.41,
        "quality": 2.73,
    },
    "EmotionThinker": {
        "IEMOCAP": 77.68,
        "MELD": 59.71,
        "RAVDESS": 71.56,
        "SAVEE": 73.96,
        "Avg": 68.89,
        "quality": 3.98,
    },
}
"""Model -> benchmark -> accuracy; `Avg` is over all clips together, not the mean of the four."""

BENCHMARKS: tuple[str, ...] = ("IEMOCAP", "MELD", "RAVDESS", "SAVEE")

TABLE_4: Mapping[str, Variant] = {
    "baseline1": Variant("Baseline 1, Qwen2.5-Omni-7B", 50.83, 2.87),
    "baseline2": Variant("Baseline 2, EmotionThinker-Base", 52.63, 3.41),
    "v1": Variant("V1, SFT on all of EmotionCoT", 53.91, 3.78),
    "v2": Variant("V2, GRPO with format and accuracy", 62.91, 3.45),
    "v3": Variant("V3, PTR with an untrained judge", 66.67, 3.36),
    "v4": Variant("V4, PTR without trust", 67.71, 3.74),
    "v5": Variant("V5, PTR without the schedule", 62.80, 3.76),
    "v6": Variant("V6, the whole of PTR", 68.89, 3.98),
}
"""Key -> variant."""

TABLE_5: Mapping[str, tuple[float, float]] = {
    "pitch": (25.71, 75.11),
    "rate": (29.94, 68.70),
    "energy": (27.67, 69.42),
    "intonation": (25.83, 60.25),
    "stress": (30.24, 71.50),
}
"""Probe -> accuracy before and after the supervised stages; our `rate` is the paper's speed."""


NAMES: Mapping[str, str] = {
    "base": "baseline2",
    "sft": "v1",
    "grpo": "v2",
    "grpo-ptr, untrained judge": "v3",
    "grpo-ptr, no trust": "v4",
    "grpo-ptr, no schedule": "v5",
    "grpo-ptr": "v6",
}
"""Labels, in small letters, that name a variant without its number."""


def paper_variant(label: str) -> Variant | None:
    """Return the variant of Table 4 that a label names; None if it names none.

    It begins with the number (`V6 PTR, full`, `v6_full`, `Baseline 2`; not `V60`), or is one of
    NAMES as a whole.
    """
    name = label.strip().casefold()
    found = re.match(r"(v[1-6]|baseline[ _]?[12])(?![a-z0-9])", name)
    key = re.sub("[ _]", "", found[1]) if found else NAMES.get(name, "")
    return TABLE_4.get(key)
