"""What an engine is told of a prompt's clips."""

from __future__ import annotations

import numpy as np
import pytest

from data.records import ClipFeatures, Prompt, Turn
from rollout.engine import engine_prompt
from tests.fixtures import make_example


def clip(num_frames: int, value: float) -> np.ndarray:
    return np.full((128, num_frames), value, np.float32)


def prompt_of(own: np.ndarray, others: list[np.ndarray], **fields: object) -> Prompt:
    beside = tuple(ClipFeatures(array, array.shape[1], array.nbytes) for array in others)
    return Prompt(make_example(1, **fields), "text", np.arange(3), own, 0, beside)


def test_one_clip_goes_in_without_a_copy() -> None:
    features = clip(7, 1.0)
    told = engine_prompt(prompt_of(features, []))
    assert told["prompt"] == "text" and list(told["multi_modal_data"]) == ["audio"]
    audio = told["multi_modal_data"]["audio"]
    assert audio["input_audio_features"].data_ptr() == features.ctypes.data
    assert audio["audio_feature_lengths"].tolist() == [7]
    assert [mask.tolist() for mask in audio["feature_attention_mask"]] == [[1] * 7]


@pytest.mark.parametrize("own_frames", [5, 0])
def test_several_clips_are_side_by_side_in_the_order_of_the_prompt(own_frames: int) -> None:
    fields = {"turns": (Turn("user", "", "x.wav"),), "after": ("y.wav",)}
    fields |= {"audio": "", "after": ()} if not own_frames else {}
    others = [clip(3, 1.0), *([clip(4, 3.0)] if own_frames else [])]
    audio = engine_prompt(prompt_of(clip(own_frames, 2.0), others, **fields))
    audio = audio["multi_modal_data"]["audio"]
    lengths = [3, 5, 4] if own_frames else [3]
    assert audio["audio_feature_lengths"].tolist() == lengths
    values = [1.0] * 3 + ([2.0] * 5 + [3.0] * 4 if own_frames else [])
    assert audio["input_audio_features"][0].tolist() == values
    assert [len(mask) for mask in audio["feature_attention_mask"]] == lengths


def test_a_prompt_without_a_clip_is_text() -> None:
    assert engine_prompt(prompt_of(clip(0, 0.0), [], audio="")) == {"prompt": "text"}
