"""One vLLM engine: prompts with precomputed features in, groups of completions out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from configs.imports import without_collections
from configs.schema import ModelConfig, RolloutConfig, RunConfig
from configs.vllm_env import vllm_environment
from data.records import Completion, Prompt

if TYPE_CHECKING:  # heavy, and the records here are read by processes without a model
    from data.prompts import PromptBuilder

GIB = 1 << 30

CPU_PREFILL_TOKENS = 16384
"""Tokens of prompts that an engine on a CPU reads at a time; more wait for the next step."""

SIGN_S = 5.0
"""How often an engine gives a sign while it decodes and nothing ends."""

COLOCATED_FREE_FRAC = 0.05
"""Share of a GPU that must be free when an engine starts beside a learner."""


class RolloutError(RuntimeError):
    """The engines gave nothing that the learner could train on."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What every engine of a run shares."""

    model: ModelConfig
    """The checkpoint it starts from, its number format, and what of it never changes."""
    rollout: RolloutConfig
    transport: str
    """Weight transport: `host`, `nccl` or `ipc`."""
    device: str
    """`cpu` or `cuda`."""
    seed: int
    end_token_id: int
    """The one token that ends a completion."""
    forbidden_token_ids: tuple[int, ...]
    """Tokens a completion may not contain: the modality placeholders would break the learner."""
    num_calls: int = 1
    """Calls that it works on at a time; with more than one, weights come while it samples."""
    num_clips: int = 1
    """Most clips of a prompt."""

    @classmethod
    def of(cls, config: RunConfig, builder: PromptBuilder, num_clips: int = 1) -> EngineSpec:
        """Return what every engine of a configured run shares."""
        return cls(
            model=config.model,
            rollout=config.rollout,
            transport=config.sync.transport,
            device=config.device,
            seed=config.seed,
            end_token_id=builder.end_token_id,
            forbidden_token_ids=tuple(builder.forbidden_token_ids),
            num_calls=config.async_.max_staleness + 2 if config.async_.in_flight else 1,
            num_clips=num_clips,
        )


class SampleRequest(NamedTuple):
    """Completions of one prompt that one engine samples."""

    prompt: Prompt
    num_completions: int
    """n"""
    seed: int
    """Of the first completion; the others have the next numbers. With the same weights a seed gives
    the same tokens, whichever engine samples them and whatever else it does meanwhile."""
    min_tokens: int = 0
    """No completion ends before it has that many tokens."""


class Refusal(NamedTuple):
    """In the place of completions: a prompt that the engine cannot sample, without harm to it."""

    reason: str


def engine_environment(spec: EngineSpec) -> dict[str, str]:
    """Return the environment variables an engine's process needs before vLLM is imported."""
    return vllm_environment(device=spec.device, cpu_threads=spec.rollout.cpu_threads)


def memory_options(spec: EngineSpec) -> dict[str, Any]:
    """Return vLLM's arguments for the memory of an engine.

    A learner on the same GPU takes and gives memory while the engine starts, so there the cache has
    a size of its own instead of what a measurement finds free; and a CPU has no such measurement.
    """
    rollout = spec.rollout
    if spec.device == "cuda" and not rollout.colocate:
        return {"gpu_memory_utilization": rollout.gpu_memory_frac}
    options: dict[str, Any] = {"kv_cache_memory_bytes": int(rollout.kv_cache_gib * GIB)}
    if rollout.colocate:
        options["enable_sleep_mode"] = True
        # vLLM asks at its start for this share to be free, whatever the size of its cache.
        options["gpu_memory_utilization"] = COLOCATED_FREE_FRAC
        if sleep_level(spec) == 2:
            options["sleep_preserve_parameter_names"] = [f"*{name}.*" for name in spec.model.freeze]
    return options


def prefill_options(spec: EngineSpec) -> dict[str, Any]:
    """Return vLLM's arguments for the reading of prompts.

    On a CPU a prompt is read in one piece: of a prompt in pieces vLLM takes back what it drew after
    each but the last, and random generators of a CPU cannot be turned back.
    """
    if spec.device != "cpu":
        return {}
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(CPU_PREFILL_TOKENS, spec.rollout.max_model_len),
    }


def sleep_level(spec: EngineSpec) -> int:
    """Return how deep a colocated engine sleeps.

    Returns:
        2 if every sync replaces all weights but those of the audio tower: they are dropped, and the
        tower alone waits in host memory. 1 if the sync leaves out more (adapters, other frozen
        parts): all weights wait in host memory.
    """
    sends_the_rest = not spec.model.lora.rank and set(spec.model.freeze) <= {"audio_tower"}
    return 2 if sends_the_rest else 1


