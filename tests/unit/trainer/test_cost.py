"""What a group costs, by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from configs.load import load_config
from configs.schema import RunConfig
from data.records import Microbatch
from tests.unit.make_samples import make_sample
from trainer.cost import GroupCost
from trainer.learner_group import LearnerGroup

TEXT = {
    "hidden_size": 10,
    "intermediate_size": 30,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "num_key_value_heads": 1,
    "vocab_size": 100,
}
AUDIO = {
    "d_model": 4,
    "num_mel_bins": 3,
    "encoder_layers": 2,
    "encoder_ffn_dim": 6,
    "output_dim": 10,
}
LAYER_WEIGHTS = 10 * (10 + 2 + 2 + 10) + 3 * 10 * 30


def frame_by_hand() -> float:
    """Operations of a frame: two frames are a step, four an embedding."""
    first, second = 2 * 3 * 3 * 4, 2 * 3 * 4 * 4 / 2
    layer = (2 * (4 * 4 * 4 + 2 * 4 * 6) + 4 * 4 * 100) / 2
    return first + second + 2 * layer + 2 * 4 * 10 / 4


def config_of(tmp_path: Path, **overrides: Any) -> RunConfig:
    config = {"thinker_config": {"text_config": TEXT, "audio_config": AUDIO}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = {"model.path": tmp_path}
    settings |= {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config("configs/tiny.yaml", [f"{k}={v}" for k, v in settings.items()])


@pytest.mark.parametrize(
    ("overrides", "passes", "head", "tower"),
    [
        ({"loss__kl_coef": 0}, 3, 3, 3),
        ({"loss__kl_coef": 0.1}, 4, 4, 4),
        ({"loss__kl_coef": 0.1, "model__gradient_checkpointing": "true"}, 5, 4, 5),
        ({"loss__kl_coef": 0.1, "model__freeze": "[audio_tower]"}, 4, 4, 1),
        ({"loss__kl_coef": 0.1, "model__lora__rank": 2}, 4, 4, 1),
    ],
)
def test_coefficients_of_a_model(
    tmp_path: Path, overrides: dict[str, Any], passes: int, head: int, tower: int
) -> None:
    cost = GroupCost.of(config_of(tmp_path, **overrides))
    assert cost.token == passes * 2 * 2 * LAYER_WEIGHTS
    assert cost.pair == passes * 2 * 4 * 10
    assert cost.scored == head * 2 * 10 * 100
    assert cost.frame == tower * frame_by_hand()


def test_a_group_by_hand() -> None:
    # 3 prompt tokens, completions of 2 and 1; the masked one of 4 is left out.
    sample = make_sample([1, 2, 3], [[5, 6], [7], [8] * 4], mask=[True, True, False])
    assert GroupCost(token=1, pair=0, scored=0, frame=0)(sample) == 6
    # Prompt 1 + 2 + 3; the first completion 4 + 5, the second 4.
    assert GroupCost(token=0, pair=1, scored=0, frame=0)(sample) == 19
    assert GroupCost(token=0, pair=0, scored=1, frame=0)(sample) == 3
    with_clip = make_sample([1], [[2]], num_frames=160)
    assert GroupCost(token=0, pair=0, scored=0, frame=2)(with_clip) == 320


class Rank:
    """A rank that notes the rows it is given."""

    def __init__(self) -> None:
        self.clips: list[str] = []
        self.update = self

    def remote(self, minibatches: Sequence[Sequence[Microbatch]], lr: float) -> dict[str, float]:
        (rows,) = minibatches
        self.clips = [clip for row in rows for clip in row.features]
        return {}


def test_the_learner_spreads_groups_by_what_they_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four groups of equal tokens; only their clips tell the dear ones from the cheap ones.
    samples = [
        make_sample([1] * 9, [[5]], features=f"{frames} frames", num_frames=frames)
        for frames in (3000, 1000, 2900, 1100)
    ]
    group = LearnerGroup(config_of(tmp_path), forbidden_token_ids=[], actor_options=[])
    first, second = group._actors = [Rank(), Rank()]  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(group, "_wait", lambda calls, what: calls)
    group.update(samples, 1e-3)
    assert first.clips == ["3000 frames", "1000 frames"]
    assert second.clips == ["2900 frames", "1100 frames"]
