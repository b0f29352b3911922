"""Memory of a vLLM engine, of the policy or of a judge: weights, cache and what a batch needs.

Read in vLLM 0.32: `vllm/v1/kv_cache_interface.py` for the cache, `vllm/v1/worker/gpu_worker.py` for
what is left of `gpu_memory_frac` after weights and a trial batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from launch.memory.figures import Figure, total
from launch.memory.model_size import AUDIO_TOWER, DTYPE_BYTES, ModelSize

BATCH_TOKENS = 16_384
"""vLLM's `max_num_batched_tokens` on a GPU with 70 GiB or more, tokens of its trial batch."""

GRAPH_BYTES = 1_500_000_000
"""Guess of what captured CUDA graphs take."""

CONTEXT_BYTES = 1_000_000_000
"""Guess of CUDA context and libraries of an engine."""

BLOCK_TOKENS = 16
"""Tokens of a block of the cache on a GPU; on a CPU blocks are larger and fewer."""

GIB = 2**30


@dataclass(frozen=True, slots=True)
class EngineShape:
    """What one engine is asked to hold."""

    dtype: str
    device: str
    tensor_parallel: int
    max_model_len: int
    max_num_seqs: int
    gpu_memory_frac: float
    kv_cache_gib: float
    fills_gpu: bool
    """The cache takes what `gpu_memory_frac` leaves; else it has `kv_cache_gib`."""
    eager: bool
    """No CUDA graphs."""


def kv_bytes_per_token(size: ModelSize, dtype: str, tensor_parallel: int = 1) -> int:
    """Return the bytes of keys and values of one token on one GPU.

    With more GPUs than key-value heads, heads are stored more than once.
    """
    heads = max(1, size.num_kv_heads // tensor_parallel)
    head_dim = size.kv_dim // size.num_kv_heads
    return 2 * size.layers * heads * head_dim * DTYPE_BYTES[dtype]


def engine_figures(engine: EngineShape, size: ModelSize, gpu_bytes: int) -> Iterator[Figure]:
    """Yield the memory of an engine on one of its GPUs, or on the host.

    Args:
        gpu_bytes: Size of a GPU; not read for a cache of fixed size.
    """
    fixed = [*_model(engine, size)]
    yield from fixed
    if engine.fills_gpu:
        # The cache gets what is left; the context is outside of vLLM's own count of its share.
        left = int(engine.gpu_memory_frac * gpu_bytes) - total(fixed)
        yield Figure("key-value cache", max(0, left), "formula")
    else:
        yield Figure("key-value cache", int(engine.kv_cache_gib * GIB), "exact")


def _model(engine: EngineShape, size: ModelSize) -> Iterator[Figure]:
    width = DTYPE_BYTES[engine.dtype]
    ranks = engine.tensor_parallel
    # The audio tower is whole on every GPU, and so are small weights of the language model.
    tower = size.count(AUDIO_TOWER)
    weights = tower + (size.count() - tower) // ranks
    yield Figure("weights", width * weights, "exact" if ranks == 1 else "formula")
    if engine.device == "cpu":
        return
    # A trial batch: both projections of a feed-forward block and a few hidden states a token, and
    # three float32 copies of the logits of all sequences.
    tokens = max(BATCH_TOKENS, engine.max_model_len)
    batch = width * tokens * (3 * size.intermediate // ranks + 4 * size.hidden)
    logits = 3 * 4 * engine.max_num_seqs * size.vocab
    yield Figure("trial batch", batch + logits, "guess")
    if not engine.eager:
        yield Figure("CUDA graphs", GRAPH_BYTES, "guess")
    yield Figure("CUDA context", CONTEXT_BYTES, "guess")


def cache_note(engine: EngineShape, size: ModelSize, cache_bytes: int) -> str:
    """Return how much text the cache holds, in tokens and in the longest sequences."""
    tokens = cache_bytes // kv_bytes_per_token(size, engine.dtype, engine.tensor_parallel)
    sequences = tokens // engine.max_model_len
    return f"the cache holds {tokens:,} tokens, {sequences} sequences of {engine.max_model_len}"


def asleep_figures(engine: EngineShape) -> Iterator[Figure]:
    """Yield what a sleeping engine keeps on its GPU; weights that it keeps wait on the host."""
    if not engine.eager:
        yield Figure("CUDA graphs of the sleeping engine", GRAPH_BYTES, "guess")
    yield Figure("CUDA context of the sleeping engine", CONTEXT_BYTES, "guess")
