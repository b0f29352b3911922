"""How well the measured prosody of the demo's corpus agrees with how its clips were made.

Run `python -m demo.prosody_check [MANIFEST]`. Only a synthetic corpus has the truth beside it.
"""

from __future__ import annotations

import argparse
import json
import operator
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from data.files import Row
from demo.texts import ENERGY_LEVELS, INTONATIONS, PITCH_LEVELS, RATE_LEVELS

LEVELS = {
    "pitch": PITCH_LEVELS,
    "energy": ENERGY_LEVELS,
    "rate": RATE_LEVELS,
    "intonation": INTONATIONS,
}
MEASURED_AS = {
    "pitch": ("f0_median_hz",),
    "energy_db": ("energy_dbfs",),
    "rate": ("letters_per_s", "nuclei_per_s"),
    "liveliness": ("f0_range_st",),
}
"""Setting of the synthesizer -> measurements that should follow it."""

BORDERLINE = 0.25
"""Distance, in standard deviations, to another level below which a clip is borderline."""


def rank_correlation(rows: Sequence[Row], setting: str, measurement: str) -> float:
    """Return Spearman's correlation over the clips that were measured.

    Measurements are divided by the median of their speaker, except energy, which is in dB already
    and has it subtracted.
    """
    measured = [row for row in rows if row["prosody"] and row["prosody"][measurement] is not None]
    by_speaker: dict[str, list[float]] = defaultdict(list)
    for row in measured:
        by_speaker[row["speaker"]].append(row["prosody"][measurement])
    usual = {speaker: float(np.median(values)) for speaker, values in by_speaker.items()}
    relative_to = operator.sub if measurement == "energy_dbfs" else operator.truediv
    relative = [relative_to(row["prosody"][measurement], usual[row["speaker"]]) for row in measured]
    settings = [row["settings"][setting] for row in measured]
    return float(stats.spearmanr(relative, settings).statistic)


def confusion(rows: Sequence[Row], attribute: str, *, clear_only: bool = False) -> np.ndarray:
    """Return [L, L] clips by the synthesizer's level (rows) and the measured one (columns).

    Args:
        clear_only: leave out what is within `BORDERLINE` of another level.
    """
    pairs: list[tuple[str, str]] = []
    for row in rows:
        prosody = row["prosody"]
        if not prosody or prosody[attribute] is None:
            continue
        distances = [v for k, v in prosody.items() if k.startswith(f"{attribute}_to_")]
        if not clear_only or min(d for d in distances if d is not None) >= BORDERLINE:
            pairs.append((row["settings"]["levels"][attribute], prosody[attribute]))
    names = LEVELS[attribute]
    return np.array([[pairs.count((truth, level)) for level in names] for truth in names])


def report(rows: Sequence[Row]) -> str:
    """Return correlations, then agreement and confusion of the levels."""
    lines = [
        f"Spearman {setting} ~ {name}: {rank_correlation(rows, setting, name):.3f}"
        for setting, measurements in MEASURED_AS.items()
        for name in measurements
    ]
    for attribute, names in LEVELS.items():
        counts = confusion(rows, attribute)
        clear = confusion(rows, attribute, clear_only=True)
        agree, agree_clear = (float(np.trace(c) / max(c.sum(), 1)) for c in (counts, clear))
        lines.append(
            f"{attribute}: null {1 - counts.sum() / len(rows):.1%}, agreement {agree:.1%}; "
            f"clear cases {clear.sum() / max(counts.sum(), 1):.1%}, agreement {agree_clear:.1%}"
        )
        lines += [f"  {name:<11}{line}" for name, line in zip(names, counts, strict=True)]
    return "\n".join(lines)


def main() -> None:
    """Print the report of a manifest."""
    parser = argparse.ArgumentParser(description="Compare measured prosody with the settings.")
    default = Path("runs/demo/material/corpus/manifest.jsonl")
    parser.add_argument("manifest", type=Path, nargs="?", default=default)
    text = parser.parse_args().manifest.read_text(encoding="utf-8")
    print(report([json.loads(line) for line in text.splitlines()]))


if __name__ == "__main__":
    main()
