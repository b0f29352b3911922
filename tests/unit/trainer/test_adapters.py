"""Adapters from and to files: the same policy here, by peft, and merged."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from configs.load import load_config
from configs.schema import LoraConfig, ModelConfig
from launch.merge import main as merge
from trainer.adapters import (
    AdapterError,
    adapter_weights,
    fill_adapters,
    holds_to_adapter,
    lora_of,
    write_adapter,
)
from trainer.policy import TRAINED, as_reference, load_thinker, prepare_thinker

LORA = LoraConfig(rank=2, alpha=6.0, targets=["q_proj", "v_proj"])
Thinker = Qwen2_5OmniThinkerForConditionalGeneration


def scores(model: nn.Module) -> Tensor:
    """Log-distributions of a short text."""
    tokens = torch.tensor([[1, 20, 4, 5, 30, 31, 2]])
    with torch.no_grad():
        return model(input_ids=tokens).logits.log_softmax(-1)


def adapted(checkpoint: Path, *, keeps_start: bool = False) -> Thinker:
    thinker = load_thinker(checkpoint, "float32")
    config = ModelConfig(lora=LORA, freeze=[], gradient_checkpointing=False)
    prepare_thinker(thinker, config, keeps_start=keeps_start)
    return thinker


def train(thinker: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in thinker.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))


@pytest.fixture(scope="module")
def sft(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """An adapter's folder, and the scores of the policy that it came from."""
    thinker = adapted(tiny_checkpoint)
    train(thinker, 0)
    folder = tmp_path_factory.mktemp("sft") / "adapter"
    write_adapter(folder, dict(adapter_weights(thinker)), LORA)
    return folder, scores(thinker)


def test_the_file_has_full_names_and_no_path(sft: tuple[Path, Tensor]) -> None:
    folder, _ = sft
    names = load_file(folder / "adapter_model.safetensors").keys()
    start = "base_model.model.thinker.model.layers"
    assert f"{start}.0.self_attn.q_proj.lora_A.weight" in names
    assert len(names) == 4 * 2 * 2 and all(name.startswith(start) for name in names)
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"]) == (2, 6.0)
    assert not settings["base_model_name_or_path"]
    assert lora_of(folder) == LORA


def test_what_is_read_is_what_was_written(tiny_checkpoint: Path, sft: tuple[Path, Tensor]) -> None:
    folder, expected = sft
    thinker = adapted(tiny_checkpoint)
    assert not torch.equal(scores(thinker), expected)
    fill_adapters(thinker, folder, LORA)
    assert torch.equal(scores(thinker), expected)


def test_peft_reads_it_into_the_thinker(tiny_checkpoint: Path, sft: tuple[Path, Tensor]) -> None:
    folder, expected = sft
    model = peft.PeftModel.from_pretrained(
        Thinker.from_pretrained(tiny_checkpoint, dtype=torch.float32).eval(),
        str(folder),
        key_mapping={"^thinker.": ""},
    )
    tuned = [n for n, _ in model.named_modules() if n.endswith("lora_A.default")]
    assert len(tuned) == 4 * 2  # not those of the audio tower, whose layers are called alike
    torch.testing.assert_close(scores(model), expected, atol=1e-6, rtol=0)


def test_a_merged_checkpoint_is_the_same_policy(
    tiny_checkpoint: Path, sft: tuple[Path, Tensor], tmp_path: Path
) -> None:
    folder, expected = sft
    output = tmp_path / "merged"
    arguments = ["--base", str(tiny_checkpoint), "--adapter", str(folder), "--output", str(output)]
    assert merge(arguments) == 0
    model = Thinker.from_pretrained(output, dtype=torch.float32).eval()
    torch.testing.assert_close(scores(model), expected, atol=1e-5, rtol=0)
    assert merge(arguments) == 2  # there is something now


def test_the_reference_is_what_training_started_from(
    tiny_checkpoint: Path, sft: tuple[Path, Tensor]
) -> None:
    folder, start = sft
    thinker = adapted(tiny_checkpoint, keeps_start=True)
    fill_adapters(thinker, folder, LORA)
    trained = {name for name, weight in thinker.named_parameters() if weight.requires_grad}
    assert len(trained) == 4 * 2 * 2 and all(f".{TRAINED}." in name for name in trained)
    train(thinker, 1)
    now = scores(thinker)
    assert (now - start).abs().max() > 1e-3
    with as_reference(thinker):
        assert torch.equal(scores(thinker), start)
    assert torch.equal(scores(thinker), now)
    assert trained == {name for name, w in thinker.named_parameters() if w.requires_grad}
    # What is written is the trained one, once.
    assert len(dict(adapter_weights(thinker))) == len(trained)


def test_without_a_kept_start_the_reference_is_the_base(
    tiny_checkpoint: Path, sft: tuple[Path, Tensor]
) -> None:
    thinker = adapted(tiny_checkpoint)
    fill_adapters(thinker, sft[0], LORA)
    with as_reference(thinker):
        assert torch.equal(scores(thinker), scores(load_thinker(tiny_checkpoint, "float32")))


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        ([], True),
        (["loss.reference=base"], False),
        (["loss.kl_coef=0"], False),
        (["model.adapter=''"], False),
    ],
)
def test_when_the_start_is_kept(settings: list[str], held: bool) -> None:
    given = ["model.adapter=somewhere", "model.lora.rank=2", "loss.kl_coef=0.04", *settings]
    assert holds_to_adapter(load_config("configs/tiny.yaml", given)) is held


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        (LoraConfig(rank=4, alpha=6.0), r"rank 2 and alpha 6, .* set model.lora.rank=2 model.lora"),
        (LoraConfig(), r"set model.lora.rank=2"),
        (LoraConfig(rank=2, alpha=6.0, targets=["q_proj"]), r"has .*v_proj.lora_A.weight \(8 such"),
    ],
)
def test_an_adapter_that_does_not_fit_the_settings(
    tiny_checkpoint: Path, sft: tuple[Path, Tensor], lora: LoraConfig, message: str
) -> None:
    thinker = load_thinker(tiny_checkpoint, "float32")
    if lora.rank:
        prepare_thinker(thinker, ModelConfig(lora=lora, freeze=[], gradient_checkpointing=False))
    with pytest.raises(AdapterError, match=message):
        fill_adapters(thinker, sft[0], lora)


def test_files_that_are_no_such_adapter(
    tiny_checkpoint: Path, sft: tuple[Path, Tensor], tmp_path: Path
) -> None:
    thinker = adapted(tiny_checkpoint)
    with pytest.raises(AdapterError, match=r"is not the adapter_config.json of a peft LoRA"):
        fill_adapters(thinker, tmp_path, LORA)
    settings = json.loads((sft[0] / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings | {"use_dora": True}))
    with pytest.raises(AdapterError, match="use_dora is not trained here"):
        fill_adapters(thinker, tmp_path, LORA)
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    weights = load_file(sft[0] / "adapter_model.safetensors")
    narrow = {
        name: w[:, :64].contiguous() if "lora_A" in name else w for name, w in weights.items()
    }
    save_file(narrow, tmp_path / "adapter_model.safetensors")
    with pytest.raises(AdapterError, match=r"is \[2, 64\], the model needs \[2, 128\]; it is of"):
        fill_adapters(thinker, tmp_path, LORA)
