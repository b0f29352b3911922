"""The estimate of memory: worked numbers at the released sizes, and counted tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface

from configs.load import load_config
from configs.schema import ModelConfig, RunConfig
from data.features import num_audio_tokens
from demo.headers import meta_thinker, write_omni
from launch.memory.engine import kv_bytes_per_token
from launch.memory.estimate import (
    Device,
    check_memory,
    estimate,
    find_device,
    misfits,
    places,
    remedies,
)
from launch.memory.figures import RoleMemory
from launch.memory.learner import (
    MAX_KEPT_BYTES,
    RowShape,
    audio_bytes,
    kept_bytes,
    longest_row,
)
from launch.memory.model_size import read_model_size
from launch.memory.table import describe_memory
from trainer.head import KEPT_BYTES
from trainer.policy import load_thinker

pytestmark = pytest.mark.slow

GPU = Device(85_500_000_000, known=False)
GIGA = 1e9


@pytest.fixture(scope="module")
def omni(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunConfig]:
    """Return a function that loads a shipped configuration with the headers of its policy."""
    folder = tmp_path_factory.mktemp("headers")
    for name in ("3B", "7B"):
        write_omni(folder / name, name)

    def load(file: str, size: str, *overrides: str) -> RunConfig:
        return load_config(f"configs/{file}.yaml", [f"model.path={folder / size}", *overrides])

    return load


def role(config: RunConfig, name: str) -> RoleMemory:
    (found,) = [role for role in estimate(config, GPU) if role.name == name]
    return found


def giga(config: RunConfig, name: str = "learner rank") -> dict[str, float]:
    """Name -> GB of a role's figures."""
    return {figure.name: figure.num_bytes / GIGA for figure in role(config, name).figures}


def test_four_ranks_of_3b(omni: Callable[..., RunConfig]) -> None:
    # 3.397 billion trained weights, 0.638 billion in the frozen tower.
    found = giga(omni("omni_3b", "3B"))
    assert found["weights"] == pytest.approx(2 * (3.397 + 0.638), abs=0.005)
    assert found["master weights"] == pytest.approx(4 * 3.397 / 4, abs=0.005)
    assert found["optimizer moments"] == pytest.approx(8 * 3.397 / 4, abs=0.005)
    assert found["reference"] == pytest.approx(2 * 3.397, abs=0.005)
    assert found["gradients"] == pytest.approx(4 * 3.397 / 4, abs=0.005)
    assert found["gradient bucket"] == 1.0
    assert found["gradient copies and AdamW"] == 0
    # Inputs of 36 layers of 2048 at 16,384 tokens, and 8 more bytes a number at both ends.
    assert found["activations kept"] == pytest.approx(16384 * 2048 * (36 * 2 + 8) / GIGA)
    assert found["logits of a chunk"] == pytest.approx(10 * 1024 * 151936 / GIGA)
    assert found["probabilities of the row"] == 0


def test_a_row_keeps_its_probabilities_while_they_are_small(
    omni: Callable[..., RunConfig],
) -> None:
    assert MAX_KEPT_BYTES == KEPT_BYTES
    # 16 completions of 100 tokens are 0.97 GB of float32, as many of 200 are above 2^30 bytes.
    small = ("learner.tokens_per_microbatch=64", "rollout.group_size=16")
    found = giga(omni("omni_3b", "3B", *small, "rollout.max_completion_tokens=100"))
    assert found["probabilities of the row"] == pytest.approx(4 * 1600 * 151936 / GIGA)
    found = giga(omni("omni_3b", "3B", *small, "rollout.max_completion_tokens=200"))
    assert found["probabilities of the row"] == 0


def test_two_gpus_of_3b_hold_the_state_but_little_more(omni: Callable[..., RunConfig]) -> None:
    config = omni("omni_3b", "3B", "learner.num_ranks=1", "rollout.num_engines=1")
    learner = role(config, "learner rank")
    state = 2 * (3.397 + 0.638) + (4 + 8 + 2) * 3.397
    assert learner.total() / GIGA == pytest.approx(state + 2, abs=0.01)  # and the CUDA context
    assert learner.step / GIGA == pytest.approx(state + 2 + 4 * 3.397, abs=0.01)
    assert 0.9 * GPU.num_bytes < learner.backward < GPU.num_bytes


