"""Prompts of grounding controls: every clip altered once for all of them, in worker processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import ray

from configs.schema import DataConfig
from data.audio import AudioError
from data.loader import unusable, usable_prompts
from data.prompts import PromptBuilder, prompt_function
from data.records import Example, FloatArray, Prompt
from data.workers import worker_pool
from evaluation.controls import AlteredClip, alter_clip, shuffled

logger = logging.getLogger(__name__)

CHUNK = 256
"""Clips that are altered before they are asked about: bounds the memory, whatever the corpus."""

BATCH = 8
"""Clips that a worker takes at a time."""


class AlteredPrompts(NamedTuple):
    """Some examples with their clips altered by one control."""

    control: str
    prompts: list[Prompt]
    clean: frozenset[str]
    """Ids of those whose clip moved cleanly (`data.prosody.renditions.is_clean`)."""


def altered_prompts(
    names: Sequence[str],
    examples: Sequence[Example],
    builder: PromptBuilder,
    data: DataConfig,
    seed: int,
    *,
    measured: bool = False,
) -> Iterator[AlteredPrompts]:
    """Yield the prompts of each control for all examples, CHUNK of them at a time, in their order.

    A clip that has become unusable since it was first read is left out of its control with a line
    in the log, or is an error, as `data.bad_clips` says. Of several clips in a prompt, the one that
    the row is about is altered; a row that is about none is in no control.

    Args:
        names: Controls; nothing is yielded without any.
        examples: They stay as they are, whatever clip is heard.
        builder: Of the policy's checkpoint.
        data: Audio root, limits and `num_workers`: processes, since taking a clip apart keeps the
            interpreter's lock.
        seed: Draws who gets whose clip in `shuffle`.
        measured: Whether it is measured which clips moved cleanly; without, none has.

    Raises:
        AudioError: A clip cannot be used; names the example.
    """
    build = prompt_function(builder, data, ray.put)
    examples = [example for example in examples if example.audio]
    if "shuffle" in names:
        yield from _exchanged(examples, build, data.bad_clips, seed)
    altering = [name for name in names if name != "shuffle"]
    if not altering:
        return
    root = Path(data.audio_root)
    alter = partial(
        _alter,
        names=altering,
        min_duration_s=data.min_duration_s,
        max_duration_s=data.max_duration_s,
        measured=measured,
    )
    with worker_pool(data.num_workers) as pool:
        for first in range(0, len(examples), CHUNK):
            chunk = examples[first : first + CHUNK]
            paths = [root / example.audio for example in chunk]
            clips = list(pool.map(alter, paths, chunksize=BATCH))
            usable = list(_usable(chunk, clips, data.bad_clips))
            for name in altering:
                prompts = [
                    _altered_prompt(builder, build, example, clip.samples[name])
                    for example, clip in usable
                ]
                clean = (example.id for example, clip in usable if name in clip.clean)
                yield AlteredPrompts(name, prompts, frozenset(clean))


def _altered_prompt(
    builder: PromptBuilder,
    build: Callable[[Example], Prompt],
    example: Example,
    samples: FloatArray,
) -> Prompt:
    """Return the prompt of an example with other samples for its clip; other clips stay."""
    features = builder.extract_features(samples)
    beside = build(example).beside if example.others else ()
    return builder.build(example, ray.put(features), features.shape[1], beside)


def _exchanged(
    examples: Sequence[Example], build: Callable[[Example], Prompt], bad_clips: str, seed: int
) -> Iterator[AlteredPrompts]:
    heard = shuffled(examples, seed)
    owners = {other.id: example for example, other in zip(examples, heard, strict=True)}
    for first in range(0, len(examples), CHUNK):
        prompts = usable_prompts(heard[first : first + CHUNK], build, bad_clips)
        prompts = [replace(prompt, example=owners[prompt.example.id]) for prompt in prompts]
        yield AlteredPrompts("shuffle", prompts, frozenset())


def _alter(path: Path, **options: Any) -> AlteredClip | AudioError:
    """Return what `alter_clip` does, or why the clip cannot be used."""
    try:
        return alter_clip(path, **options)
    except AudioError as error:
        return error


def _usable(
    examples: Sequence[Example],
    clips: Sequence[AlteredClip | AudioError],
    bad_clips: str,
) -> Iterator[tuple[Example, AlteredClip]]:
    """Yield examples with their altered clips; what cannot be used as `data.bad_clips` says."""
    for example, altered in zip(examples, clips, strict=True):
        if not isinstance(altered, AudioError):
            yield example, altered
        elif bad_clips == "skip":
            logger.warning("left out example %r of the controls: %s", example.id, altered)
        else:
            raise unusable(example, altered) from altered
