"""Counterfactual pairs: a prompt's clip twice, as it is and with one attribute moved.

Of several clips it is the one that the row is about; the others stay as they are.

Both go through the same vocoder, so that its sound tells nothing. What is moved and which way is
drawn from the seed of the run, the epoch and the example alone: a resumed run meets the same pairs,
and nothing of the clip says which way it was moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.schema import RunConfig
from data.features import ClipCache, ClipFeatures, keep_array
from data.prompts import PromptBuilder, feature_cache
from data.prosody.renditions import move_clip
from data.records import Example, FloatArray, Move, Prompt
from data.workers import worker_pool


def draw_move(seed: int, epoch: int, example_id: str, moves: Sequence[str]) -> tuple[str, int]:
    """Return what is moved of an example's clip in an epoch, and whether up (1) or down (-1)."""
    digest = hashlib.sha256(f"{seed} {epoch} {example_id}".encode()).digest()
    return moves[int.from_bytes(digest[:8], "big") % len(moves)], 1 if digest[8] & 1 else -1


@dataclass(frozen=True, slots=True)
class _Renditions:
    """A clip as it is (0), moved up (1) and down (-1)."""

    features: Mapping[int, ClipFeatures]
    clean: bool
    num_bytes: int


class PairBuilder:
    """Examples to pairs of prompts: the one that is returned holds the other; threads may share it.

    Clips are taken apart in worker processes, since that keeps the interpreter's lock.
    """

    def __init__(
        self,
        builder: PromptBuilder,
        config: RunConfig,
        publish: Callable[[FloatArray], Any] = keep_array,
    ) -> None:
        """Make one for a run.

        Args:
            builder: Of the policy's checkpoint.
            config: Its `data` and `rollout.counterfactual`, and its seed.
            publish: As in `data.prompts.prompt_function`.
        """
        self._builder = builder
        self._data = config.data
        self._seed = config.seed
        pairs = config.rollout.counterfactual
        self._moves = pairs.moves
        self._sizes = {"pitch": pairs.pitch_st, "rate": pairs.rate, "energy": pairs.energy_db}
        self._publish = publish
        self._pool = worker_pool(config.data.num_workers)
        self._clips = ClipCache(config.data.feature_cache_mb, self._renditions)
        self._others = feature_cache(builder, config.data, publish)

    def __call__(self, example: Example, epoch: int) -> Prompt:
        """Return the half that hears the clip as it is; its `counterpart` hears it moved.

        Raises:
            AudioError: The clip cannot be used.
            PromptError: As `PromptBuilder.build`.
        """
        attribute, direction = draw_move(self._seed, epoch, example.id, self._moves)
        clip = self._clips.get((example.audio, attribute))
        root = Path(self._data.audio_root)
        beside = [self._others.get(root / audio) for audio in example.others]
        plain, moved = (
            replace(
                self._builder.build(example, features.value, features.num_frames, beside),
                move=Move(attribute, way, self._sizes[attribute], clip.clean),
            )
            for way, features in ((way, clip.features[way]) for way in (0, direction))
        )
        return replace(plain, counterpart=moved)

    def close(self) -> None:
        """End the workers."""
        self._pool.shutdown(cancel_futures=True)

    def _renditions(self, key: tuple[str, str]) -> _Renditions:
        audio, attribute = key
        limits = self._data.min_duration_s, self._data.max_duration_s
        path = Path(self._data.audio_root) / audio
        # Both ways at once: what takes time is to take the clip apart.
        move = self._pool.submit(move_clip, path, attribute, self._sizes[attribute], *limits)
        heard, clean = move.result()
        features = {
            way: ClipFeatures.of(self._builder.extract_features(samples), self._publish)
            for way, samples in heard.items()
        }
        return _Renditions(features, clean, sum(each.num_bytes for each in features.values()))
