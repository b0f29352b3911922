"""A judge behind any OpenAI-compatible server, text-only or hearing the clip.

Whatever the server does, a completion ends with scores or with a reason that can be counted; how it
is asked, and asked again, is `rewards.judges.chat`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from data.audio import AudioError, read_audio, wav_bytes
from data.clips import path_inside
from data.records import Prompt
from rewards.judges.base import (
    DIMENSIONS,
    NO_CLIP,
    NOT_APPLICABLE,
    JudgeContext,
    JudgeError,
    Judgement,
    unscored,
)
from rewards.judges.chat import ChatCall, ChatClient, ChatError, ChatFailure
from rewards.judges.prompt import JudgePrompt, parse_scores, response_schema

MAX_SHOWN_CHARS = 200
"""Of a reply that cannot be read, this much is kept in the details."""


class HttpJudge:
    """Asks a chat-completions endpoint for four integers, in a JSON schema where it knows them.

    Building it checks the options and starts the thread that talks; the server is not asked yet.

    Args:
        context: Folder of the clips.
        url: Base address such as `http://127.0.0.1:8000/v1`.
        model: Name of the model there.
        api_key_env: Environment variable that holds the key; empty = no key.
        audio: Send the clip too, as 16 kHz WAV.
        prompt_file: Template of the message; empty = `rewards/judges/prompt.txt`.
        structured: Ask for a JSON schema; replies are validated anyway.
        max_concurrent_calls: Requests under way at a time, over all groups of this worker.
        timeout_s: Longest time of one attempt, in seconds.
        deadline_s: Longest time of a group's judgement with all attempts, in seconds.
        max_attempts: Attempts per reasoning.
        max_tokens: Longest reply, in tokens.
        max_reply_bytes: Longest reply that is read, in bytes.
        breaker_failures: Calls in a row that failed with all their attempts, after which the
            server is left alone. A call counts as failed if there was no connection, no whole
            reply in time, or a status of 408, 429 or 5xx; one bad reply is no such failure.
        breaker_cooldown_s: Seconds until it is tried again with a single call.
        cache_size: Judgements that are remembered; 0 = none.

    Raises:
        JudgeError: An option is out of range, the address is none, or the variable is not set.
    """

    dimensions = DIMENSIONS

    def __init__(
        self,
        context: JudgeContext,
        *,
        url: str,
        model: str,
        api_key_env: str = "",
        audio: bool = False,
        prompt_file: str = "",
        structured: bool = True,
        max_concurrent_calls: int = 32,
        timeout_s: float = 30.0,
        deadline_s: float = 60.0,
        max_attempts: int = 3,
        max_tokens: int = 128,
        max_reply_bytes: int = 65_536,
        breaker_failures: int = 8,
        breaker_cooldown_s: float = 10.0,
        cache_size: int = 10_000,
    ) -> None:
        if not deadline_s > 0:
            raise JudgeError(f"HttpJudge: deadline_s is {deadline_s}; allowed is above 0")
        try:
            self._client = ChatClient(
                url,
                api_key_env=api_key_env,
                max_concurrent_calls=max_concurrent_calls,
                timeout_s=timeout_s,
                max_attempts=max_attempts,
                max_reply_bytes=max_reply_bytes,
                breaker_failures=breaker_failures,
                breaker_cooldown_s=breaker_cooldown_s,
            )
        except ChatError as error:
            raise JudgeError(f"HttpJudge: {error}") from error
        self._url = url.rstrip("/")
        self._prompt = JudgePrompt(prompt_file)
        self._model = model
        self._audio_root = Path(context.audio_root) if audio else None
        self._follow_links = context.follow_links
        self._body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": 0}
        if structured:
            schema = {"name": "scores", "strict": True, "schema": response_schema()}
            self._body["response_format"] = {"type": "json_schema", "json_schema": schema}
        self._deadline_s = deadline_s
        self._cache: LRUCache[str, Judgement] = LRUCache(cache_size)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="judge")
        self._thread.start()

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge the reasoning of one clip; see `rewards.judges.base.Judge`.

        Equal reasonings are asked about once.
        """
        distinct = list(dict.fromkeys(reasonings))
        if self._audio_root is not None and not prompt.example.audio:
            return [unscored(NO_CLIP, NOT_APPLICABLE) for _ in reasonings]
        try:
            clip = self._clip(prompt)
        except AudioError as error:
            return [unscored("clip", {"error": str(error)}) for _ in reasonings]
        work = self._judge_all(prompt, distinct, clip)
        judgements = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        by_text = dict(zip(distinct, judgements, strict=True))
        return [by_text[reasoning] for reasoning in reasonings]

    def close(self) -> None:
        """Give up what is under way, close the connections and end the thread; once."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut_down(self) -> None:
        # Else a thread that still waits for its judgements would wait for ever.
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self._client.close()

    def _clip(self, prompt: Prompt) -> str:
        """Return the clip as base64 WAV; empty for a judge that does not hear it."""
        if self._audio_root is None:
            return ""
        audio = prompt.example.audio
        path = path_inside(self._audio_root, audio, follow_links=self._follow_links)
        if path is None:
            raise AudioError(f"{audio!r}: is not inside the audio root {self._audio_root}")
        samples = read_audio(path, min_duration_s=0.0, max_duration_s=300.0)
        return base64.b64encode(wav_bytes(samples)).decode("ascii")

    async def _judge_all(
        self, prompt: Prompt, reasonings: Sequence[str], clip: str
    ) -> list[Judgement]:
        deadline = self._loop.time() + self._deadline_s
        calls = [self._judge_one(prompt, reasoning, clip, deadline) for reasoning in reasonings]
        return list(await asyncio.gather(*calls))

    async def _judge_one(
        self, prompt: Prompt, reasoning: str, clip: str, deadline: float
    ) -> Judgement:
        """Return the judgement of one reasoning, from the cache or from the server."""
        start = time.monotonic()
        text = self._prompt.render(prompt, reasoning)
        content = "\0".join([self._url, self._model, prompt.example.audio, clip[:1], text])
        key = hashlib.sha256(content.encode()).hexdigest()
        cached = self._cache.get(key)
        if cached is not None:
            return replace(cached, details={"cached": True, "calls": 0})
        call = ChatCall()
        reply, unusable = "", {}
        try:
            reply = await self._client.ask(self._request_body(text, clip), call, deadline)
            judgement = Judgement(parse_scores(reply, reasoning))
            if self._cache.maxsize:
                self._cache[key] = judgement
        except JudgeError as error:
            judgement, unusable = unscored(str(error)), {"reply": reply[:MAX_SHOWN_CHARS]}
        except ChatFailure as failure:
            judgement = unscored(str(failure))
            if call.attempts and not failure.down:
                unusable = {"reply": ""}
        facts = {"cached": False, "calls": call.attempts, **call.usage, **unusable}
        return replace(judgement, details={"latency_s": time.monotonic() - start, **facts})

    def _request_body(self, text: str, clip: str) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if clip:
            audio = {"type": "input_audio", "input_audio": {"data": clip, "format": "wav"}}
            parts.insert(0, audio)
        content: Any = parts if clip else text
        return {**self._body, "messages": [{"role": "user", "content": content}]}
