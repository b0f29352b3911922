"""The learner's weights under the names, shapes and values that checkpoints and engines expect."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path

import peft
import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import nn
from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration

from configs.schema import LoraConfig
from rollout.host_receiver import WeightInfo
from trainer.policy import add_adapters, load_thinker
from trainer.weight_sync import largest_bytes
from trainer.weights import WeightSource, checkpoint_name, merged_weight

KEYS_7B = Path(__file__).parents[2] / "data" / "omni_7b_keys.txt"
LORA = LoraConfig(rank=3, alpha=6.0, targets=["q_proj", "o_proj"])

CONFIG_7B = {
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
    "audio_config": {
        "d_model": 1280,
        "encoder_layers": 32,
        "encoder_attention_heads": 20,
        "encoder_ffn_dim": 5120,
        "num_mel_bins": 128,
        "output_dim": 3584,
    },
    "vision_config": {"depth": 1},
    "tie_word_embeddings": False,
}
"""Sizes in the released 7B checkpoint's config.json; the vision tower is dropped anyway."""


@pytest.fixture(scope="module")
def thinker(tiny_checkpoint: Path) -> Qwen2_5OmniThinkerForConditionalGeneration:
    return load_thinker(tiny_checkpoint, "float32")


@pytest.fixture(scope="module")
def adapted(thinker) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """The same model with adapters that have an effect."""
    model = copy.deepcopy(thinker)
    add_adapters(model, LORA)
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(weight)
    return model


@pytest.fixture(scope="module")
def thinker_7b() -> Qwen2_5OmniThinkerForConditionalGeneration:
    with torch.device("meta"):
        model = Qwen2_5OmniThinkerForConditionalGeneration(Qwen2_5OmniThinkerConfig(**CONFIG_7B))
    model.visual = None
    return model


def expand(pattern: str) -> Iterator[str]:
    layers = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if layers is None:
        yield pattern
        return
    for number in range(int(layers[1]), int(layers[2]) + 1):
        yield pattern.replace(layers[0], str(number))


def names(source: WeightSource) -> list[str]:
    return [info.name for info in source.metadata()]


def test_names_are_the_tiny_checkpoints(tiny_checkpoint: Path, thinker):
    with safe_open(tiny_checkpoint / "model.safetensors", framework="pt") as shard:
        stored = {name for name in shard.keys() if not name.startswith("thinker.visual.")}  # noqa: SIM118
    assert len(names(WeightSource(thinker))) == len(stored)
    assert set(names(WeightSource(thinker))) == stored


def test_names_are_the_released_7b_checkpoints(thinker_7b):
    lines = KEYS_7B.read_text().splitlines()
    released = [name for line in lines if not line.startswith("#") for name in expand(line)]
    assert len(released) == 3 + 28 * 12 + 9 + 32 * 15
    assert set(names(WeightSource(thinker_7b))) == set(released)


def test_metadata_is_what_a_pass_yields_in_the_same_order(adapted):
    source = WeightSource(adapted)
    metadata = [tuple(info) for info in source.metadata()]
    for _ in range(2):  # every pass is a fresh one
        assert [(name, w.dtype, tuple(w.shape)) for name, w in source] == metadata


def test_values_are_the_models(thinker):
    live = dict(thinker.named_parameters())
    count = 0
    for name, weight in WeightSource(thinker):
        assert torch.equal(weight, live[name.removeprefix("thinker.")])
        assert not weight.requires_grad
        count += 1
    assert count == len(live)


def test_a_pass_sees_the_latest_values(thinker):
    model = copy.deepcopy(thinker)
    source = WeightSource(model)
    dict(source)
    with torch.no_grad():
        model.lm_head.weight.fill_(0.5)
    assert set(dict(source)["thinker.lm_head.weight"].unique().tolist()) == {0.5}


