"""The schema of judge training and calibration."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.section import Section


@dataclass
class JudgeConfig(Section):
    """A judge that is trained (`launch/judge.py`) or calibrated (`launch/calibrate.py`)."""

    prompt_file: str = ""
    """Template of the message, the same in training and use; empty = `rewards/judges/prompt.txt`.
    See docs/judges.md."""
    options: dict[str, Any] = Field(default={})
    """Keyword arguments of the `LocalJudge` that serves the trained judge for its calibration, such
    as `max_model_len`; `model_path`, `prompt_file` and `dtype` are the run's unless they stand
    here."""
    target: str = ""
    """`module:Class` of another judge that `launch/calibrate.py` calibrates; empty = the trained
    one."""
    target_options: dict[str, Any] = Field(default={})
    """Keyword arguments of that class."""
    concurrency: int = Field(default=8, ge=1)
    """Clips that are judged at a time."""
    gpus: float = Field(default=0.0, ge=0)
    """Share of a GPU that the calibrated judge claims."""
