"""A client of an OpenAI-compatible chat server that loses no time and no call.

Whatever the server does, a call ends with a reply or with a reason that can be counted. There is
one retry layer, this one, and it stays within the deadline of the call.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from configs.errors import UserError
from configs.secrets import VARIABLE_NAME, hide_variables_of, without_secrets
from rewards.judges.breaker import CircuitBreaker

MAX_USAGE_TOKENS = 2**31
"""A server that claims to have used as many tokens or more is not believed."""

FIRST_BACKOFF_S = 0.25
"""Longest wait before the second attempt; doubled for every further one, and drawn from 0 up."""


class ChatError(UserError):
    """Settings that name no server, or no key."""


class ChatFailure(Exception):
    """A call that gave no reply; its text is the reason."""

    def __init__(self, reason: str, retry_after_s: float | None = None, *, down: bool) -> None:
        """Make a failure.

        Args:
            reason: A few words, to be counted.
            retry_after_s: Least wait before another attempt, in seconds; None = another one is of
                no use.
            down: Whether the server, and not this one reply, is to blame.
        """
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        self.down = down


@dataclass
class ChatCall:
    """What one call has cost so far."""

    attempts: int = 0
    """Requests that were sent."""
    usage: dict[str, int] = field(default_factory=dict[str, int])
    """`prompt_tokens` and `completion_tokens` as the server counts them, where it does."""


class ChatClient:
    """Posts chat completions; all methods belong to one event loop."""

    def __init__(
        self,
        url: str,
        *,
        api_key_env: str,
        max_concurrent_calls: int,
        timeout_s: float,
        max_attempts: int,
        max_reply_bytes: int,
        breaker_failures: int,
        breaker_cooldown_s: float,
    ) -> None:
        """Check the settings; the server is not asked yet.

        Args:
            url: Base address such as `http://127.0.0.1:8000/v1`.
            api_key_env: Environment variable that holds the key; empty = no key.
            max_concurrent_calls: Requests under way at a time.
            timeout_s: Longest time of one attempt, in seconds.
            max_attempts: Attempts per call.
            max_reply_bytes: Longest reply that is read, in bytes.
            breaker_failures: Calls in a row that found the server down, after which it is left
                alone.
            breaker_cooldown_s: Seconds until it is tried again with a single call.

        Raises:
            ChatError: A limit is not above 0, the address is none, or the variable is not set.
        """
        limits = {
            "max_concurrent_calls": max_concurrent_calls,
            "timeout_s": timeout_s,
            "max_attempts": max_attempts,
            "max_reply_bytes": max_reply_bytes,
            "breaker_failures": breaker_failures,
            "breaker_cooldown_s": breaker_cooldown_s,
        }
        for name, value in limits.items():
            if not value > 0:
                raise ChatError(f"{name} is {value}; allowed is above 0")
        self._url = f"{_checked_url(url)}/chat/completions"
        self._timeout_s = timeout_s
        self._max_attempts = max_attempts
        self._max_reply_bytes = max_reply_bytes
        self._breaker = CircuitBreaker(breaker_failures, breaker_cooldown_s, time.monotonic)
        self._slots = asyncio.Semaphore(max_concurrent_calls)
        key = _key(api_key_env)
        authorization = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(
            headers={"Accept-Encoding": "identity", **authorization},
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=max_concurrent_calls),
            follow_redirects=False,
            trust_env=False,
        )

    async def ask(self, body: Mapping[str, Any], call: ChatCall, deadline: float) -> str:
        """Return the text of the server's answer; a server that repeats our key is not quoted.

        Args:
            body: The request, in the form of the chat completions API.
            call: Takes what the call costs, also if it fails.
            deadline: Time of the running event loop at which the call is given up.

        Raises:
            ChatFailure: There was none; `deadline` if the time was over.
        """
        down = False
        try:
            async with asyncio.timeout_at(deadline):
                reply = await self._reply(body, call, deadline)
            return without_secrets(_read_reply(reply, call))
        except TimeoutError:
            down = True
            raise ChatFailure("deadline", down=True) from None
        except ChatFailure as failure:
            down = failure.down
            raise
        finally:
            if call.attempts:  # a call that never left says nothing about the server
                self._breaker.record(success=not down)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _reply(self, body: Mapping[str, Any], call: ChatCall, deadline: float) -> bytes:
        """Ask until there is a reply or nothing more is to be had; the one retry layer."""
        while True:
            async with self._slots:
                if not call.attempts and not self._breaker.allows():
                    raise ChatFailure("breaker open", down=False)
                call.attempts += 1
                try:
                    return await self._attempt(body)
                except ChatFailure as failure:
                    if failure.retry_after_s is None or call.attempts >= self._max_attempts:
                        raise
                    backoff_s = random.uniform(0, FIRST_BACKOFF_S * 2 ** (call.attempts - 1))
                    wait_s = max(failure.retry_after_s, backoff_s)
                    now = asyncio.get_running_loop().time()
                    if self._breaker.is_open or now + wait_s >= deadline:
                        raise
            # Outside the slot: who waits does not keep others from asking.
            await asyncio.sleep(wait_s)

    async def _attempt(self, body: Mapping[str, Any]) -> bytes:
        """Make one request and return the body of its reply.

        Raises:
            ChatFailure: Anything but a whole reply of status 200.
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
                    raise ChatFailure(f"http {code}", retry, down=down)
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise ChatFailure("compressed reply", down=False)
                content = bytearray()
                async for chunk in response.aiter_raw():
                    content += chunk
                    if len(content) > self._max_reply_bytes:
                        raise ChatFailure("reply too large", down=False)
                return bytes(content)
        except (TimeoutError, httpx.TimeoutException):
            raise ChatFailure("timeout", 0.0, down=True) from None
        except httpx.HTTPError:
            raise ChatFailure("connection", 0.0, down=True) from None