class RolloutEngine:
    """Samples completions and takes new weights; `rollout.pool` runs it as a Ray actor.

    Threads may call it at the same time. Their requests are decoded together, and weights come
    between two decoding steps; till they are in service, nothing is decoded. What has been sampled
    of a completion by then stays, its keys and values are computed anew.
    """

    def __init__(self, spec: EngineSpec) -> None:
        os.environ.update(engine_environment(spec))
        with without_collections():
            from vllm import LLM, SamplingParams
            from vllm.config.weight_transfer import WeightTransferConfig
            from vllm.sampling_params import RequestOutputKind

            from data.prompts import FORBIDDEN_LOGIT
            from rollout.host_receiver import register_host_receiver

        self._spec = spec
        self._version = 0
        self._in_turn, self._next = threading.Lock(), threading.Lock()
        self._serving = threading.Event()
        self._serving.set()
        self._num_asked = 0
        self._ended: dict[str, Any] = {}
        """Request -> its output, till the call that it belongs to takes it."""
        if spec.transport == "host":
            register_host_receiver()
        rollout = spec.rollout
        self._llm = LLM(
            model=spec.model.path,
            dtype=spec.model.dtype,
            seed=spec.seed,
            tensor_parallel_size=rollout.tensor_parallel,
            # Inside a placement group vLLM would else start actors of its own.
            distributed_executor_backend="mp" if rollout.tensor_parallel > 1 else None,
            hf_overrides={"head_dtype": "float32"} if spec.model.float32_head else None,
            enforce_eager=rollout.enforce_eager or spec.device == "cpu",
            max_model_len=rollout.max_model_len,
            max_num_seqs=rollout.max_num_seqs,
            enable_prefix_caching=True,
            enable_mm_embeds=True,
            mm_processor_cache_gb=0,
            limit_mm_per_prompt={"audio": spec.num_clips, "image": 0, "video": 0},
            generation_config="vllm",
            logprobs_mode="processed_logprobs",
            trust_remote_code=False,
            weight_transfer_config=WeightTransferConfig(backend=spec.transport),
            **memory_options(spec),
            **prefill_options(spec),
        )
        self._tokenizer = self._llm.get_tokenizer()
        self._base_params = SamplingParams(
            temperature=rollout.temperature,
            top_p=rollout.top_p,
            top_k=rollout.top_k,
            max_tokens=rollout.max_completion_tokens,
            logprobs=0,
            stop_token_ids=[spec.end_token_id],
            ignore_eos=True,
            logit_bias=dict.fromkeys(spec.forbidden_token_ids, FORBIDDEN_LOGIT),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def ping(self) -> int:
        """Return the policy version; an answer means that the engine is up."""
        return self._version

    def generate(
        self, requests: Sequence[SampleRequest], *, greedy: bool
    ) -> Iterator[list[tuple[int, tuple[Completion, ...] | Refusal]]]:
        """Sample completions and yield those of each request as soon as the last of them ends.

        Args:
            requests: with the features of their prompts as arrays.

        Yields:
            Lists of (position in `requests`, its completions or why there are none): the requests
            that ended with the same decoding step. Every request occurs once. Every `SIGN_S`
            seconds there is at least an empty list, as long as decoding goes on.
        """
        refused, open_requests = self._add(requests, greedy)
        yield refused
        sign = time.monotonic()
        while open_requests:
            finished = self._step(open_requests.keys())
            if finished or time.monotonic() - sign > SIGN_S:
                ended = [(*open_requests.pop(output.request_id), output) for output in finished]
                yield [
                    (i, self._completions(requests[i].prompt, output, version))
                    for i, version, output in ended
                ]
                sign = time.monotonic()

    def _add(
        self, requests: Sequence[SampleRequest], greedy: bool
    ) -> tuple[list[tuple[int, Refusal]], dict[str, tuple[int, int]]]:
        """Return what is refused, and of each other request its position and policy version."""
        refused: list[tuple[int, Refusal]] = []
        added: dict[str, tuple[int, int]] = {}
        with self._at_rest():
            for position, request in enumerate(requests):
                params = self._base_params.clone()
                params.n = request.num_completions
                # vLLM adds 0 to n - 1 for the completions of a request.
                params.seed = request.seed
                params.min_tokens = request.min_tokens
                if greedy:
                    params.temperature, params.top_p, params.top_k = 0.0, 1.0, 0
                name = str(self._num_asked)
                self._num_asked += 1
                try:
                    self._llm.llm_engine.add_request(name, engine_prompt(request.prompt), params)
                    added[name] = position, self._version
                except (ValueError, TypeError, LookupError) as error:
                    refused.append((position, Refusal(f"{type(error).__name__}: {error}")))
        return refused, added

    def _step(self, names: Set[str]) -> list[Any]:
        """Decode a step for all calls, if weights are in service; return what has ended of one."""
        # Weights that are long on their way are no reason to give no sign.
        if not self._serving.wait(SIGN_S):
            return []
        with self._at_rest():
            if self._serving.is_set() and not names & self._ended.keys():
                for output in self._llm.llm_engine.step():
                    if output.finished:
                        self._ended[output.request_id] = output
            return [self._ended.pop(name) for name in names & self._ended.keys()]

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        """Have the engine for oneself, between two decoding steps; who asks first comes first."""
        with self._next:
            self._in_turn.acquire()
        try:
            yield
        finally:
            self._in_turn.release()

    def _completions(
        self, prompt: Prompt, output: Any, version: int
    ) -> tuple[Completion, ...] | Refusal:
        if not np.array_equal(output.prompt_token_ids, prompt.token_ids):
            return Refusal(
                f"example {prompt.example.id!r}: the engine sees {len(output.prompt_token_ids)} "
                f"prompt tokens, the learner {len(prompt.token_ids)}, or others; the checkpoint's "
                "processor and vLLM disagree about this clip"
            )
        outputs = sorted(output.outputs, key=lambda item: item.index)
        end = [self._spec.end_token_id]
        visible = [x.token_ids[:-1] if x.token_ids[-1:] == end else x.token_ids for x in outputs]
        completions = []
        for item, text in zip(outputs, self._tokenizer.batch_decode(visible), strict=True):
            places = zip(item.logprobs, item.token_ids, strict=True)
            logprobs = [logprob_of[token].logprob for logprob_of, token in places]
            completions.append(
                Completion(
                    token_ids=np.array(item.token_ids, np.int64),
                    rollout_logprobs=np.array(logprobs, np.float32),
                    text=text,
                    finish_reason=item.finish_reason,
                    policy_version=version,
                    allow_truncated=self._spec.rollout.allow_truncated,
                )
            )
        return tuple(completions)

    def init_weight_transfer(self, init_info: dict[str, Any]) -> None:
        """Open the receiving side of the weight transport."""
        self._llm.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        """Prepare for new weights; a colocated engine gets its memory for weights back."""
        self._serving.clear()
        with self._at_rest():
            if self._spec.rollout.colocate:
                self._llm.wake_up(tags=["weights"])
            self._llm.start_weight_update()

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one bucket of weights."""
        with self._at_rest():
            self._llm.update_weights({"update_info": update_info})

    def finish_weight_update(self) -> None:
        """Put the new weights in service."""
        with self._at_rest():
            self._llm.finish_weight_update()

    def activate(self, version: int) -> None:
        """Serve the weights just received as policy version `version`.

        Everything computed with the old weights is dropped: key-value prefixes, those of what is
        being sampled too, processed clips and, above all, the audio encoder's outputs, which vLLM
        does not drop by itself.
        """
        with self._at_rest():
            if self._spec.rollout.colocate:
                self._llm.wake_up(tags=["kv_cache"])
            self._llm.reset_prefix_cache(reset_running_requests=True)
            self._llm.llm_engine.reset_mm_cache()
            self._llm.llm_engine.reset_encoder_cache()
            self._version = version
            self._serving.set()

    def sleep(self) -> None:
        """Free the GPU for the learner; see `sleep_level` for what waits in host memory."""
        self._llm.sleep(level=sleep_level(self._spec))


def engine_prompt(prompt: Prompt) -> dict[str, Any]:
    """Features go in as embedding inputs: vLLM then runs no feature extraction of its own."""
    import torch

    clips = [torch.from_numpy(clip) for clip in prompt.clips if clip.shape[1]]
    if not clips:
        return {"prompt": prompt.text}
    lengths = [clip.shape[1] for clip in clips]
    return {
        "prompt": prompt.text,
        "multi_modal_data": {
            "audio": {
                "input_audio_features": torch.cat(clips, dim=1) if len(clips) > 1 else clips[0],
                "audio_feature_lengths": torch.tensor(lengths),
                "feature_attention_mask": [torch.ones(n, dtype=torch.long) for n in lengths],
            }
        },
    }
