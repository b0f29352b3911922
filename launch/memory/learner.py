"""Memory of a learner rank: what DeepSpeed holds, what a row of tokens needs, what a step adds.

Formulas follow the code that runs: `trainer/learner.py`, `trainer/logprobs.py`, `trainer/head.py`,
the Qwen2 layers of transformers 5.19 and the ZeRO optimizers of DeepSpeed 0.19.8. They were checked
against counted allocations (tests/unit/launch/test_memory.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from configs.schema import ModelConfig, RunConfig
from data.features import FRAMES_PER_TOKEN, MIN_FRAMES, num_audio_tokens
from launch.memory.figures import UPDATE, Figure
from launch.memory.model_size import AUDIO_TOWER, DTYPE_BYTES, ModelSize

FRAMES_PER_S = 100
"""Mel frames of a second of sound."""

TEXT_TOKENS = 100
"""Guess of the tokens of a prompt besides its clip, and of a reference answer."""

BUCKET_ELEMENTS = 500_000_000
"""DeepSpeed's `reduce_bucket_size`: a buffer for gradients, whatever the size of the model."""

MAX_LIVE_ELEMENTS = 1_000_000_000
"""DeepSpeed's `stage3_max_live_parameters`: gathered weights that wait for their next use."""

SUB_GROUP_ELEMENTS = 1_000_000_000
"""DeepSpeed's `sub_group_size`: weights of a rank that ZeRO-3 steps at a time."""

PERSISTENT_ELEMENTS = 100_000
"""DeepSpeed's `stage3_param_persistence_threshold`: smaller weights stay whole on every rank."""

ADAM_TEMPORARY_BYTES = {"cpu": 4, "cuda": 0}
"""What `torch.optim.AdamW` allocates in a step, a weight: the root of the second moment in float32,
nothing where it is fused."""

LOGIT_BYTES = 8
"""Of a logit of a chunk: two float32 numbers; its gradient in the format of the model comes on top,
where that is another."""

KEPT_LOGIT_BYTES = 4
"""Of a logit of a row whose probabilities wait for their backward pass; the reference policy scores
in between."""

MAX_KEPT_BYTES = 2**30
"""Most bytes of probabilities that a row keeps: `KEPT_BYTES` of `trainer.head`."""

DENSE_MASK_BYTES = 9
"""Of a pair of tokens while `create_block_mask` looks at all pairs: a truth value and a sum in
int64, found as the growth of a process on a CPU."""

CONTEXT_BYTES = 2_000_000_000
"""Guess: CUDA context and kernels, communication buffers, and what the allocator cannot use."""


@dataclass(frozen=True, slots=True)
class RowShape:
    """One packed row of the learner."""

    tokens: int
    """T, tokens of the row."""
    groups: int
    """Prompts in the row."""
    prompt: int
    """L, tokens of each prompt."""
    completions: int
    """G, completions of each prompt."""
    frames: int
    """Mel frames of each prompt's clip."""

    @property
    def scored(self) -> int:
        """N, tokens of all completions."""
        return self.tokens - self.groups * self.prompt


