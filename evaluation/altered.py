"""Prompts of grounding controls: every clip altered once for all of them, in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import ray

from configs.schema import DataConfig
from data.prompts import PromptBuilder, prompt_function
from data.records import Example, Prompt
from data.workers import worker_pool
from evaluation.controls import CONTROLS, alter_clip, shuffled

CHUNK = 256
"""Clips that are altered before they are asked about: bounds the memory, whatever the corpus."""

BATCH = 8
"""Clips that a worker takes at a time."""


def with_baselines(names: Sequence[str]) -> list[str]:
    """Return the controls with those that they are compared with, each once, in their order."""
    wanted = {*names, *(CONTROLS[name].baseline for name in names)}
    return [name for name in CONTROLS if name in wanted]


def altered_prompts(
    names: Sequence[str],
    examples: Sequence[Example],
    builder: PromptBuilder,
    data: DataConfig,
    seed: int,
) -> Iterator[tuple[str, list[Prompt]]]:
    """Yield control and prompts of all examples, CHUNK of them at a time, in their order.

    Args:
        names: Controls; nothing is yielded without any.
        examples: They stay as they are, whatever clip is heard.
        builder: Of the policy's checkpoint.
        data: Audio root, limits and `num_workers`: processes, since taking a clip apart keeps the
            interpreter's lock.
        seed: Draws who gets whose clip in `shuffle`.
    """
    if "shuffle" in names:
        build = prompt_function(builder, data, ray.put)
        heard = shuffled(examples, seed)
        for first in range(0, len(examples), CHUNK):
            here = slice(first, first + CHUNK)
            pairs = zip(examples[here], heard[here], strict=True)
            yield "shuffle", [replace(build(other), example=example) for example, other in pairs]
    altering = [name for name in names if name != "shuffle"]
    if not altering:
        return
    root = Path(data.audio_root)
    alter = partial(
        alter_clip,
        names=altering,
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
    )
    with worker_pool(data.num_workers) as pool:
        for first in range(0, len(examples), CHUNK):
            chunk = examples[first : first + CHUNK]
            paths = [root / example.audio for example in chunk]
            clips = list(pool.map(alter, paths, chunksize=BATCH))
            for name in altering:
                features = (builder.extract_features(altered[name]) for altered in clips)
                yield (
                    name,
                    [
                        builder.build(example, ray.put(frames), frames.shape[1])
                        for example, frames in zip(chunk, features, strict=True)
                    ],
                )
