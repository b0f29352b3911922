"""The plug-in that the documentation shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demo.judges import inverted
from rewards.base import load_reward, validate_scores
from tests.unit.make_groups import make_group

ROOT = Path(__file__).parents[2]
TARGET = "examples.plugin.brevity:BrevityReward"


def test_the_example_scores_by_length_where_the_clip_is_loud():
    reward = load_reward(TARGET, {"loud_above": 0.2}, ["rewards", "examples"])
    group = make_group(["a", "b"], features=np.full((128, 3), 0.5, np.float32))
    found = validate_scores("brevity", group, reward.score(group))
    assert found.values == (1.0, 1.0)
    assert found.details[0] == {"loudness": 0.5}
    quiet = make_group(["a", "b"], features=np.full((128, 3), 0.1, np.float32))
    assert reward.score(quiet).values == (None, None)


def test_the_page_shows_the_file_as_it_is():
    code = (ROOT / "examples" / "plugin" / "brevity.py").read_text().partition("\n\n")[2]
    assert f"```python\n{code.strip()}\n```" in (ROOT / "docs" / "rewards.md").read_text()


def test_an_inverted_judge_mirrors_the_scale():
    assert inverted({"a": 5.0, "b": 1.0, "c": 2.5, "d": None}) == {
        "a": 1.0,
        "b": 5.0,
        "c": 3.5,
        "d": None,
    }
