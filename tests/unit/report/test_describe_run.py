"""What the report calls the options of a run."""

from __future__ import annotations

from typing import get_args, get_type_hints

from configs.schema import AdvantageConfig, LossConfig
from report.describe_run import ADVANTAGES, LOSSES


def test_every_option_has_words() -> None:
    assert set(get_args(get_type_hints(LossConfig)["policy"])) == LOSSES.keys()
    assert set(get_args(get_type_hints(AdvantageConfig)["normalize"])) == ADVANTAGES.keys()