def test_zero_3_shards_everything_and_steps_by_sub_groups(omni: Callable[..., RunConfig]) -> None:
    found = giga(omni("omni_7b", "7B"))
    # A few small weights stay whole on every rank.
    assert found["weights"] == pytest.approx(2 * (7.616 + 0.640) / 4, rel=0.001)
    assert found["reference"] == pytest.approx(2 * 7.616 / 4, rel=0.001)
    assert found["gradients"] == pytest.approx(4 * 7.616 / 4, rel=0.001)
    assert found["gradient copies and AdamW"] == 4.0  # a sub-group of 1e9 weights, not 1.9e9
    # 1e9 weights that wait for their next use, and the largest one once more.
    assert found["gathered layers"] == pytest.approx(2 * (1 + 0.545), abs=0.001)


def test_what_is_not_there_is_not_counted(omni: Callable[..., RunConfig]) -> None:
    assert "reference" not in giga(omni("omni_7b", "7B", "loss.kl_coef=0"))
    adapters = giga(omni("omni_7b", "7B", "model.lora.rank=16"))
    assert "reference" not in adapters
    # rank (in + out) of q, k, v and o in 28 layers: 16 (2 (3584 + 3584) + 2 (3584 + 512)).
    num_adapters = 28 * 16 * (2 * (3584 + 3584) + 2 * (3584 + 512))
    assert adapters["optimizer moments"] * GIGA == 8 * num_adapters / 4
    whole = giga(omni("omni_7b", "7B", "model.freeze=[]"))
    assert whole["reference"] == pytest.approx(2 * (7.616 + 0.640) / 4, rel=0.001)


def test_engines(omni: Callable[..., RunConfig]) -> None:
    config = omni("omni_7b", "7B")
    size = read_model_size(Path(config.model.path))
    assert kv_bytes_per_token(size, "bfloat16") == 2 * 28 * 512 * 2
    assert kv_bytes_per_token(size, "bfloat16", tensor_parallel=2) == 28 * 512 * 2
    # Four heads of keys on eight GPUs: each has one.
    assert kv_bytes_per_token(size, "bfloat16", tensor_parallel=8) == 2 * 28 * 128 * 2
    alone = role(config, "engine")
    assert alone.peak == pytest.approx(0.85 * GPU.num_bytes, abs=1)
    assert giga(config, "engine")["weights"] == pytest.approx(2 * (7.616 + 0.640), abs=0.005)
    halves = giga(omni("omni_7b", "7B", "rollout.tensor_parallel=2"), "engine")
    assert halves["weights"] == pytest.approx(2 * (7.616 / 2 + 0.640), abs=0.005)


def test_colocated_roles_take_turns(omni: Callable[..., RunConfig]) -> None:
    overrides = ["rollout.colocate=true", "sync.transport=ipc", "rollout.kv_cache_gib=10"]
    config = omni("omni_7b", "7B", *overrides, "rollout.num_engines=4")
    learner, engine = role(config, "learner rank"), role(config, "engine")
    updating, generating = places(config, [learner, engine])
    assert giga(config, "engine")["key-value cache"] == pytest.approx(10 * 2**30 / GIGA)
    # The sleeping engine keeps its graphs and its context.
    assert updating.num_bytes / GIGA == pytest.approx(learner.peak / GIGA + 1.5 + 1, abs=0.005)
    # Master weights and moments wait on the host.
    shards = (2 * (7.616 + 0.640) + 2 * 7.616 + 4 * 7.616) / 4
    assert (generating.num_bytes - engine.peak) / GIGA == pytest.approx(shards + 1 + 2, abs=0.01)
    waiting = {figure.name: figure.num_bytes for figure in (*learner.host, *engine.host)}
    assert waiting["weights, asleep"] / GIGA == pytest.approx(2 * 0.640, abs=0.005)
    assert waiting["optimizer state, waiting"] / GIGA == pytest.approx(12 * 7.616 / 4, abs=0.01)


@pytest.mark.parametrize(("build", "more"), [("2.13.0+cpu", 0), ("2.13.0+cu130", 285_000_000)])
def test_a_process_takes_more_with_the_cuda_build(
    omni: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch, build: str, more: int
) -> None:
    monkeypatch.setattr("launch.memory.estimate.version", {"torch": build}.get)
    driver = role(omni("omni_7b", "7B"), "driver")
    assert driver.host[0].num_bytes == 650_000_000 + more


