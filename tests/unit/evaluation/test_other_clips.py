"""The same texts beside other clips: what of a judge's score is owed to the clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from msgspec import structs

from configs.load import load_config
from data.records import Completion, Example, Group, Prompt, RewardTerms
from evaluation.evaluator import Evaluator
from evaluation.other_clips import beside_other_clips, other_clip_metrics
from tests.fixtures import LABELS, make_example

TINY = Path(__file__).parents[3] / "configs" / "tiny.yaml"


def clip(id: str, label: str, pitch: str) -> Example:
    return structs.replace(make_example(0), id=id, label=label, prosody={"pitch": pitch})


def build(example: Example) -> Prompt:
    return Prompt(example, "", np.arange(5), None, num_frames=3)


# Happy clips are high but for one, sad ones low: what a label says of the pitch is often true.
CLIPS = [
    clip("a", LABELS[0], "high"),
    clip("b", LABELS[1], "low"),
    clip("c", LABELS[0], "low"),
    clip("d", LABELS[0], "high"),
    clip("e", LABELS[1], "low"),
    clip("f", LABELS[2], "normal"),
]
TYPICAL = {LABELS[0]: "high", LABELS[1]: "low", LABELS[2]: "normal"}


class Policy:
    """Engines whose texts name what is heard, or what is typical of the label."""

    def __init__(self, *, listens: bool) -> None:
        self.listens = listens

    def generate(self, prompts: Sequence[Prompt], **_: Any) -> Iterator[Group]:
        for index, prompt in enumerate(prompts):
            clip = prompt.example
            pitch = cast(Any, clip.prosody)["pitch"] if self.listens else TYPICAL[clip.label]
            text = f"<think>{pitch} pitch</think><answer>{clip.label}</answer>"
            yield Group(prompt, (Completion.unsampled(np.arange(3), text),), index)


class Judge:
    """A pool with one judged term, which is 1 where the text is true of the clip."""

    def score(
        self, groups: Sequence[Group], weights: Mapping[str, float]
    ) -> Iterator[tuple[Group, RewardTerms]]:
        assert weights["reasoning"] == 1
        for group in reversed(groups):
            pitch = cast(Any, group.prompt.example.prosody)["pitch"]
            value = float(pitch in group.completions[0].text)
            yield group, RewardTerms({"reasoning": (value,)}, {"reasoning": ({},)})


def test_texts_keep_their_ids_and_get_the_next_clip_of_their_label() -> None:
    groups = [Group(build(example), (), n) for n, example in enumerate(reversed(CLIPS))]
    moved = beside_other_clips(groups)
    pairs = {group.prompt.example.id: group.prompt.example.prosody for group in moved}
    assert sorted(pairs) == ["a", "b", "c", "d", "e"]  # f is alone with its label
    assert [cast(Any, pairs[id])["pitch"] for id in "abcde"] == [
        "low",
        "low",
        "high",
        "high",
        "low",
    ]
    places = {group.prompt.example.id: group.index for group in groups}
    assert all(group.index == places[group.prompt.example.id] for group in moved)


@pytest.mark.parametrize(
    ("listens", "mean", "other", "gain"),
    # Beside the next clip: a listener is wrong of a and c; a reciter of a's and right of c's.
    [(True, 6 / 6, 3 / 5, 2 / 5), (False, 5 / 6, 4 / 5, 0.0)],
)
def test_a_listener_gains_by_the_clip_and_a_reciter_does_not(
    listens: bool, mean: float, other: float, gain: float
) -> None:
    settings = [f"data.choices=[{', '.join(LABELS)}]", "rewards.aliases={}", "eval.judged=true"]
    config = load_config(TINY, [*settings, "eval.other_clips=true"])
    engines, judge = cast(Any, Policy(listens=listens)), cast(Any, Judge())
    metrics = Evaluator(config, engines, judge, build)("eval", CLIPS)
    assert metrics["eval/reasoning_mean"] == pytest.approx(mean)
    assert metrics["eval/reasoning_other_clip_mean"] == pytest.approx(other)
    assert metrics["eval/reasoning_other_clip_gain"] == pytest.approx(gain)
    without = replace(config, eval=replace(config.eval, other_clips=False))
    assert "eval/reasoning_other_clip_gain" not in Evaluator(without, engines, judge, build)(
        "eval", CLIPS
    )


def test_a_text_without_both_scores_is_in_no_mean() -> None:
    own = {id: RewardTerms({"r": (value,)}) for id, value in (("a", 0.75), ("b", 0.5), ("c", None))}
    other = {id: RewardTerms({"r": (value,)}) for id, value in (("a", 0.25), ("b", None))}
    metrics = other_clip_metrics("eval", ["r"], own, {**other, "c": RewardTerms({"r": (1.0,)})})
    assert metrics == {"eval/r_other_clip_mean": 0.25, "eval/r_other_clip_gain": 0.5}
    assert other_clip_metrics("eval", ["r"], own, {}) == {}
