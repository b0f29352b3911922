"""What is trained and what is not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from configs.schema import LoraConfig, ModelConfig
from tests.unit.make_samples import make_clip_sample
from trainer.logprobs import PackedPolicy, PackedRow, to_device
from trainer.packing import build_row
from trainer.policy import as_reference, load_thinker, prepare_thinker

LORA = LoraConfig(rank=2, alpha=6.0, targets=["q_proj", "v_proj"])
NUM_LAYERS = 4
AUDIO = 3


@pytest.fixture
def thinker(tiny_checkpoint: Path) -> Qwen2_5OmniThinkerForConditionalGeneration:
    return load_thinker(tiny_checkpoint, "float32")


@pytest.fixture(scope="module")
def row() -> PackedRow:
    sample = make_clip_sample(60, [5, 3], audio_token_id=AUDIO, seed=0)
    packed = build_row([sample], [[0.5, 0.5]])
    return to_device(packed, packed.features, torch.device("cpu"), "sdpa", torch.float32)


def model_config(
    freeze: Sequence[str] = (), *, checkpointing: bool = False, lora: LoraConfig | None = None
) -> ModelConfig:
    return ModelConfig(
        freeze=list(freeze), gradient_checkpointing=checkpointing, lora=lora or LoraConfig()
    )


def trained_names(thinker: nn.Module) -> set[str]:
    return {name for name, weight in thinker.named_parameters() if weight.requires_grad}


def policy_of(thinker: Qwen2_5OmniThinkerForConditionalGeneration) -> PackedPolicy:
    return PackedPolicy(
        thinker,
        attention="sdpa",
        temperature=1.0,
        forbidden_token_ids=[AUDIO],
        chunk_tokens=64,
        float32_head=False,
    )


def set_adapters(thinker: nn.Module) -> None:
    """Give every adapter an effect: B starts as zeros."""
    torch.manual_seed(0)
    for name, weight in thinker.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(weight, std=0.1)


def test_the_vision_tower_is_dropped_and_dropout_is_off(thinker):
    assert thinker.visual is None
    assert not any(name.startswith("visual") for name in thinker.state_dict())
    assert not thinker.training


def test_weights_are_the_checkpoints_in_the_asked_format(tiny_checkpoint: Path):
    thinker = load_thinker(tiny_checkpoint, "bfloat16")
    stored = load_file(tiny_checkpoint / "model.safetensors")
    assert {weight.dtype for weight in thinker.parameters()} == {torch.bfloat16}
    for name, weight in thinker.named_parameters():
        assert torch.equal(weight, stored[f"thinker.{name}"].bfloat16()), name


def test_a_checkpoint_that_lacks_a_weight_is_refused(tiny_checkpoint: Path, tmp_path: Path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["thinker.model.layers.2.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = r"lacks 1 weights, first model.layers.2.mlp.up_proj.weight"
    with pytest.raises(ValueError, match=message):
        load_thinker(folder, "float32")


def test_freezing_by_prefix_trains_everything_else(thinker):
    everything = {name for name, _ in thinker.named_parameters()}
    freeze = ("audio_tower", "model.embed_tokens", "model.layers.1")
    prepare_thinker(thinker, model_config(freeze))
    expected = {n for n in everything if not n.startswith(tuple(f"{part}." for part in freeze))}
    assert trained_names(thinker) == expected
    assert "model.layers.0.mlp.up_proj.weight" in expected


def test_the_unused_audio_marker_embedding_is_never_trained(thinker):
    prepare_thinker(thinker, model_config())
    left = {name for name, _ in thinker.named_parameters()} - trained_names(thinker)
    assert left == {"audio_tower.audio_bos_eos_token.weight"}


@pytest.mark.parametrize("prefix", ["audio", "model.layer", "model.layers.9", "visual", "thinker"])
def test_an_unknown_freeze_prefix_is_refused(thinker, prefix: str):
    with pytest.raises(ValueError, match=rf"model.freeze: no weight .* starts with '{prefix}'"):
        prepare_thinker(thinker, model_config(["audio_tower", prefix]))


def test_freezing_everything_is_refused(thinker):
    with pytest.raises(ValueError, match=r"model.freeze: every weight is frozen"):
        prepare_thinker(thinker, model_config(["audio_tower", "model", "lm_head"]))


def test_gradient_checkpointing_recomputes_the_layers(thinker, row: PackedRow):
    prepare_thinker(thinker, model_config(checkpointing=True))
    calls = []
    thinker.model.layers[1].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    policy_of(thinker)(row).logprobs.sum().backward()
    assert len(calls) == 2


def test_without_gradient_checkpointing_a_layer_runs_once(thinker, row: PackedRow):
    prepare_thinker(thinker, model_config(checkpointing=False))
    calls = []
    thinker.model.layers[1].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    policy_of(thinker)(row).logprobs.sum().backward()
    assert len(calls) == 1


def test_lora_trains_adapters_of_the_language_model_only(thinker):
    prepare_thinker(thinker, model_config(["audio_tower"], lora=LORA))
    trained = trained_names(thinker)
    assert trained == {
        f"model.layers.{layer}.self_attn.{target}.lora_{side}.default.weight"
        for layer in range(NUM_LAYERS)
        for target in ("q_proj", "v_proj")
        for side in "AB"
    }
    weights = dict(thinker.named_parameters())
    q_proj = "model.layers.0.self_attn.q_proj"
    assert weights[f"{q_proj}.lora_A.default.weight"].shape == (2, 128)
    assert weights[f"{q_proj}.lora_B.default.weight"].shape == (128, 2)


def test_a_lora_target_that_does_not_exist_is_refused(thinker):
    with pytest.raises(ValueError, match="nope_proj"):
        prepare_thinker(thinker, model_config(lora=LoraConfig(rank=2, targets=["nope_proj"])))


def gradients(policy: PackedPolicy, row: PackedRow, *, look_at_base: bool) -> dict[str, Tensor]:
    """Gradients of the summed log-probs, as the learner takes them under a KL term."""
    policy.thinker.zero_grad()
    scores = policy(row)
    if look_at_base:
        with torch.no_grad(), as_reference(policy.thinker):
            policy(row)
    scores.logprobs.sum().backward()
    weights = policy.thinker.named_parameters()
    return {name: weight.grad.clone() for name, weight in weights if weight.requires_grad}


def test_as_reference_gives_the_base_policy_and_changes_nothing(thinker, row: PackedRow):
    base = policy_of(thinker)(row).logprobs
    prepare_thinker(thinker, model_config(checkpointing=True, lora=LORA))
    policy = policy_of(thinker)
    assert torch.equal(policy(row).logprobs, base)  # a fresh adapter does nothing
    set_adapters(thinker)
    adapted = policy(row).logprobs
    assert (adapted - base).abs().max() > 1e-3
    trained = trained_names(thinker)
    with as_reference(thinker):
        assert torch.equal(policy(row).logprobs, base)
    assert torch.equal(policy(row).logprobs, adapted)
    assert trained_names(thinker) == trained
    plain, looked = (gradients(policy, row, look_at_base=look) for look in (False, True))
    assert len(plain) == 4 * NUM_LAYERS
    for name, gradient in plain.items():
        assert gradient.any(), name
        assert torch.equal(gradient, looked[name]), name


def test_adapters_come_back_after_an_error(thinker, row: PackedRow):
    prepare_thinker(thinker, model_config(lora=LORA))
    set_adapters(thinker)
    policy = policy_of(thinker)
    adapted = policy(row).logprobs
    with pytest.raises(RuntimeError, match="stop"), as_reference(thinker):
        raise RuntimeError("stop")
    assert torch.equal(policy(row).logprobs, adapted)