def test_a_checkpoint_in_the_background_is_copied_first(omni: Callable[..., RunConfig]) -> None:
    def copied(*overrides: str) -> float | None:
        host = role(omni("omni_7b", "7B", *overrides), "learner rank").host
        return {figure.name: figure.num_bytes / GIGA for figure in host}.get("checkpoint, copied")

    assert copied() == pytest.approx(12 * 7.616 / 4, abs=0.01)
    # Below ZeRO-3 the first rank writes all weights.
    assert copied("learner.zero_stage=2") == pytest.approx(12 * 7.616 / 4 + 2 * 7.616, abs=0.01)
    assert copied("checkpoint.background=false") is None


def test_a_judge_in_a_reward_worker(omni: Callable[..., RunConfig], tmp_path: Path) -> None:
    write_omni(tmp_path / "judge", "3B")
    config = omni(
        "omni_7b",
        "7B",
        "rewards.terms.2.options.judge=rewards.judges.local:LocalJudge",
        f"rewards.terms.2.options.judge_options={{model_path: {tmp_path / 'judge'}}}",
        "rewards.terms.2.gpus=1",
    )
    judge = giga(config, "judge reasoning")
    assert judge["weights"] == pytest.approx(2 * (3.397 + 0.638), abs=0.005)
    assert "CUDA graphs" not in judge
    names = [place.name for place in places(config, estimate(config, GPU))]
    assert names == ["GPU, learner rank", "GPU, engine", "GPU, judge reasoning"]


def test_a_judge_that_is_not_there_yet(omni: Callable[..., RunConfig]) -> None:
    config = omni(
        "omni_7b",
        "7B",
        "rewards.terms.2.options.judge=rewards.judges.local:LocalJudge",
        "rewards.terms.2.options.judge_options={model_path: /nowhere}",
    )
    judge = role(config, "judge reasoning")
    assert judge.note.startswith("not estimated: /nowhere")
    assert [place.name for place in places(config, [judge])] == []
    assert "judge reasoning x 1: not estimated" in describe_memory(config, GPU)


def test_an_evaluation_has_no_learner(omni: Callable[..., RunConfig]) -> None:
    found = estimate(omni("omni_7b", "7B"), GPU, learns=False)
    assert [role.name for role in found] == ["engine", "driver"]
    supervised = estimate(omni("omni_sft_prosody", "7B"), GPU)
    assert [role.name for role in supervised] == ["learner rank", "driver"]


def test_what_does_not_fit_is_named_with_what_mends_it(omni: Callable[..., RunConfig]) -> None:
    config = omni("omni_3b", "3B", "model.gradient_checkpointing=false", "learner.num_ranks=1")
    (place,) = misfits(config, GPU, learns=True)
    assert place.name == "GPU, learner rank"
    assert remedies(config, GPU, learns=True) == ["model.gradient_checkpointing=true"]
    text = describe_memory(config, GPU)
    assert "assumed: no GPU is visible here" in text and "DOES NOT FIT" in text
    assert "one of model.gradient_checkpointing=true" in text


def test_a_run_that_cannot_fit_is_warned(tiny_checkpoint: Path) -> None:
    path = f"model.path={tiny_checkpoint}"
    assert list(check_memory(load_config("configs/tiny.yaml", [path]))) == []
    config = load_config("configs/tiny.yaml", [path, "rollout.kv_cache_gib=1e6"])
    (problem,) = check_memory(config)
    assert problem.level == "warning"
    have = find_device(config).num_bytes / GIGA
    assert "host: about 1073" in problem.what and f"of {have:.0f}" in problem.what


def test_the_longest_row(omni: Callable[..., RunConfig]) -> None:
    row, num_rows = longest_row(omni("omni_7b", "7B"))
    prompt = num_audio_tokens(3000) + 100
    assert row == RowShape(16384, 1, prompt, 8, 3000)
    assert row.scored == 16384 - prompt
    assert num_rows == math.ceil(10 * (prompt + 8 * 1024) / 4 / 16384)
    # One group may exceed the budget; clips are no longer than the engine takes.
    overrides = ["learner.tokens_per_microbatch=4096", "rollout.max_model_len=1524"]
    short, _ = longest_row(omni("omni_7b", "7B", *overrides))
    assert short.frames == 4 * 400 and short.tokens == 400 + 100 + 8 * 1024


