"""Log-mel features: computed once per clip, unpadded, and shared by engine and learner."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np

from data.audio import SAMPLE_RATE_HZ
from data.records import ClipFeatures, FloatArray

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor

NUM_MEL_BINS = 128
"""M, mel bins of a frame."""

HOP_SAMPLES = 160
"""Samples per frame: 10 ms at 16 kHz."""

MIN_FRAMES = 3
"""Fewest frames that the audio encoder turns into an embedding."""

FRAMES_PER_TOKEN = 4
"""Frames behind one embedding of the audio encoder, but for rounding: `num_audio_tokens`."""

_NUM_CLIP_LOCKS = 64


def num_audio_tokens(num_frames: int) -> int:
    """Return how many embeddings the audio encoder makes of a clip: about one per 40 ms.

    Raises:
        ValueError: fewer than `MIN_FRAMES` frames, which give no embedding at all.

    Source: Qwen2.5-Omni technical report (arXiv 2503.20215): a convolution of stride 2, then a
    pooling by 2, so one embedding per 40 ms; rounding as in the model's own processor.
    """
    if num_frames < MIN_FRAMES:
        raise ValueError(f"a clip of {num_frames} frames is too short, it needs {MIN_FRAMES}")
    after_convolution = (num_frames - 1) // 2 + 1
    return (after_convolution - 2) // 2 + 1


class FeatureExtractor:
    """The checkpoint's feature extractor without its padding of every clip to 300 s.

    The padding shows in the last frames, whose windows reach past the clip, and in the largest
    value of all frames, which sets the floor. A tail of one window of zeros reproduces both, so
    the values are bit for bit those of the padded result, at a small part of the cost. Threads may
    share it.
    """

    def __init__(self, extractor: WhisperFeatureExtractor) -> None:
        """Wrap the feature extractor of a processor.

        Raises:
            ValueError: its rate, hop, mel bins or dither are not those of Qwen2.5-Omni.
        """
        values = {
            "sampling_rate": extractor.sampling_rate,
            "hop_length": extractor.hop_length,
            "feature_size": extractor.feature_size,
            "dither": extractor.dither,
        }
        needed = {
            "sampling_rate": SAMPLE_RATE_HZ,
            "hop_length": HOP_SAMPLES,
            "feature_size": NUM_MEL_BINS,
            "dither": 0.0,
        }
        if values != needed:
            raise ValueError(
                f"the checkpoint's feature extractor has {values}; Qwen2.5-Omni needs {needed}"
            )
        self._extractor = extractor
        self._tail = np.zeros(extractor.n_fft, dtype=np.float32)

    def __call__(self, samples: FloatArray) -> FloatArray:
        """Return the log-mel features of a clip.

        Args:
            samples: [S] float32, 16 kHz, full scale 1.

        Returns:
            [M, F] float32 with F = ceil(S / 160), about -1 to 2 (log10 energy, shifted and scaled).
        """
        padded = np.concatenate([samples, self._tail])
        batch = self._extractor(
            padded,
            sampling_rate=self._extractor.sampling_rate,
            padding="do_not_pad",
            truncation=False,
            return_tensors="np",
        )
        num_frames = -(-len(samples) // HOP_SAMPLES)
        return np.ascontiguousarray(batch["input_features"][0][:, :num_frames], dtype=np.float32)


def keep_array(features: FloatArray) -> Any:
    """Return the features as they are: the `publish` of a cache within one process."""
    return features


class Kept(Protocol):
    """What a cache keeps."""

    @property
    def num_bytes(self) -> int:
        """Memory that it takes."""
        ...


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value", bound=Kept)


class ClipCache(Generic[Key, Value]):
    """What was computed of the most recently used clips; threads may share it.

    What several threads ask for at a time is computed once.
    """

    def __init__(self, max_mb: int, compute: Callable[[Key], Value]) -> None:
        """Make an empty cache.

        Args:
            max_mb: memory, in MB; what was not used for longest goes first.
            compute: key -> what is kept; its errors reach the caller of `get`.
        """
        self._max_bytes = max_mb * 1_000_000
        self._compute = compute
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._num_bytes = 0
        self._lock = Lock()
        self._clip_locks = [Lock() for _ in range(_NUM_CLIP_LOCKS)]

    @property
    def num_bytes(self) -> int:
        """Memory of what is kept, in bytes."""
        return self._num_bytes

    def get(self, key: Key) -> Value:
        """Return what belongs to a key, computed now unless it is kept.

        Raises:
            AudioError: or whatever else `compute` raises; a failure is not remembered.
        """
        with self._clip_locks[hash(key) % _NUM_CLIP_LOCKS]:
            with self._lock:
                if key in self._kept:
                    self._kept.move_to_end(key)
                    return self._kept[key]
            value = self._compute(key)
            with self._lock:
                self._kept[key] = value
                self._num_bytes += value.num_bytes
                while self._num_bytes > self._max_bytes:
                    self._num_bytes -= self._kept.popitem(last=False)[1].num_bytes
            return value


class FeatureCache(ClipCache[Path, ClipFeatures]):
    """Features of the most recently used clips, one copy per clip."""

    def __init__(
        self,
        max_mb: int,
        compute: Callable[[Path], FloatArray],
        publish: Callable[[FloatArray], Any] = keep_array,
    ) -> None:
        """Make an empty cache.

        Args:
            max_mb: memory for features, in MB.
            compute: path of a clip -> [M, F] float32.
            publish: called once per computed clip; what it returns is kept and handed out.
        """
        super().__init__(max_mb, lambda path: ClipFeatures.of(compute(path), publish))