def test_frozen_parts_can_be_left_out(thinker_7b):
    everything = names(WeightSource(thinker_7b))
    left = names(WeightSource(thinker_7b, skip=["audio_tower", "model.layers.1", "lm_head"]))
    gone = ("thinker.audio_tower.", "thinker.model.layers.1.", "thinker.lm_head.")
    assert left == [name for name in everything if not name.startswith(gone)]
    assert "thinker.model.layers.10.mlp.up_proj.weight" in left
    assert [name for name, _ in WeightSource(thinker_7b, skip=["audio_tower"])] == [
        name for name in everything if not name.startswith("thinker.audio_tower.")
    ]


@pytest.mark.parametrize(
    ("learner", "checkpoint"),
    [
        ("lm_head.weight", "thinker.lm_head.weight"),
        ("model.layers.3.q_proj.base_layer.bias", "thinker.model.layers.3.q_proj.bias"),
        ("model.layers.3.q_proj.lora_A.default.weight", None),
    ],
)
def test_checkpoint_names(learner: str, checkpoint: str | None):
    assert checkpoint_name(learner) == checkpoint


def test_merged_weight_by_hand():
    model = nn.ModuleDict({"proj": nn.Linear(2, 2)})
    config = peft.LoraConfig(r=1, lora_alpha=3, target_modules=["proj"])
    layer = peft.inject_adapter_in_model(config, model)["proj"]
    layer.lora_A["default"].weight.data = torch.tensor([[1.0, 2.0]])
    layer.lora_B["default"].weight.data = torch.tensor([[10.0], [0.0]])
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert merged_weight(layer, weight).tolist() == [[31.0, 62.0], [3.0, 4.0]]
    assert merged_weight(layer, weight.bfloat16()).dtype == torch.bfloat16


def test_adapters_are_merged_as_peft_merges_them(thinker, adapted):
    assert names(WeightSource(adapted)) == names(WeightSource(thinker))
    merged = copy.deepcopy(adapted)
    layers = {name: m for name, m in merged.named_modules() if isinstance(m, LoraLayer)}
    assert len(layers) == 4 * len(LORA.targets)
    for layer in layers.values():
        layer.merge()
    base = dict(WeightSource(thinker))
    for name, weight in WeightSource(adapted):
        layer = layers.get(name.removeprefix("thinker.").removesuffix(".weight"))
        if layer is None:
            assert torch.equal(weight, base[name]), name
        else:
            torch.testing.assert_close(weight, layer.base_layer.weight, atol=1e-6, rtol=0)
            assert (weight - base[name]).abs().max() > 0.1


def test_adapters_send_what_they_changed_and_what_goes_with_it(thinker):
    model = copy.deepcopy(thinker)
    add_adapters(model, LoraConfig(rank=2, targets=["v_proj"]))
    sent = names(WeightSource(model, changed_only=True))
    layers = len(model.model.layers)
    # The engine holds the three projections of attention as one, so all go together.
    parts = ("q_proj", "k_proj", "v_proj")
    assert sorted(sent) == sorted(
        f"thinker.model.layers.{layer}.self_attn.{part}.{kind}"
        for layer in range(layers)
        for part in parts
        for kind in ("weight", "bias")
    )
    source = WeightSource(model, changed_only=True)
    assert [name for name, _ in source] == sent
    # Without adapters everything is sent, and the export always has everything.
    everything = names(WeightSource(thinker))
    assert names(WeightSource(thinker, changed_only=True)) == everything
    assert names(WeightSource(model)) == everything


@pytest.mark.slow
def test_buckets_hold_the_largest_weight(thinker_7b):
    largest = largest_bytes(WeightSource(thinker_7b).metadata())
    assert largest == max(w.numel() * w.itemsize for _, w in WeightSource(thinker_7b))
    released = WeightInfo("thinker.model.embed_tokens.weight", torch.bfloat16, (152064, 3584))
    assert largest_bytes([released]) == 1089994752  # above the default bucket of 512 MiB