def test_remedies_are_settings_that_may_be_given(omni: Callable[..., RunConfig]) -> None:
    config = omni("omni_7b", "7B", "learner.tokens_per_microbatch=100")
    for remedy in remedies(config, GPU, learns=True):
        load_config("configs/omni_7b.yaml", [remedy])


class SavesLikeFlex(torch.autograd.Function):
    """Attention that keeps what FlexAttention keeps, which has no backward pass on a CPU."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.empty_like(query)
        statistics = query.new_empty(query.shape[:-1], dtype=torch.float32)
        ctx.save_for_backward(query, key, value, output, statistics)
        return output


def saves_like_flex(
    module: object, query: Tensor, key: Tensor, value: Tensor, mask: object, **_: object
) -> tuple[Tensor, None]:
    return SavesLikeFlex.apply(query, key, value).transpose(1, 2), None  # type: ignore[no-untyped-call]


AttentionInterface.register("saves_like_flex", saves_like_flex)


def saved_bytes(model: torch.nn.Module, run: Callable[[], object]) -> int:
    """Bytes that autograd keeps for a backward pass, weights left out."""
    owned = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()  # holds the graph until all is counted
    del result
    return sum(
        tensor.untyped_storage().nbytes() for key, tensor in kept.items() if key not in owned
    )


@pytest.mark.parametrize("name", ["3B", "7B"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_activations_equal_the_saved_tensors_of_the_layers(
    name: str, dtype: str, tmp_path: Path
) -> None:
    write_omni(tmp_path / name, name)
    size = read_model_size(tmp_path / name)
    thinker: Any = meta_thinker(name)
    language = thinker.to(getattr(torch, dtype)).model
    language.set_attn_implementation("saves_like_flex")
    tokens = 256

    def run() -> object:
        embeddings = torch.empty(
            1, tokens, size.hidden, dtype=getattr(torch, dtype), device="meta", requires_grad=True
        )
        positions = torch.zeros(3, 1, tokens, dtype=torch.long, device="meta")
        return language(
            inputs_embeds=embeddings,
            attention_mask={"full_attention": None},
            position_ids=positions,
            use_cache=False,
        )

    model = ModelConfig(dtype=dtype, attention="flex", gradient_checkpointing=False)
    row = RowShape(tokens, 1, 100, 8, 400)
    assert saved_bytes(language, run) == pytest.approx(kept_bytes(size, model, row), rel=0.005)


def test_activations_of_the_audio_tower(tiny_checkpoint: Path) -> None:
    thinker: Any = load_thinker(tiny_checkpoint, "float32")
    size = read_model_size(tiny_checkpoint)
    frames = 1000
    found = saved_bytes(thinker.audio_tower, lambda: encode(thinker, frames))
    row = RowShape(1000, 1, 350, 8, frames)
    model = ModelConfig(dtype="float32", freeze=[], gradient_checkpointing=False)
    assert audio_bytes(size, model, row) == pytest.approx(found, rel=0.2)
    assert audio_bytes(size, replace(model, freeze=["audio_tower"]), row) == 0


def encode(thinker: Any, frames: int) -> Tensor:
    tower = thinker.audio_tower
    lengths = torch.tensor([frames])
    after, _ = tower._get_feat_extract_output_lengths(lengths)
    features = torch.zeros(128, frames)
    return tower(features, feature_lens=lengths, aftercnn_lens=after).last_hidden_state


def test_the_estimate_says_whether_activations_need_computing_twice(
    omni: Callable[..., RunConfig],
) -> None:
    def last_line(*overrides: str) -> str:
        return describe_memory(omni("omni_3b", "3B", *overrides), GPU).splitlines()[-1]

    assert last_line().startswith("without gradient checkpointing")
    assert last_line().endswith("would not fit")
    short = "learner.tokens_per_microbatch=6144"
    assert "fits: model.gradient_checkpointing=false" in last_line(short)
    off = last_line(short, "model.gradient_checkpointing=false")
    assert not off.startswith("without")
