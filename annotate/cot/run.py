"""Reasoning for the rows of a manifest, as a configuration asks for it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate.cot import template
from annotate.cot.filters import Limits
from annotate.cot.generate import Budget, Generated, Journal, TemplateWriter, generate
from annotate.cot.server import CotPrompt, Sampling, ServerWriter
from configs.annotate_schema import ReasoningConfig
from configs.errors import UserError
from rewards.judges.chat import ChatClient

ATTEMPTS_PER_CALL = 3
"""Requests of one call, while the server fails."""

MAX_REPLY_BYTES = 262_144
"""Longest reply that is read."""


def generate_reasoning(
    settings: ReasoningConfig,
    rows: Sequence[Mapping[str, Any]],
    journal: Path,
    *,
    choices: Sequence[str],
    seed: int,
) -> Generated:
    """Write reasoning for the rows, going on from what the journal holds.

    Args:
        settings: Source, filters and budget.
        rows: Of an annotated manifest.
        journal: File of all attempts.
        choices: All labels.
        seed: Of the template.

    Raises:
        UserError: A prompt file that cannot be used, or no model.
        rewards.judges.chat.ChatError: An address or key that cannot be used.
    """
    prompt = CotPrompt.from_file(settings.prompt_file) if settings.source == "server" else None
    shaping = [settings.source, settings.model, settings.temperature, settings.max_tokens, seed]
    filters = [settings.min_words, settings.max_words, settings.margin]
    spec = json.dumps([*shaping, *filters, prompt.template if prompt else template.VERSION])
    attempts = Journal(journal, hashlib.sha256(spec.encode()).hexdigest()[:16])
    return asyncio.run(_generated(settings, rows, attempts, choices, prompt, seed))


async def _generated(
    settings: ReasoningConfig,
    rows: Sequence[Mapping[str, Any]],
    journal: Journal,
    choices: Sequence[str],
    prompt: CotPrompt | None,
    seed: int,
) -> Generated:
    client = None if prompt is None else _client(settings)
    if client is None or prompt is None:
        writer = TemplateWriter(seed)
    else:
        sampling = Sampling(
            settings.model, settings.temperature, settings.max_tokens, 2 * settings.timeout_s
        )
        writer = ServerWriter(client, prompt, sampling, choices, settings.calls_per_minute)
    try:
        return await generate(
            rows,
            writer,
            journal,
            choices=choices,
            limits=Limits(settings.min_words, settings.max_words, settings.margin),
            max_attempts=settings.max_attempts,
            concurrency=settings.concurrency,
            budget=Budget(
                settings.max_calls,
                settings.max_cost,
                settings.prompt_price,
                settings.completion_price,
            ),
        )
    finally:
        if client is not None:
            await client.close()


def _client(settings: ReasoningConfig) -> ChatClient:
    if not settings.model:
        raise UserError("reasoning.model is empty; name the model of the server")
    return ChatClient(
        settings.url,
        api_key_env=settings.api_key_env,
        max_concurrent_calls=settings.concurrency,
        timeout_s=settings.timeout_s,
        max_attempts=ATTEMPTS_PER_CALL,
        max_reply_bytes=MAX_REPLY_BYTES,
        breaker_failures=8,
        breaker_cooldown_s=10.0,
    )
