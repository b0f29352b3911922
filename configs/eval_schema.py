"""The schema of evaluation."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.section import Section

ControlName = Literal[
    "silence",
    "shuffle",
    "resynthesis",
    "pitch_up",
    "pitch_down",
    "energy_up",
    "energy_down",
    "rate_up",
    "rate_down",
]
CONTROL_NAMES: tuple[ControlName, ...] = get_args(ControlName)
"""What `eval.controls` may name; `evaluation.controls` says what they do."""


@dataclass
class BenchmarkConfig(Section):
    """A test set of its own."""

    name: str = ""
    """Key of the benchmark in metrics and tables."""
    manifest: str = ""
    """JSON Lines manifest; see docs/data.md."""
    audio_root: str = ""
    """Folder that its `audio` paths are relative to; empty = `data.audio_root`."""
    split: str = ""
    """Value of `split` in the rows that are used; empty = all rows."""
    choices: list[str] = Field(default=[])
    """Labels that are offered; empty = `data.choices`. Rows may bring `choices` of their own."""


@dataclass
class EvalConfig(Section):
    """Greedy evaluation through the engines."""

    split: str = "eval"
    """Split that is evaluated during the run."""
    every_steps: int = Field(default=100, ge=0)
    """Steps between evaluations; 0 = none during the run."""
    max_examples: int = Field(default=0, ge=0)
    """First rows of the split that are used; 0 = all."""
    test_split: str = ""
    """Split that is evaluated once before the first step and once after the last; empty = none."""
    judged: bool = False
    """Have the judged reward terms, if there are any, score the greedy answers too."""
    other_clips: bool = False
    """Have them score each text beside another clip of its label as well, which doubles their
    work; needs `eval.judged`."""
    mode: Literal["reasoned", "direct"] = "reasoned"
    """How `launch/evaluate.py` asks: `reasoned` leaves the whole answer to the policy; `direct`
    begins it with `<answer>`, so that it answers without reasoning, and nothing is judged."""
    samples: int = Field(default=0, ge=0)
    """Completions per clip that `launch/evaluate.py` samples at `rollout.temperature`, besides the
    greedy one, for votes and self-consistency; 0 = none."""
    latency_clips: int = Field(default=16, ge=0)
    """Clips that `launch/evaluate.py` also asks about one at a time, for the latency of a single
    request; 0 = none."""
    controls: list[ControlName] = Field(default=[])
    """Altered clips that `launch/evaluate.py` also asks about."""
    control_samples: int = Field(default=0, ge=0)
    """Completions per clip that it samples at `rollout.temperature` of each control that moves
    pitch, energy or rate, and of what that is compared with, for the shift of the claimed level; 0
    = none. Not in direct mode, which claims nothing."""
    benchmarks: list[BenchmarkConfig] = Field(default=[])
    """Test sets besides `test_split`. `launch/evaluate.py` asks about them; `launch/sft.py` picks
    the likeliest of each row's choices before the first step, every `every_steps`, and at the
    end."""
