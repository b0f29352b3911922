"""The schema of judge training and calibration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from configs.knob import knob


@dataclass
class JudgeConfig:
    """A judge that is trained (`launch/judge.py`) or calibrated (`launch/calibrate.py`)."""

    prompt_file: str = ""
    """Template of the message, the same in training and use; empty = `rewards/judges/prompt.txt`.
    See docs/judges.md."""
    target: str = "rewards.judges.local:LocalJudge"
    """`module:Class` of the judge that is calibrated; `launch/judge.py` needs the default."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of that class. A `LocalJudge` is also given `model_path` (the run's
    export), `prompt_file` and `dtype`, unless they stand here."""
    concurrency: int = knob(8, ge=1)
    """Clips that are judged at a time."""
    gpus: float = knob(0.0, ge=0)
    """Share of a GPU that the calibrated judge claims."""
