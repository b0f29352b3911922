"""A judge model in an engine of its own, which hears the clip and reads the reasoning."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from configs.vllm_env import vllm_environment
from data.features import NUM_MEL_BINS
from data.records import Example, Prompt
from rewards.judges.base import (
    DIMENSIONS,
    HIGHEST,
    LOWEST,
    NO_CLIP,
    NOT_APPLICABLE,
    UNREADABLE,
    JudgeContext,
    JudgeError,
    Judgement,
    unscored,
)
from rewards.judges.engine import ClipRequest, VllmEngine
from rewards.judges.engine_thread import EngineStoppedError, EngineThread
from rewards.judges.prompt import SCORES, JudgePrompt, parse_scores

SYSTEM_PROMPT = "You grade reasoning about speech."
"""System message of the judge."""

SCORINGS = ("digits", "json")
"""How scores are read."""

CPU_BLOCK_TOKENS = 32
"""Grain of the prefix cache on a CPU; with vLLM's own choice of 128 requests would share less."""

WARM_UP_FRAMES = 100
"""Length of the silent clip that the first judgement is about, in 10 ms frames."""

WARM_UP_S = 300.0
"""Longest wait for that judgement: an engine's first batch takes seconds, or minutes on a GPU."""

MAX_ERROR_CHARS = 300
"""How much of an engine's message goes into the details of a judgement."""


