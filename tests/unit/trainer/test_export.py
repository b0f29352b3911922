"""An exported folder is the start checkpoint with the trained weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Qwen2_5OmniThinkerForConditionalGeneration

from trainer.export import export_checkpoint
from trainer.policy import load_thinker
from trainer.weights import WeightSource

WEIGHTS = "model.safetensors"
Q_PROJ = "thinker.model.layers.0.self_attn.q_proj.weight"


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def scores(model: Qwen2_5OmniThinkerForConditionalGeneration) -> Tensor:
    """Log-distributions of a short prompt with a clip, through transformers alone."""
    torch.manual_seed(1)
    tokens = torch.tensor([[1, 20, 4, *[3] * 10, 5, 30, 31, 2]])
    with torch.no_grad():
        logits = model(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            input_features=torch.randn(1, 128, 40),
            feature_attention_mask=torch.ones(1, 40, dtype=torch.long),
        ).logits
    return logits.log_softmax(-1)


@pytest.fixture(scope="module")
def trained(tiny_checkpoint: Path) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """The model after some training: every weight moved."""
    model = load_thinker(tiny_checkpoint, "float32")
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.02 * torch.randn_like(weight))
    return model


def test_the_export_is_the_trained_model(tiny_checkpoint: Path, tmp_path: Path, trained):
    target = tmp_path / "export"
    export_checkpoint(tiny_checkpoint, target, dict(WeightSource(trained)))
    loaded, report = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(
        target, dtype=torch.float32, output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert torch.equal(scores(loaded.eval()), scores(trained))
    start = load_thinker(tiny_checkpoint, "float32")
    assert (scores(start) - scores(trained)).abs().max() > 0.1


def test_everything_else_is_taken_over(tiny_checkpoint: Path, tmp_path: Path, trained):
    target = tmp_path / "export"
    export_checkpoint(tiny_checkpoint, target, dict(WeightSource(trained)))
    before, after = read_folder(tiny_checkpoint), read_folder(target)
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {WEIGHTS}
    before, after = load_file(tiny_checkpoint / WEIGHTS), load_file(target / WEIGHTS)
    assert before.keys() == after.keys()
    same = {name for name in before if torch.equal(before[name], after[name])}
    vision = {name for name in before if name.startswith("thinker.visual.")}
    assert vision and same == vision


def test_cards_of_the_start_are_kept_under_another_name(tiny_checkpoint: Path, tmp_path: Path):
    start, target = tmp_path / "start", tmp_path / "export"
    shutil.copytree(tiny_checkpoint, start)
    for name in ("README.md", "README.base.md", "README.de.md"):
        (start / name).write_text(name)
    export_checkpoint(start, target, {})
    cards = {path.name: path.read_text() for path in target.glob("README*")}
    assert cards == {
        "README.base.md": "README.md",
        "README.base.base.md": "README.base.md",
        "README.de.md": "README.de.md",
    }


def test_a_weight_without_a_place_is_refused_and_nothing_appears(
    tiny_checkpoint: Path, tmp_path: Path
):
    weights = {"thinker.lm_heat.weight": torch.zeros(1), "thinker.zzz": torch.zeros(1)}
    message = r"has no weight named 'thinker.lm_heat.weight' \(2 such weights\)"
    with pytest.raises(ValueError, match=message):
        export_checkpoint(tiny_checkpoint, tmp_path / "export", weights)
    assert not (tmp_path / "export").exists()


def test_a_refused_export_leaves_the_old_one_alone(tiny_checkpoint: Path, tmp_path: Path):
    target = tmp_path / "export"
    export_checkpoint(tiny_checkpoint, target, {})
    before = read_folder(target)
    with pytest.raises(ValueError, match="has no weight named"):
        export_checkpoint(tiny_checkpoint, target, {"thinker.zzz": torch.zeros(1)})
    assert read_folder(target) == before


def test_a_second_export_replaces_the_first(tiny_checkpoint: Path, tmp_path: Path):
    target = tmp_path / "export"
    for value in (1.0, 2.0):
        export_checkpoint(tiny_checkpoint, target, {Q_PROJ: torch.full((128, 128), value)})
    (target / "leftover").touch()
    export_checkpoint(tiny_checkpoint, target, {Q_PROJ: torch.full((128, 128), 3.0)})
    assert load_file(target / WEIGHTS)[Q_PROJ].unique().tolist() == [3.0]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]
    assert not (target / "leftover").exists()


def test_shards_and_number_formats_are_kept(tiny_checkpoint: Path, tmp_path: Path):
    start, target = tmp_path / "start", tmp_path / "export"
    shutil.copytree(tiny_checkpoint, start)
    weights = load_file(start / WEIGHTS)
    (start / WEIGHTS).unlink()
    shards: dict[str, dict[str, Tensor]] = {"model-1.safetensors": {}, "model-2.safetensors": {}}
    for name, weight in weights.items():
        # As in checkpoints that keep their norms in full precision.
        kept = weight if "norm" in name else weight.bfloat16()
        shards[f"model-{1 + ('.layers.' in name)}.safetensors"][name] = kept
    places = {name: file for file, shard in shards.items() for name in shard}
    for file, shard in shards.items():
        save_file(shard, start / file, metadata={"format": "pt"})
    (start / f"{WEIGHTS}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))

    new = {name: weight + 1 / 3 for name, weight in weights.items()}
    export_checkpoint(start, target, new)

    for file, shard in shards.items():
        written = load_file(target / file)
        assert written.keys() == shard.keys()
        for name, weight in written.items():
            assert weight.dtype == shard[name].dtype
            assert torch.equal(weight, new[name].to(weight.dtype)), name
    assert load_thinker(target, "float32").lm_head.weight.equal(
        new["thinker.lm_head.weight"].bfloat16().float()
    )
