"""One vLLM engine: prompts with precomputed features in, groups of completions out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.schema import RolloutConfig
from configs.vllm_env import vllm_environment
from data.records import Completion, Prompt


class RolloutError(RuntimeError):
    """An engine answered something the learner could not train on."""


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What every engine of a run shares."""

    model_path: str
    """Folder of the checkpoint it starts from."""
    rollout: RolloutConfig
    transport: str
    """Weight transport: `host`, `nccl` or `ipc`."""
    dtype: str
    """`float32` or `bfloat16`."""
    device: str
    """`cpu` or `cuda`."""
    seed: int
    end_token_id: int
    """The one token that ends a completion."""
    forbidden_token_ids: tuple[int, ...]
    """Tokens a completion may not contain: the modality placeholders would break the learner."""
    forbidden_logit: float
    """Added to their logits; the learner adds the same."""


def engine_environment(spec: EngineSpec) -> dict[str, str]:
    """Return the environment variables an engine's process needs before vLLM is imported."""
    variables = vllm_environment(device=spec.device, cpu_threads=spec.rollout.cpu_threads)
    if spec.device == "cpu":
        variables["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, round(spec.rollout.kv_cache_gib)))
    return variables


class RolloutEngine:
    """Samples completions and takes new weights; `rollout.pool` runs it as a Ray actor.

    Args:
        spec: shared settings.
        index: number of this engine; part of its sampling seed.
    """

    def __init__(self, spec: EngineSpec, index: int) -> None:
        os.environ.update(engine_environment(spec))
        from vllm import LLM, SamplingParams
        from vllm.config.weight_transfer import WeightTransferConfig
        from vllm.sampling_params import RequestOutputKind

        from rollout.weight_sync import register_host_receiver

        self._spec = spec
        self._index = index
        self._version = 0
        if spec.transport == "host":
            register_host_receiver()
        rollout = spec.rollout
        self._llm = LLM(
            model=spec.model_path,
            dtype=spec.dtype,
            seed=spec.seed,
            tensor_parallel_size=rollout.tensor_parallel,
            gpu_memory_utilization=rollout.gpu_memory_frac,
            enforce_eager=rollout.enforce_eager or spec.device == "cpu",
            max_model_len=rollout.max_model_len,
            max_num_seqs=rollout.max_num_seqs,
            enable_prefix_caching=True,
            enable_sleep_mode=rollout.colocate,
            enable_mm_embeds=True,
            mm_processor_cache_gb=0,
            limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
            generation_config="vllm",
            logprobs_mode="processed_logprobs",
            trust_remote_code=False,
            weight_transfer_config=WeightTransferConfig(backend=spec.transport),
        )
        self._tokenizer = self._llm.get_tokenizer()
        self._base_params = SamplingParams(
            temperature=rollout.temperature,
            max_tokens=rollout.max_completion_tokens,
            logprobs=0,
            stop_token_ids=[spec.end_token_id],
            ignore_eos=True,
            logit_bias=dict.fromkeys(spec.forbidden_token_ids, spec.forbidden_logit),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def ping(self) -> int:
        """Return the policy version; an answer means that the engine is up."""
        return self._version

    def generate(
        self, prompts: Sequence[Prompt], *, num_completions: int, greedy: bool, seed: int
    ) -> Iterator[list[tuple[int, tuple[Completion, ...]]]]:
        """Sample completions and yield those of each prompt as soon as the last of them ends.

        Args:
            prompts: with their features as arrays.
            num_completions: G; 1 when greedy.
            greedy: take the likeliest token instead of sampling.
            seed: of this call; the same call on the same weights gives the same tokens.

        Yields:
            Lists of (position in `prompts`, [G] completions): the groups that ended with the same
            decoding step. Every prompt occurs once.

        Raises:
            RolloutError: the engine expanded a prompt otherwise than the learner will.
        """
        import torch

        engine = self._llm.llm_engine
        torch.manual_seed(np.random.SeedSequence([seed, self._index]).generate_state(1)[0])
        params = self._base_params.clone()
        params.n = num_completions
        params.temperature = 0.0 if greedy else params.temperature
        for position, prompt in enumerate(prompts):
            engine.add_request(str(position), _engine_prompt(prompt), params)
        while engine.has_unfinished_requests():
            finished = [output for output in engine.step() if output.finished]
            if finished:
                positions = [int(output.request_id) for output in finished]
                yield [
                    (i, self._completions(prompts[i], o))
                    for i, o in zip(positions, finished, strict=True)
                ]

    def _completions(self, prompt: Prompt, output: Any) -> tuple[Completion, ...]:
        if not np.array_equal(output.prompt_token_ids, prompt.token_ids):
            raise RolloutError(
                f"example {prompt.example.id!r}: the engine sees {len(output.prompt_token_ids)} "
                f"prompt tokens, the learner {len(prompt.token_ids)}, or others; the checkpoint's "
                "processor and vLLM disagree about this clip"
            )
        outputs = sorted(output.outputs, key=lambda item: item.index)
        texts = self._tokenizer.batch_decode([self._visible(item.token_ids) for item in outputs])
        return tuple(
            Completion(
                token_ids=np.array(item.token_ids, np.int64),
                rollout_logprobs=_sampled_logprobs(item),
                text=text,
                finish_reason=item.finish_reason,
                policy_version=self._version,
            )
            for item, text in zip(outputs, texts, strict=True)
        )

    def _visible(self, token_ids: Sequence[int]) -> Sequence[int]:
        ends = token_ids[-1:] == [self._spec.end_token_id]
        return token_ids[:-1] if ends else token_ids

    def init_weight_transfer(self, init_info: dict[str, Any]) -> None:
        """Open the receiving side of the weight transport."""
        self._llm.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        """Prepare for new weights; a colocated engine gets its memory for weights back."""
        if self._spec.rollout.colocate:
            self._llm.wake_up(tags=["weights"])
        self._llm.start_weight_update()

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one bucket of weights."""
        self._llm.update_weights({"update_info": update_info})

    def finish_weight_update(self) -> None:
        """Put the new weights in service."""
        self._llm.finish_weight_update()

    def activate(self, version: int) -> None:
        """Serve the weights just received as policy version `version`.

        Everything computed with the old weights is dropped: key-value prefixes, processed clips
        and, above all, the audio encoder's outputs, which vLLM does not drop by itself.
        """
        if self._spec.rollout.colocate:
            self._llm.wake_up(tags=["kv_cache"])
        self._llm.reset_prefix_cache()
        self._llm.llm_engine.reset_mm_cache()
        self._llm.llm_engine.reset_encoder_cache()
        self._version = version

    def sleep(self) -> None:
        """Free the GPU for the learner; weights wait in host memory."""
        self._llm.sleep(level=1)


def _engine_prompt(prompt: Prompt) -> dict[str, Any]:
    """Features go in as embedding inputs: vLLM then runs no feature extraction of its own."""
    import torch

    return {
        "prompt": prompt.text,
        "multi_modal_data": {
            "audio": {
                "input_audio_features": torch.from_numpy(prompt.features),
                "audio_feature_lengths": torch.tensor([prompt.num_frames]),
                "feature_attention_mask": torch.ones(1, prompt.num_frames, dtype=torch.long),
            }
        },
    }


def _sampled_logprobs(item: Any) -> np.ndarray:
    pairs = zip(item.logprobs, item.token_ids, strict=True)
    return np.array([position[token].logprob for position, token in pairs], np.float32)