class LocalJudge:
    """A Qwen2.5-Omni checkpoint as the judge, in an engine inside the calling process.

    With `scoring: digits` every dimension is asked for on its own: the answer is begun with
    `{"dimension":`, and the score is the mean of the digits 1 to 5 under the probabilities that the
    model gives them as the next token. Nothing is sampled; the score is smooth. With `json` the
    model writes all four whole numbers, greedily, and a schema allows nothing else.

    The same input gives the same `digits` scores up to rounding, whatever shares its batch: within
    1e-5 in float32 (5e-7 was seen with the demo's checkpoint). In bfloat16 the rounding is coarser,
    and a `json` score may flip where two digits are as likely.

    Args:
        context: The run; its device is taken.
        model_path: Folder of the judge's checkpoint.
        scoring: `digits` or `json`.
        prompt_file: Template of the message, as `JudgePrompt`; empty = the default.
        max_model_len: Longest prompt with its answer, in tokens.
        max_num_seqs: Requests in one batch; `digits` makes four of a completion.
        gpu_memory_frac: Share of a GPU's memory for the engine, in (0, 1).
        kv_cache_gib: Key-value cache on a CPU, in GiB.
        cpu_threads: Threads of the engine on a CPU.
        dtype: `float32` or `bfloat16`.
        max_tokens: Most tokens of an answer; only `json` writes more than one.
        deadline_s: Longest wait for the judgements of one call, in seconds.

    Raises:
        JudgeError: An option is out of range, the prompt or the tokenizer does not suit, or a first
            judgement, made here to warm up, fails.
    """

    dimensions: tuple[str, ...] = DIMENSIONS

    def __init__(
        self,
        context: JudgeContext,
        *,
        model_path: str,
        scoring: str = "digits",
        prompt_file: str = "",
        max_model_len: int = 4096,
        max_num_seqs: int = 128,
        gpu_memory_frac: float = 0.85,
        kv_cache_gib: float = 1.0,
        cpu_threads: int = 1,
        dtype: str = "bfloat16",
        max_tokens: int = 160,
        deadline_s: float = 120.0,
    ) -> None:
        if scoring not in SCORINGS:
            raise JudgeError(f"scoring is {scoring!r}; allowed are {', '.join(SCORINGS)}")
        # On a CPU, threads are counted when torch is first imported.
        os.environ.update(vllm_environment(device=context.device, cpu_threads=cpu_threads))
        self._digits = scoring == "digits"
        self._text = JudgeText(model_path, JudgePrompt(prompt_file))
        self._prefills, self._digit_ids = self._text.answer_tokens() if self._digits else ([[]], [])
        self._max_prompt_tokens = max_model_len - (1 if self._digits else max_tokens)
        self._deadline_s = deadline_s
        on_cpu = context.device == "cpu"
        memory = (
            {"kv_cache_memory_bytes": int(kv_cache_gib * 2**30), "block_size": CPU_BLOCK_TOKENS}
            if on_cpu
            else {"gpu_memory_utilization": gpu_memory_frac}
        )
        options = memory | {
            "model": model_path,
            "dtype": dtype,
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            # Graphs speed up decoding, of which `digits` does none.
            "enforce_eager": self._digits or on_cpu,
        }
        self._engine = EngineThread(partial(VllmEngine, options, self._digit_ids, max_tokens))
        (first,) = self._judge(warm_up_prompt(), ["The voice is calm."], WARM_UP_S)
        if first.missing:
            self.close()
            raise JudgeError(
                f"judge {model_path}: its first judgement failed: {first.missing}; "
                f"{first.details.get('error', 'see judge_options')}"
            )

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge the reasoning of a group's completions; see `Judge.judge`.

        Scores are missing for `no clip` (of the row itself), `too long` (the prompt does not fit),
        `control token` (in the text), `timeout`, `refused` (by the engine), `engine stopped`, `not
        finite` (the clip or the model's numbers), or what `parse_scores` says.

        Details are those known to the metrics, and for `digits` also `digit_mass`: the least
        probability, over the dimensions, that the next token is one of the five digits at all.
        """
        return self._judge(prompt, reasonings, self._deadline_s)

    @property
    def broken(self) -> bool:
        """Whether the engine has stopped, and only another process can have a new one."""
        return self._engine.stopped

    def close(self) -> None:
        """End the engine."""
        self._engine.close()

    def _judge(
        self, prompt: Prompt, reasonings: Sequence[str], deadline_s: float
    ) -> list[Judgement]:
        if not prompt.features.shape[1]:
            return [unscored(NO_CLIP, NOT_APPLICABLE) for _ in reasonings]
        if not np.isfinite(prompt.features).all():
            # It would stay in the key-value cache, and spoil what uses the same blocks later.
            return [unscored("not finite") for _ in reasonings]
        start = time.monotonic()
        requested = [self._requests(prompt, reasoning) for reasoning in reasonings]
        futures = self._engine.submit(
            [request for requests, _ in requested for request in requests]
        )
        _, late = wait(futures, timeout=deadline_s)
        for future in late:
            future.cancel()
        latency_s = time.monotonic() - start
        rest = iter(futures)
        return [
            unscored(reason, UNREADABLE)
            if reason
            else self._judgement(list(islice(rest, len(requests))), latency_s)
            for requests, reason in requested
        ]

    def _requests(self, prompt: Prompt, reasoning: str) -> tuple[list[ClipRequest], str]:
        """The requests for one reasoning, or why there are none."""
        try:
            head, rest = self._text.tokens(prompt, reasoning)
        except JudgeError as error:
            return [], str(error)
        requests = [ClipRequest(prompt.features, head, rest + end) for end in self._prefills]
        if max(request.num_tokens for request in requests) > self._max_prompt_tokens:
            return [], "too long"
        return requests, ""

    def _judgement(self, futures: Sequence[Future[Any]], latency_s: float) -> Judgement:
        """Read the answers about one reasoning."""
        details: dict[str, Any] = {"latency_s": latency_s, "calls": len(futures)}
        failed = [failure for future in futures if (failure := _failure(future))]
        if failed:
            reason, details["error"] = failed[0]
            return unscored(reason, details)
        outputs = [future.result() for future in futures]
        details["prompt_tokens"] = sum(len(output.prompt_token_ids) for output in outputs)
        details["completion_tokens"] = sum(len(output.outputs[0].token_ids) for output in outputs)
        if not self._digits:
            try:
                return Judgement(parse_scores(outputs[0].outputs[0].text), details=details)
            except JudgeError as error:
                return unscored(str(error), details)
        logprobs = [output.outputs[0].logprobs[0] for output in outputs]
        read = [expected_score([row[i].logprob for i in self._digit_ids]) for row in logprobs]
        if not all(math.isfinite(score) for score, _ in read):
            return unscored("not finite", details)
        details["digit_mass"] = min(mass for _, mass in read)
        scores = [score for score, _ in read]
        return Judgement(dict(zip(DIMENSIONS, scores, strict=True)), details=details)


def expected_score(logprobs: Sequence[float]) -> tuple[float, float]:
    """Return the mean score, and the probability of the scores together.

    Args:
        logprobs: Log-probability in nats of each of `SCORES` as the next token.

    Returns:
        The mean of `SCORES` under the renormalised probabilities, in [1, 5], and their sum before,
        in [0, 1]; not finite if a log-probability is NaN or none is above minus infinity.
    """
    probs = [math.exp(logprob) for logprob in logprobs]
    mass = math.fsum(probs)
    peak = max(logprobs)
    # Relative to the likeliest: all five may underflow.
    scaled = [math.exp(logprob - peak) for logprob in logprobs]
    mean = math.fsum(s * p for s, p in zip(SCORES, scaled, strict=True)) / math.fsum(scaled)
    return mean if math.isnan(mean) else min(max(mean, LOWEST), HIGHEST), mass


def warm_up_prompt() -> Prompt:
    """Return a prompt with a second of silence."""
    question = "Which emotion does the speaker express?"
    example = Example("warm-up", "warm-up", "neutral", question, ("neutral",))
    silence = np.zeros((NUM_MEL_BINS, WARM_UP_FRAMES), np.float32)
    return Prompt(example, "", np.zeros(0, np.int64), silence, WARM_UP_FRAMES)


def _failure(future: Future[Any]) -> tuple[str, str] | None:
    """Reason and message of a request that gave no output."""
    if future.cancelled() or not future.done():
        return "timeout", "see deadline_s"
    error = future.exception()
    if error is None:
        return None
    reason = "engine stopped" if isinstance(error, EngineStoppedError) else "refused"
    return reason, str(error)[:MAX_ERROR_CHARS]


class JudgeText:
    """A judge's messages as tokens of its checkpoint; threads may share it."""

    def __init__(self, model_path: str, prompt: JudgePrompt) -> None:
        """Load the tokenizer and the chat template.

        Raises:
            ValueError: No usable checkpoint, or the template holds a control token.
        """
        from data.prompts import load_processor

        processor = load_processor(model_path)
        self._path = model_path
        self._prompt = prompt
        self._tokenizer: Any = processor.tokenizer
        self._template = processor.chat_template
        self._audio_id = self._tokenizer.convert_tokens_to_ids(processor.audio_token)
        self._control_tokens = [str(t) for t in self._tokenizer.added_tokens_decoder.values()]
        self.tokens(warm_up_prompt(), "")

    def tokens(self, prompt: Prompt, reasoning: str) -> tuple[list[int], list[int]]:
        """Return the tokens up to the clip's placeholder, and those after it.

        Raises:
            JudgeError: `control token`: the message would be more than text; `no place for the
                clip`: the chat template has not exactly one.
        """
        ids = self._encode(self._chat(prompt, reasoning))
        if ids.count(self._audio_id) != 1:
            raise JudgeError("no place for the clip")
        end = ids.index(self._audio_id) + 1
        return ids[:end], ids[end:]

    def answer_tokens(self) -> tuple[list[list[int]], list[int]]:
        """Return the answer prefix of each dimension, and the tokens of the digits after it.

        Raises:
            JudgeError: Text and answer prefix, or that and a digit, do not tokenize apart.
        """
        prefills: list[list[int]] = []
        digits: set[tuple[int, ...]] = set()
        for name in DIMENSIONS:
            prefill = self.continuation(f'{{"{name}":')
            prefills.append(prefill)
            answers = [self.continuation(f'{{"{name}":{score}') for score in SCORES]
            digits.add(tuple(answer[-1] for answer in answers))
            if any(answer[:-1] != prefill for answer in answers):
                raise JudgeError(
                    f"judge {self._path}: its tokenizer has no token of its own for each digit "
                    f"after {{{name!r}:; use scoring: json"
                )
        (digit_ids,) = digits
        return prefills, list(digit_ids)

    def continuation(self, answer: str) -> list[int]:
        """Return the tokens of an answer, whole or begun, after the message before it.

        Raises:
            JudgeError: Message and answer do not tokenize apart.
        """
        # All messages end alike, so that any of them will do.
        chat = self._chat(warm_up_prompt(), "")
        ids = self._encode(chat)
        whole = self._encode(chat + answer)
        if whole[: len(ids)] != ids:
            raise JudgeError(
                f"judge {self._path}: its tokenizer joins the message and the answer {answer!r}; "
                "end the chat template's assistant line with a line break"
            )
        return whole[len(ids) :]

    def _chat(self, prompt: Prompt, reasoning: str) -> str:
        text = self._prompt.render(prompt, reasoning)
        if any(token in text for token in self._control_tokens):
            raise JudgeError("control token")
        system = {"role": "system", "content": [{"type": "text", "text": SYSTEM_PROMPT}]}
        user = {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": text}]}
        return self._tokenizer.apply_chat_template(
            [system, user],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
        )

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer(text)["input_ids"]
