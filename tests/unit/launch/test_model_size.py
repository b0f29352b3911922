"""Sizes of checkpoints: counted from headers, against models on the meta device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from configs.schema import LoraConfig, ModelConfig
from demo.headers import meta_thinker, thinker_config, write_headers, write_omni
from launch.memory.model_size import ModelSizeError, read_header, read_model_size
from trainer.policy import load_thinker, prepare_thinker

BILLION = 1e9


@pytest.mark.parametrize(("name", "trained", "tower"), [("3B", 3.397, 0.638), ("7B", 7.616, 0.640)])
def test_released_sizes_equal_the_models_on_the_meta_device(
    name: str, trained: float, tower: float, tmp_path: Path
) -> None:
    write_omni(tmp_path / name, name)
    size = read_model_size(tmp_path / name)
    weights = dict(meta_thinker(name).named_parameters())
    counts = {n: w.numel() for n, w in weights.items() if not n.startswith("visual.")}
    assert size.count() == sum(counts.values())
    in_tower = sum(count for n, count in counts.items() if n.startswith("audio_tower."))
    assert size.count("audio_tower") == in_tower
    frozen = ModelConfig(freeze=["audio_tower"])
    assert size.num_trained(frozen) == size.count() - in_tower
    assert size.num_trained(frozen) / BILLION == pytest.approx(trained, abs=5e-4)
    assert in_tower / BILLION == pytest.approx(tower, abs=5e-4)


def test_dimensions_come_from_shapes(tmp_path: Path) -> None:
    write_omni(tmp_path / "7B", "7B")
    size = read_model_size(tmp_path / "7B")
    assert (size.vocab, size.hidden, size.layers, size.intermediate) == (152064, 3584, 28, 18944)
    assert (size.query_dim, size.kv_dim, size.num_kv_heads) == (3584, 512, 4)
    assert (size.audio_hidden, size.audio_layers, size.audio_intermediate) == (1280, 32, 5120)


def test_no_weight_is_read(tmp_path: Path) -> None:
    write_omni(tmp_path / "7B", "7B", num_files=1)
    (path,) = (tmp_path / "7B").glob("*.safetensors")
    assert path.stat().st_size > 16e9
    assert path.stat().st_blocks * 512 < 1e6
    before = read_model_size(tmp_path / "7B").count()
    with path.open("r+b") as file:  # nothing but the header is left
        file.truncate(8 + int.from_bytes(file.read(8), "little"))
    assert read_model_size(tmp_path / "7B").count() == before


def test_a_tied_head_counts_once(tmp_path: Path) -> None:
    write_omni(tmp_path / "untied", "3B", num_files=1)
    shapes = read_header(next((tmp_path / "untied").glob("*.safetensors")))
    tied = {name: shape for name, shape in shapes.items() if name != "thinker.lm_head.weight"}
    config = {"thinker_config": json.loads(thinker_config("3B").to_json_string())}
    write_headers(tmp_path / "tied", tied, config, 1)
    counts = [read_model_size(tmp_path / name).count() for name in ("untied", "tied")]
    assert counts[0] - counts[1] == 151936 * 2048


@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(freeze=["audio_tower"]),
        ModelConfig(freeze=[]),
        ModelConfig(freeze=["audio_tower", "model.embed_tokens", "model.layers.1"]),
        ModelConfig(lora=LoraConfig(rank=4)),
        ModelConfig(lora=LoraConfig(rank=2, targets=["up_proj", "down_proj"])),
    ],
)
def test_trained_weights_are_those_of_the_learner(
    model: ModelConfig, tiny_checkpoint: Path
) -> None:
    thinker = load_thinker(tiny_checkpoint, "float32")
    prepare_thinker(thinker, model)
    shapes = sorted(tuple(w.shape) for w in thinker.parameters() if w.requires_grad)
    assert sorted(read_model_size(tiny_checkpoint).trained_shapes(model)) == shapes


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelSizeError, match="no weights of a Qwen"):
        read_model_size(tmp_path)
    path = tmp_path / "model.safetensors"
    for content in (b"", bytes(1000), b"\xff" * 1000, (2).to_bytes(8, "little") + b"[]"):
        path.write_bytes(content)
        with pytest.raises(ModelSizeError, match="not a safetensors file"):
            read_model_size(tmp_path)
    save_file({"model.embed_tokens.weight": torch.zeros(2, 2)}, path)
    with pytest.raises(ModelSizeError, match="no weights of a Qwen"):
        read_model_size(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_omni(tmp_path / "3B", "3B")
    (tmp_path / "3B" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelSizeError, match=r"model-00002-of-00003\.safetensors: No such file"):
        read_model_size(tmp_path / "3B")
