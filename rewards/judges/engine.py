"""A vLLM engine that continues tokens with one clip in them, in the calling process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from configs.imports import without_collections
from data.features import num_audio_tokens
from data.records import FloatArray
from rewards.judges.prompt import response_schema


@dataclass(frozen=True, slots=True)
class ClipRequest:
    """Tokens with one clip in them."""

    clip: FloatArray
    """[M, F] log-mel features."""
    head: list[int]
    """Tokens up to the clip's one placeholder, which is the last of them."""
    rest: list[int]
    """Tokens after it."""

    @property
    def num_tokens(self) -> int:
        """Prompt tokens once the placeholder is one per audio embedding."""
        return len(self.head) - 1 + num_audio_tokens(self.clip.shape[1]) + len(self.rest)


class VllmEngine:
    """A vLLM engine as an `EngineThread` drives it."""

    def __init__(self, options: dict[str, Any], digit_ids: Sequence[int], max_tokens: int) -> None:
        """Load the checkpoint.

        Args:
            options: Of `vllm.LLM`, besides those that every judge shares.
            digit_ids: Read the log-probabilities of these tokens; empty = write JSON.
            max_tokens: Most tokens of the JSON.
        """
        with without_collections():
            from vllm import LLM, SamplingParams
            from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        self._llm = LLM(
            enable_prefix_caching=True,
            enable_mm_embeds=True,
            mm_processor_cache_gb=0,
            limit_mm_per_prompt={"audio": 1, "image": 0, "video": 0},
            generation_config="vllm",
            logprobs_mode="processed_logprobs",
            # A weak model would pad with white space until it is cut.
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
            trust_remote_code=False,
            **options,
        )
        self._params = SamplingParams(
            temperature=0.0,
            max_tokens=1 if digit_ids else max_tokens,
            logprob_token_ids=list(digit_ids) or None,
            structured_outputs=None
            if digit_ids
            else StructuredOutputsParams(json=response_schema()),
            detokenize=not digit_ids,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        self._clip: FloatArray | None = None
        self._head: list[int] = []
        self._rendered: Any = None

    def add(self, request_id: str, request: ClipRequest) -> None:
        """Queue a request; see `StepEngine.add`."""
        from vllm.exceptions import VLLMClientError

        try:
            # The requests of a group come one after another: their clip is prepared once.
            if request.clip is not self._clip or request.head != self._head:
                self._rendered = self._render(request)
                self._clip, self._head = request.clip, request.head
            tokens = [*self._rendered["prompt_token_ids"], *request.rest]
            prompt: Any = {**self._rendered, "prompt_token_ids": tokens}
            self._llm.llm_engine.add_request(request_id, prompt, self._params)
        except VLLMClientError as error:
            raise ValueError(str(error)) from error

    def step(self) -> list[tuple[str, Any]]:
        """Advance by one batch; see `StepEngine.step`."""
        outputs = self._llm.llm_engine.step()
        return [(output.request_id, output) for output in outputs if output.finished]

    def abort(self, request_ids: Sequence[str]) -> None:
        """Forget requests."""
        self._llm.llm_engine.abort_request(list(request_ids))

    def close(self) -> None:
        """Free the engine and what vLLM keeps in its process."""
        from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

        self._llm.llm_engine.engine_core.shutdown()
        del self._llm, self._rendered
        cleanup_dist_env_and_memory()

    def _render(self, request: ClipRequest) -> Any:
        """The head as the engine takes it: its placeholder expanded, the clip beside it."""
        import torch

        num_frames = request.clip.shape[1]
        features = {
            "input_audio_features": torch.from_numpy(request.clip),
            "audio_feature_lengths": torch.tensor([num_frames]),
            "feature_attention_mask": torch.ones(1, num_frames, dtype=torch.long),
        }
        prompt: Any = {"prompt_token_ids": request.head, "multi_modal_data": {"audio": features}}
        (rendered,) = self._llm.llm_engine.renderer.render_cmpl([prompt])
        return rendered
