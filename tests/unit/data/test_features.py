from __future__ import annotations

from pathlib import Path
from threading import Barrier, Lock, Thread

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from data.features import FeatureCache, FeatureExtractor, num_audio_tokens
from data.records import FloatArray
from tests.fixtures import tone


def whisper(**changes: float) -> WhisperFeatureExtractor:
    sizes = {"feature_size": 128, "sampling_rate": 16_000, "hop_length": 160, "n_fft": 400}
    return WhisperFeatureExtractor(**(sizes | {"chunk_length": 300} | changes))


EXTRACTOR = whisper()


def padded_features(samples: FloatArray) -> FloatArray:
    batch = EXTRACTOR(
        samples,
        sampling_rate=16_000,
        padding="max_length",
        return_attention_mask=True,
        return_tensors="np",
    )
    return batch["input_features"][0][:, batch["attention_mask"][0].astype(bool)]


@pytest.mark.parametrize("num_samples", [1_600, 1_601, 16_000, 20_079, 31_999])
def test_features_equal_those_of_the_padded_clip_bit_for_bit(num_samples: int) -> None:
    samples = np.random.default_rng(num_samples).normal(0, 0.1, num_samples).astype(np.float32)
    features = FeatureExtractor(EXTRACTOR)(samples)
    assert features.shape == (128, -(-num_samples // 160))
    assert features.dtype == np.float32
    assert np.array_equal(features, padded_features(samples))


@pytest.mark.parametrize("num_samples", [8_000, 8_060, 8_100, 8_159])
def test_a_click_at_the_very_end_sets_the_same_floor_as_in_the_padded_clip(
    num_samples: int,
) -> None:
    samples = tone(300.0, duration_s=1.0, peak=1e-3)[:num_samples].copy()
    samples[-1] = 1.0
    assert np.array_equal(FeatureExtractor(EXTRACTOR)(samples), padded_features(samples))


def test_another_kind_of_extractor_is_refused() -> None:
    with pytest.raises(ValueError, match="'feature_size': 80"):
        FeatureExtractor(whisper(feature_size=80))
    with pytest.raises(ValueError, match=r"'dither': 0\.1"):
        FeatureExtractor(whisper(dither=0.1))


@pytest.mark.parametrize(
    ("num_frames", "num_tokens"),
    [(3, 1), (6, 1), (7, 2), (10, 2), (100, 25), (101, 25), (3_000, 750)],
)
def test_one_audio_token_stands_for_about_four_frames(num_frames: int, num_tokens: int) -> None:
    assert num_audio_tokens(num_frames) == num_tokens


def test_a_clip_without_a_single_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match="2 frames is too short"):
        num_audio_tokens(2)


class Compute:
    """Returns [128, frames] features of 512 bytes a frame, and counts the calls."""

    def __init__(self, num_frames: int) -> None:
        self.num_frames = num_frames
        self.calls: list[str] = []
        self.lock = Lock()

    def __call__(self, path: Path) -> FloatArray:
        with self.lock:
            self.calls.append(path.name)
        if path.name == "bad":
            raise ValueError("bad clip")
        return np.full((128, self.num_frames), len(self.calls), np.float32)


def test_a_clip_is_computed_and_published_once() -> None:
    compute, published = Compute(10), []

    def publish(features: FloatArray) -> str:
        published.append(features.shape)
        return f"reference {len(published)}"

    cache = FeatureCache(1, compute, publish)
    for _ in range(3):
        assert cache.get(Path("a")).value == "reference 1"
    assert cache.get(Path("b")).value == "reference 2"
    assert cache.get(Path("a")).num_frames == 10
    assert (compute.calls, published) == (["a", "b"], [(128, 10)] * 2)
    assert cache.num_bytes == 2 * 128 * 10 * 4


def test_the_clip_that_was_not_used_for_longest_makes_room() -> None:
    compute = Compute(900)  # 0.46 MB a clip, two fit into 1 MB
    cache = FeatureCache(1, compute)
    for name in "abacaab":
        cache.get(Path(name))
    assert compute.calls == ["a", "b", "c", "b"]
    assert cache.num_bytes == 2 * 128 * 900 * 4


def test_a_clip_larger_than_the_cache_is_handed_out_and_not_kept() -> None:
    compute = Compute(3_000)
    cache = FeatureCache(1, compute)
    assert [cache.get(Path("a")).num_frames for _ in range(2)] == [3_000, 3_000]
    assert (compute.calls, cache.num_bytes) == (["a", "a"], 0)


def test_a_failure_reaches_the_caller_and_is_not_remembered() -> None:
    compute = Compute(10)
    cache = FeatureCache(1, compute)
    for _ in range(2):
        with pytest.raises(ValueError, match="bad clip"):
            cache.get(Path("bad"))
    assert compute.calls == ["bad", "bad"]
    assert cache.get(Path("a")).num_frames == 10


def test_threads_that_want_the_same_clips_share_one_computation() -> None:
    compute, start = Compute(10), Barrier(8)
    cache = FeatureCache(10, compute)
    values: list[list[int]] = []

    def work() -> None:
        start.wait()
        values.append([id(cache.get(Path(str(number))).value) for number in range(50)])

    threads = [Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(compute.calls) == sorted(str(number) for number in range(50))
    assert all(row == values[0] for row in values)
    assert cache.num_bytes == 50 * 128 * 10 * 4
