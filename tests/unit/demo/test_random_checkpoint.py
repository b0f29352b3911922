"""Random weights in the released sizes: what a checkpoint of them holds, and who can load it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from configs.schema import DataConfig, ModelConfig
from data.prompts import PromptBuilder
from demo.random_checkpoint import (
    DTYPE,
    INDEX,
    SIZES,
    full_config,
    main,
    plan_shards,
    weight_shapes,
    write_random_checkpoint,
)
from trainer.policy import load_thinker, prepare_thinker

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the command made."""
    path = tmp_path_factory.mktemp("random") / "model"
    command = [sys.executable, "launch/random_checkpoint.py", "tiny", str(path), "--layers", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "model-00001-of-00001.safetensors" in done.stdout
    return path


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    """All weights of a folder, by its index."""
    places = json.loads((path / INDEX).read_text())["weight_map"]
    files = {file: load_file(path / file) for file in set(places.values())}
    return {name: files[file][name] for name, file in places.items()}


@pytest.mark.parametrize(
    ("name", "language_model", "embedding", "layer", "audio_tower"),
    [
        # 2 x 151936 x 2048 + 36 layers + a norm; 2 x 152064 x 3584 + 28 layers + a norm.
        ("3b", 3_397_103_616, 311_164_928, 77_076_992, 637_676_544),
        ("7b", 7_615_616_512, 544_997_376, 233_057_792, 639_647_232),
    ],
)
def test_the_released_sizes(
    name: str, language_model: int, embedding: int, layer: int, audio_tower: int
):
    shapes = weight_shapes(full_config(SIZES[name]))

    def count(*prefixes: str) -> int:
        return sum(s.numel() for n, s in shapes.items() if n.startswith(prefixes))

    assert count("thinker.model.", "thinker.lm_head.") == language_model
    assert count("thinker.model.embed_tokens.") == count("thinker.lm_head.") == embedding
    assert count("thinker.model.layers.0.") == layer
    assert count("thinker.audio_tower.") == audio_tower


def test_the_weights_are_those_of_the_demos_checkpoint(tiny_checkpoint: Path):
    whole = load_file(tiny_checkpoint / "model.safetensors")
    num_tokens = len(whole["thinker.lm_head.weight"])
    shapes = weight_shapes(full_config(replace(SIZES["tiny"], vocab_size=num_tokens)))
    assert shapes == {name: weight.shape for name, weight in whole.items()}


def test_the_learner_loads_it(made: Path):
    thinker = load_thinker(made, "bfloat16")
    prepare_thinker(thinker, ModelConfig())
    assert len(thinker.model.layers) == 3
    assert torch.equal(thinker.model.norm.weight, torch.ones(128, dtype=DTYPE))
    assert not thinker.audio_tower.ln_post.bias.any()
    assert 0.019 < thinker.lm_head.weight.float().std() < 0.021


def test_prompts_can_be_built_with_it(made: Path):
    builder = PromptBuilder(made, DataConfig())
    thinker = json.loads((made / "config.json").read_text())["thinker_config"]
    assert builder.audio_token_id == thinker["audio_token_index"]
    assert builder.end_token_id == thinker["text_config"]["eos_token_id"]


def test_files_are_bounded_and_decide_no_number(made: Path, tmp_path: Path):
    lines: list[str] = []
    path = tmp_path / "sharded"
    limit = 100_000
    write_random_checkpoint(
        path, SIZES["tiny"], num_layers=3, shard_bytes=limit, report=lines.append
    )
    files = sorted(path.glob("*.safetensors"))
    assert len(files) == len(lines) - 1 > 10
    sizes = {file.name: [w.nbytes for w in load_file(file).values()] for file in files}
    assert all(sum(found) <= limit or len(found) == 1 for found in sizes.values())
    index = json.loads((path / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(map(sum, sizes.values()))
    one, many = weights_of(made), weights_of(path)
    assert one.keys() == many.keys()
    assert all(torch.equal(weight, many[name]) for name, weight in one.items())


def test_a_weight_above_the_limit_gets_a_file_of_its_own():
    # 4, 30, 4 and 4 bytes: a number takes two.
    shapes = {"a": torch.Size([2]), "b": torch.Size([15]), "c": torch.Size([2])}
    assert plan_shards(shapes | {"d": torch.Size([2])}, 8) == [["a"], ["b"], ["c", "d"]]


def test_nothing_is_overwritten(made: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match="exists: remove it"):
        write_random_checkpoint(made, SIZES["tiny"])
    with pytest.raises(SystemExit) as stop:
        main(["tiny", str(made)])
    assert stop.value.code == 2
    assert "exists: remove it" in capsys.readouterr().err
