"""A judge behind any OpenAI-compatible server, text-only or hearing the clip.

Whatever the server does, a completion ends with scores or with a reason that can be counted. There
is one retry layer, this one, and it stays within the deadline of the call.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import random
import threading
import time
import wave
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from data.audio import SAMPLE_RATE_HZ, AudioError, read_audio
from data.records import Prompt
from rewards.judges.base import DIMENSIONS, JudgeContext, JudgeError, Judgement
from rewards.judges.breaker import CircuitBreaker
from rewards.judges.prompt import JudgePrompt, parse_scores, response_schema

MAX_USAGE_TOKENS = 2**31
"""A server that claims to have used as many tokens or more is not believed."""

FIRST_BACKOFF_S = 0.25
"""Longest wait before the second attempt; doubled for every further one, and drawn from 0 up."""

NOTHING: Mapping[str, float | None] = dict.fromkeys(DIMENSIONS, None)
"""Scores of a judgement that failed."""


class _Failure(Exception):
    """A call that gave no scores; its text is the reason."""

    def __init__(self, reason: str, retry_after_s: float | None = None, *, down: bool) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        """Least wait before another attempt, in seconds; None = another one is of no use."""
        self.down = down
        """Whether the server, and not this one reply, is to blame."""


@dataclass
class _Call:
    """What one reasoning has cost so far."""

    attempts: int = 0
    usage: dict[str, int] = field(default_factory=dict[str, int])


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
        cache_size: Judgements that are remembered.

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
        limits = {
            "max_concurrent_calls": max_concurrent_calls,
            "timeout_s": timeout_s,
            "deadline_s": deadline_s,
            "max_attempts": max_attempts,
            "max_tokens": max_tokens,
            "max_reply_bytes": max_reply_bytes,
            "breaker_failures": breaker_failures,
            "breaker_cooldown_s": breaker_cooldown_s,
        }
        for name, value in limits.items():
            if not value > 0:
                raise JudgeError(f"HttpJudge: {name} is {value}; allowed is above 0")
        self._url = f"{_checked_url(url)}/chat/completions"
        self._prompt = JudgePrompt(prompt_file)
        self._model = model
        self._audio_root = Path(context.audio_root) if audio else None
        self._body = _fixed_body(model, max_tokens, structured)
        self._deadline_s = deadline_s
        self._max_attempts = max_attempts
        self._max_reply_bytes = max_reply_bytes
        self._breaker = CircuitBreaker(breaker_failures, breaker_cooldown_s, time.monotonic)
        self._cache = _Cache(cache_size)
        self._slots = asyncio.Semaphore(max_concurrent_calls)
        self._client = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **_authorization(api_key_env)},
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=max_concurrent_calls),
            follow_redirects=False,
            trust_env=False,
        )
        self._timeout_s = timeout_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="judge")
        self._thread.start()

    def judge(self, prompt: Prompt, reasonings: Sequence[str]) -> list[Judgement]:
        """Judge the reasoning of one clip; see `rewards.judges.base.Judge`.

        Equal reasonings are asked about once.
        """
        distinct = list(dict.fromkeys(reasonings))
        try:
            clip = self._clip(prompt)
        except AudioError as error:
            return [Judgement(NOTHING, "clip", {"error": str(error)}) for _ in reasonings]
        work = self._judge_all(prompt, distinct, clip)
        found = asyncio.run_coroutine_threadsafe(work, self._loop).result()
        by_text = dict(zip(distinct, found, strict=True))
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
        await self._client.aclose()

    def _clip(self, prompt: Prompt) -> str:
        """Return the clip as base64 WAV; empty for a judge that does not hear it."""
        if self._audio_root is None:
            return ""
        root = self._audio_root.resolve()
        path = (root / prompt.example.audio).resolve()
        if not path.is_relative_to(root):
            raise AudioError(f"{prompt.example.audio}: leads out of the audio root {root}")
        samples = read_audio(path, min_duration_s=0.0, max_duration_s=300.0)
        pcm = (np.clip(samples, -1, 1) * 32767).round().astype("<i2")
        buffer = io.BytesIO()
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE_HZ)
            file.writeframes(pcm.tobytes())
        return base64.b64encode(buffer.getvalue()).decode("ascii")

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
        known = self._cache.get(key)
        if known is not None:
            return replace(known, details={"cached": True, "calls": 0})
        call = _Call()
        down = False
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._reply(text, clip, call, deadline)
            found = Judgement(_read_reply(reply, call))
            self._cache.put(key, found)
        except TimeoutError:
            down, found = True, Judgement(NOTHING, "deadline")
        except _Failure as failure:
            down, found = failure.down, Judgement(NOTHING, str(failure))
        if call.attempts:  # a call that never left says nothing about the server
            self._breaker.record(success=not down)
        facts = {"cached": False, "calls": call.attempts, **call.usage}
        return replace(found, details={"latency_s": time.monotonic() - start, **facts})

    async def _reply(self, text: str, clip: str, call: _Call, deadline: float) -> bytes:
        """Ask until there is a reply or nothing more is to be had; the one retry layer."""
        body = self._request_body(text, clip)
        while True:
            async with self._slots:
                if not call.attempts and not self._breaker.allows():
                    raise _Failure("breaker open", down=False)
                call.attempts += 1
                try:
                    return await self._attempt(body)
                except _Failure as failure:
                    if failure.retry_after_s is None or call.attempts >= self._max_attempts:
                        raise
                    backoff_s = random.uniform(0, FIRST_BACKOFF_S * 2 ** (call.attempts - 1))
                    wait_s = max(failure.retry_after_s, backoff_s)
                    if self._breaker.is_open or self._loop.time() + wait_s >= deadline:
                        raise
            # Outside the slot: who waits does not keep others from asking.
            await asyncio.sleep(wait_s)

    def _request_body(self, text: str, clip: str) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
        if clip:
            heard = {"type": "input_audio", "input_audio": {"data": clip, "format": "wav"}}
            parts.insert(0, heard)
        content: Any = parts if clip else text
        return {**self._body, "messages": [{"role": "user", "content": content}]}

    async def _attempt(self, body: Mapping[str, Any]) -> bytes:
        """Make one request and return the body of its reply.

        Raises:
            _Failure: Anything but a whole reply of status 200.
        """
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client.stream("POST", self._url, json=body) as response,
            ):
                if response.status_code != 200:
                    code = response.status_code
                    down = code in (408, 429) or code >= 500
                    retry = _retry_after_s(response) if down else None
                    raise _Failure(f"http {code}", retry, down=down)
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise _Failure("compressed reply", down=False)
                content = bytearray()
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > self._max_reply_bytes:
                        raise _Failure("reply too large", down=False)
                return bytes(content)
        except (TimeoutError, httpx.TimeoutException):
            raise _Failure("timeout", 0.0, down=True) from None
        except httpx.HTTPError:
            raise _Failure("connection", 0.0, down=True) from None


class _Cache:
    """The most recently used judgements; used from one thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[str, Judgement] = OrderedDict()

    def get(self, key: str) -> Judgement | None:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: str, judgement: Judgement) -> None:
        self._kept[key] = judgement
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _checked_url(url: str) -> str:
    try:
        parts = httpx.URL(url)
        parts.host.encode("idna")  # as the resolver will, which raises what httpx lets through
    except (httpx.InvalidURL, UnicodeError):
        parts = httpx.URL()
    if parts.userinfo or parts.query or parts.fragment:
        raise JudgeError(
            "HttpJudge: the url holds a user, a password or a query; a key belongs in the "
            "environment variable that api_key_env names"
        )
    if parts.scheme not in ("http", "https") or not parts.host:
        # Not quoted: what cannot be read may still hold a password.
        raise JudgeError("HttpJudge: the url is not one; write it like http://HOST:PORT/v1")
    return url.rstrip("/")


