"""What the report calls the options of a run."""

from __future__ import annotations

from typing import get_args, get_type_hints

from configs.load import load_config
from configs.loss_schema import POLICY_LOSSES
from configs.schema import AdvantageConfig
from configs.section import tree_of
from report.describe_run import ADVANTAGES, LOSSES, sampling_words


def test_every_option_has_words() -> None:
    assert set(POLICY_LOSSES) == LOSSES.keys()
    assert set(get_args(get_type_hints(AdvantageConfig)["normalize"])) == ADVANTAGES.keys()


def test_dynamic_sampling_and_balanced_batches_are_said() -> None:
    settings = ["advantage.refill_rounds=3", "advantage.refill_by=accuracy", "data.balance=label"]
    assert sampling_words(tree_of(load_config("configs/tiny.yaml", settings))) == (
        " Prompts balanced by label. Groups of equal rewards or equal accuracy replaced by others, "
        "up to 3 times a step."
    )
    assert sampling_words(tree_of(load_config("configs/tiny.yaml"))) == ""
    pairs = sampling_words(tree_of(load_config("configs/sweeps/pairs.yaml")))
    assert pairs == " Half of each group hears its clip with another pitch."
    assert sampling_words({"advantage": {}, "data": {}}) == ""
