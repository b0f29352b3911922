"""Controls of rows with several clips or none: what a row is about is altered, nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from msgspec import structs

from configs.schema import DataConfig
from data.prompts import PromptBuilder, prompt_function
from evaluation.altered import altered_prompts
from tests.fixtures import make_corpus, read_corpus

pytestmark = pytest.mark.slow


def test_one_clip_of_several_is_altered(
    ray_cluster: None, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    one, two, three, none = read_corpus(make_corpus(tmp_path, 4))
    two = structs.replace(two, before=(one.audio,))
    three = structs.replace(three, after=(one.audio,))
    none = structs.replace(none, audio="")
    data = replace(DataConfig(), audio_root=str(tmp_path), num_workers=1)
    builder = PromptBuilder(tiny_checkpoint, data)
    build = prompt_function(builder, data)
    plain = {row.id: build(row).clips for row in (one, two, three)}
    found = {
        part.control: {prompt.example.id: prompt for prompt in part.prompts}
        for part in altered_prompts(
            ["silence", "shuffle"], [one, two, three, none], builder, data, seed=0
        )
    }
    for prompts in found.values():
        assert prompts.keys() == plain.keys()  # a row without a clip is in no control
        heard = {name: ray.get(list(prompt.clips)) for name, prompt in prompts.items()}
        for name, own, other in ((two.id, 1, 0), (three.id, 0, 1)):
            assert np.array_equal(heard[name][other], plain[one.id][0])
            assert not np.array_equal(heard[name][own], plain[name][own])
            assert heard[name][own].shape == plain[name][own].shape
        assert [prompts[name].text for name in plain] == [build(r).text for r in (one, two, three)]
    # Shuffled, the rows have each other's clips, each once.
    features = [ray.get(found["shuffle"][row.id].features) for row in (one, two, three)]
    own = [np.asarray(array).tobytes() for array in features]
    assert sorted(own) == sorted(build(row).features.tobytes() for row in (one, two, three))