def _checked_url(url: str) -> str:
    try:
        parts = httpx.URL(url)
        parts.host.encode("idna")  # as the resolver will, which raises what httpx lets through
    except (httpx.InvalidURL, UnicodeError):
        parts = httpx.URL()
    if parts.userinfo or parts.query or parts.fragment:
        raise ChatError(
            "the url holds a user, a password or a query; a key belongs in the environment "
            "variable that api_key_env names"
        )
    if parts.scheme not in ("http", "https") or not parts.host:
        # Not quoted: what cannot be read may still hold a password.
        raise ChatError("the url is not one; write it like http://HOST:PORT/v1")
    return url.rstrip("/")


def _key(api_key_env: str) -> str:
    if not api_key_env:
        return ""
    if not VARIABLE_NAME.fullmatch(api_key_env):
        # Not quoted: it may be the key itself.
        raise ChatError(
            "api_key_env is not the name of an environment variable, in capitals, such as "
            "JUDGE_API_KEY; put the key itself in the environment"
        )
    hide_variables_of({"api_key_env": api_key_env})
    key = os.environ.get(api_key_env, "").strip()
    if not key:
        raise ChatError(
            f"the environment variable {api_key_env} (api_key_env) is not set where the calls are "
            "made"
        )
    if not (key.isascii() and key.isprintable()):
        raise ChatError(
            f"the environment variable {api_key_env} (api_key_env) holds characters that no key "
            "has; set it to the key alone"
        )
    return key


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


def _read_reply(reply: bytes, call: ChatCall) -> str:
    """Return the text of a chat completion, and note what it cost.

    Raises:
        ChatFailure: It is none.
    """
    try:
        completion = json.loads(reply)
        text = completion["choices"][0]["message"]["content"]
        usage = completion.get("usage") or {}
        costs = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise ChatFailure("not a chat completion", down=False) from None
    for name, n in costs.items():
        if type(n) is int and 0 <= n < MAX_USAGE_TOKENS:
            call.usage[name] = n
    if not isinstance(text, str):
        raise ChatFailure("not a chat completion", down=False)
    return text