def _authorization(api_key_env: str) -> dict[str, str]:
    if not api_key_env:
        return {}
    key = os.environ.get(api_key_env, "").strip()
    if not key:
        raise JudgeError(
            f"HttpJudge: the environment variable {api_key_env} (api_key_env) is not set where the "
            "reward workers run"
        )
    if not (key.isascii() and key.isprintable()):
        raise JudgeError(
            f"HttpJudge: the environment variable {api_key_env} (api_key_env) holds characters "
            "that no key has; set it to the key alone"
        )
    return {"Authorization": f"Bearer {key}"}


def _fixed_body(model: str, max_tokens: int, structured: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens, "temperature": 0}
    if structured:
        schema = {"name": "scores", "strict": True, "schema": response_schema()}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return body


def _retry_after_s(response: httpx.Response) -> float:
    """Return how long the server wants to be left alone, in seconds; 0 if it does not say."""
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _read_reply(reply: bytes, call: _Call) -> Mapping[str, float]:
    """Return the scores of a chat completion, and note what it cost.

    Raises:
        _Failure: It is none, or its text is not four scores.
    """
    try:
        found = json.loads(reply)
        text = found["choices"][0]["message"]["content"]
        usage = found.get("usage") or {}
        costs = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise _Failure("not a chat completion", down=False) from None
    for name, n in costs.items():
        if type(n) is int and 0 <= n < MAX_USAGE_TOKENS:
            call.usage[name] = n
    if not isinstance(text, str):
        raise _Failure("not a chat completion", down=False)
    try:
        return parse_scores(text)
    except JudgeError as error:
        raise _Failure(str(error), down=False) from None