def longest_row(config: RunConfig) -> tuple[RowShape, int]:
    """Return the longest row that a run can meet, and the rows of a rank in an update like it.

    Clips and completions have their greatest length, and the row the whole token budget, or more if
    one group needs it, as in the trial step. The text of a prompt is a guess.
    """
    rollout = config.rollout
    longest_s = config.data.max_duration_s * config.rollout.counterfactual.max_stretch
    frames = int(longest_s * FRAMES_PER_S)
    completions, length = 1, TEXT_TOKENS
    if config.loss.kind == "policy":
        completions, length = rollout.group_size, rollout.max_completion_tokens
        room = rollout.max_model_len - length - TEXT_TOKENS
        frames = max(MIN_FRAMES, min(frames, FRAMES_PER_TOKEN * room))
    prompt = num_audio_tokens(frames) + TEXT_TOKENS
    group = prompt + completions * length
    tokens = max(group, config.learner.tokens_per_microbatch)
    row = RowShape(tokens, tokens // group, prompt, completions, frames)
    of_update = math.ceil(config.train.prompts_per_step / config.loss.minibatches) * group
    return row, math.ceil(of_update / config.learner.num_ranks / tokens)


def learner_figures(
    config: RunConfig, size: ModelSize, row: RowShape, num_rows: int
) -> Iterator[Figure]:
    """Yield the memory of one learner rank on its device.

    Args:
        num_rows: Rows of the rank in one update.
    """
    yield from _held(config, size)
    yield from _gradients(config, size, num_rows)
    yield from _forward(config, size, row)
    if config.device == "cuda":
        yield Figure("CUDA context, NCCL, fragments", CONTEXT_BYTES, "guess")


def has_reference(config: RunConfig) -> bool:
    """Return whether a frozen copy of the start policy is held; see `trainer.learner`."""
    return config.loss.kind == "policy" and config.loss.kl_coef > 0 and not config.model.lora.rank


def _held(config: RunConfig, size: ModelSize) -> Iterator[Figure]:
    """What a rank holds from start to end: weights, optimizer state, reference."""
    model, learner = config.model, config.learner
    width = DTYPE_BYTES[model.dtype]
    trained = size.num_trained(model)
    share = math.ceil(trained / learner.num_ranks)
    shapes = [*size.shapes.values()]
    if model.lora.rank:
        shapes += size.trained_shapes(model)
    yield Figure("weights", width * _resident(config, shapes), "exact")
    # Colocated, they wait in host memory while the engine works.
    phases = UPDATE if waits_on_host(config) else ("always",)
    yield Figure("master weights", master_bytes(config, trained), "exact", phases)
    yield Figure("optimizer moments", 8 * share, "exact", phases)
    if has_reference(config):
        shares_tower = AUDIO_TOWER in model.freeze
        kept = {
            n: s for n, s in size.shapes.items() if not (shares_tower and n.startswith("audio"))
        }
        yield Figure("reference", width * _resident(config, list(kept.values())), "exact")


def master_bytes(config: RunConfig, trained: int) -> int:
    """Return the bytes of a rank's float32 master weights.

    Under ZeRO-3 the shards of a float32 model are the master weights themselves.
    """
    if config.learner.zero_stage == 3 and config.model.dtype == "float32":
        return 0
    return 4 * math.ceil(trained / config.learner.num_ranks)


def copied_bytes(config: RunConfig, trained: int) -> int:
    """Return the bytes of the first rank's part of a checkpoint, of which a copy is kept.

    Master weights, moments, and below ZeRO-3 the weights, which the other ranks need not write.
    """
    share = math.ceil(trained / config.learner.num_ranks)
    whole = config.learner.zero_stage < 3
    return 12 * share + (trained * DTYPE_BYTES[config.model.dtype] if whole else 0)


def waits_on_host(config: RunConfig) -> bool:
    """Return whether master weights and moments leave the GPU between updates."""
    return config.rollout.colocate and config.loss.kind == "policy"


def _resident(config: RunConfig, shapes: list[tuple[int, ...]]) -> int:
    """Elements of weights that a rank holds between passes."""
    sizes = [math.prod(shape) for shape in shapes]
    if config.learner.zero_stage < 3:
        return sum(sizes)
    ranks = config.learner.num_ranks
    small = sum(n for n in sizes if n <= PERSISTENT_ELEMENTS)
    return sum(math.ceil(n / ranks) for n in sizes) + (small if ranks > 1 else 0)


def _gradients(config: RunConfig, size: ModelSize, num_rows: int) -> Iterator[Figure]:
    """Gradients from the first backward pass to the step, and what the step adds."""
    stage = config.learner.zero_stage
    width = DTYPE_BYTES[config.model.dtype]
    shapes = size.trained_shapes(config.model)
    trained = sum(map(math.prod, shapes))
    share = math.ceil(trained / config.learner.num_ranks)
    summed = 4 if stage > 1 else width
    adam = ADAM_TEMPORARY_BYTES[config.device]
    kept, second, added = summed * share, 0, adam * share
    if stage == 3:
        # Sub-group by sub-group: a flat float32 copy, and beside it what AdamW needs.
        added = (4 + adam) * min(share, SUB_GROUP_ELEMENTS)
    elif summed == width:
        # Another row's gradients are added to the first one's. The step makes a flat copy and then
        # a float32 one, both beside the original.
        second = width * share if num_rows > 1 else 0
        added = max(4 + (width if width < 4 else 0), 4 + adam) * share
    if stage == 1:
        kept = width * trained
    if stage == 3:
        yield Figure("gradients", kept, "exact")
    else:
        yield Figure("gradients", kept, "formula", ("head", "backward", "step"))
    yield Figure("gradients of another row", second, "formula", ("backward",))
    yield _bucket(config, trained)
    largest = max(map(math.prod, shapes))
    yield Figure(
        "gradient of the largest weight", 2 * width * largest, "formula", ("head", "backward")
    )
    yield Figure("gradient copies and AdamW", added, "formula", ("step",))
    if stage == 3:
        live = min(MAX_LIVE_ELEMENTS, size.count()) + max(map(math.prod, size.shapes.values()))
        yield Figure("gathered layers", width * live, "guess", ("head", "backward"))


def _bucket(config: RunConfig, trained: int) -> Figure:
    """The buffer in which gradients are reduced; ZeRO-3 never gives it back."""
    elements = BUCKET_ELEMENTS
    if config.device == "cpu":
        elements = min(elements, trained)  # memory that is never touched takes no room
    num_bytes = DTYPE_BYTES[config.model.dtype] * elements
    if config.learner.zero_stage == 3:
        return Figure("gradient bucket", num_bytes, "exact")
    return Figure("gradient bucket", num_bytes, "exact", ("backward",))


def _forward(config: RunConfig, size: ModelSize, row: RowShape) -> Iterator[Figure]:
    """What a row's forward and backward passes need."""
    model = config.model
    both = ("head", "backward")
    yield Figure("activations kept", kept_bytes(size, model, row), "formula", both)
    yield Figure("audio tower's activations", audio_bytes(size, model, row), "formula", both)
    yield Figure("one layer, backward", backward_bytes(size, model, row), "formula", ("backward",))
    yield Figure("probabilities of the row", kept_logits(size, row), "formula", ("head",))
    logits = chunk_bytes(size, model, row)
    if model.float32_head and model.dtype != "float32":
        logits += 2 * 4 * size.vocab * size.hidden  # the weight and its gradient
    yield Figure("logits of a chunk", logits, "formula", ("head",))
    yield Figure("making the attention mask", mask_bytes(model, row), "formula", ("mask",))


def chunk_bytes(size: ModelSize, model: ModelConfig, row: RowShape) -> int:
    """Return the bytes of the logits that are worked on at a time."""
    narrow = model.dtype != "float32" and not model.float32_head
    width = LOGIT_BYTES + (DTYPE_BYTES[model.dtype] if narrow else 0)
    return width * min(row.scored, model.logits_chunk_tokens) * size.vocab


def kept_logits(size: ModelSize, row: RowShape) -> int:
    """Return the bytes of the probabilities that a row keeps for its backward pass."""
    num_bytes = KEPT_LOGIT_BYTES * row.scored * size.vocab
    return num_bytes if num_bytes <= MAX_KEPT_BYTES else 0


def kept_bytes(size: ModelSize, model: ModelConfig, row: RowShape) -> int:
    """Return the bytes of the language model's activations that wait for the backward pass.

    Without checkpointing all layers keep their own; with it they keep their inputs. Embeddings, the
    last norm, and the hidden states before and after it come on top.
    """
    width = DTYPE_BYTES[model.dtype]
    ends = row.tokens * (4 + 2 * width) * size.hidden
    if model.gradient_checkpointing:
        return size.layers * width * size.hidden * row.tokens + ends
    return size.layers * _layer_bytes(size, model, row) + ends


def backward_bytes(size: ModelSize, model: ModelConfig, row: RowShape) -> int:
    """Return the bytes that the backward pass through one layer adds.

    Three gradients inside the feed-forward block, one of which replaces an activation; with
    checkpointing also the layer's activations, which are computed again.
    """
    width = DTYPE_BYTES[model.dtype]
    again = _layer_bytes(size, model, row) if model.gradient_checkpointing else 0
    return again + 2 * width * size.intermediate * row.tokens


def _layer_bytes(size: ModelSize, model: ModelConfig, row: RowShape) -> int:
    linear = _layer_tokens_bytes(size, DTYPE_BYTES[model.dtype]) * row.tokens
    return linear + _attention_bytes(size, model, row)


def _layer_tokens_bytes(size: ModelSize, width: int) -> int:
    """Bytes of a token that a layer keeps for its backward pass, attention left out.

    Two norms keep their input in float32, its scale and twice their output; the feed-forward block
    keeps both projections, the activated one and the product.
    """
    norms = 2 * (4 * size.hidden + 2 * width * size.hidden + 4)
    return norms + 4 * width * size.intermediate


def _attention_bytes(size: ModelSize, model: ModelConfig, row: RowShape) -> int:
    """Bytes that one layer's attention keeps for a row."""
    width = DTYPE_BYTES[model.dtype]
    statistics = 4 * size.num_heads * row.tokens
    if model.attention == "flex":
        return statistics + width * row.tokens * 2 * (size.query_dim + size.kv_dim)
    # Dense: queries, outputs and their row, and the queries of completions side by side. Keys and
    # values are repeated for all heads in the prompt, and lie beside each completion once more.
    prompts = row.groups * row.prompt
    queries = 3 * row.tokens + row.scored + 2 * prompts
    keys = 2 * (prompts * row.completions + row.scored)
    return statistics + width * (size.query_dim * queries + size.kv_dim * keys)


def audio_bytes(size: ModelSize, model: ModelConfig, row: RowShape) -> int:
    """Return the bytes of activations of the audio tower that last until the backward pass.

    A frozen tower keeps none: what it needs for itself is gone before the language model starts.
    """
    if AUDIO_TOWER in model.freeze or model.lora.rank:
        return 0
    width = DTYPE_BYTES[model.dtype]
    steps = row.groups * row.frames // 2
    hidden = size.audio_hidden
    one = steps * (width * (8 * hidden + 2 * size.audio_intermediate) + 4 * size.num_audio_heads)
    convolutions = steps * width * 6 * hidden
    if model.gradient_checkpointing:
        return size.audio_layers * width * hidden * steps + one + convolutions
    return size.audio_layers * one + convolutions


def mask_bytes(model: ModelConfig, row: RowShape) -> int:
    """Return the bytes of a row's attention mask while it is made.

    A block mask is found by way of a dense [T, T] table of truth values and block counts; a dense
    mask is [C, L + C] numbers a group.
    """
    if model.attention == "flex":
        return DENSE_MASK_BYTES * row.tokens * row.tokens
    longest = row.scored // (row.groups * row.completions)
    return row.groups * DTYPE_BYTES[model.dtype] * longest * (row.prompt + longest)
