"""Reasoning from a chat server: what it is asked, and how often it may be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.cot.template import clearness
from configs.annotate_schema import ReasoningConfig
from configs.errors import UserError
from data.files import Row
from rewards.judges.chat import ChatCall, ChatClient

PLACEHOLDERS = ("label", "choices", "transcript", "speaker", "cues")
"""Names that a template may write in braces."""

MAX_FACT_CHARS = 2_000
"""Cap of the transcript in the message."""

ATTEMPTS_PER_CALL = 3
"""Requests of one call, while the server fails."""

MAX_REPLY_BYTES = 262_144
"""Longest reply that is read."""

WEAK = 0.1
"""Distance to the nearest other level, in standard deviations, below which a cue is called weak."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_DEFAULT_FILE = Path(__file__).with_name("prompt.txt")
_CUES = {
    "pitch": "pitch",
    "energy": "energy",
    "rate": "speaking rate",
    "intonation": "intonation",
    "energy_change": "energy from the first half to the second",
}


@dataclass(frozen=True, slots=True)
class CotPrompt:
    """The message that asks for one reasoning."""

    template: str

    @classmethod
    def from_file(cls, path: str) -> CotPrompt:
        """Return the prompt of a template file.

        Args:
            path: UTF-8 text in which the names of PLACEHOLDERS stand in braces; empty = the
                default one, `annotate/cot/prompt.txt`.

        Raises:
            UserError: It cannot be read, knows another placeholder, or lacks `{label}` or
                `{cues}`.
        """
        file = Path(path) if path else _DEFAULT_FILE
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file}: cannot be read ({error}); fix prompt_file") from error
        names = _PLACEHOLDER.findall(text)
        unknown = sorted(set(names) - set(PLACEHOLDERS))
        if unknown:
            raise UserError(
                f"{file}: unknown {{{unknown[0]}}}; known are {', '.join(PLACEHOLDERS)}"
            )
        for needed in ("label", "cues"):
            if needed not in names:
                raise UserError(f"{file}: has no {{{needed}}}; the writer needs it")
        return cls(text)

    def render(self, row: Row, choices: Sequence[str]) -> str:
        """Return the message for a row of an annotated manifest."""
        facts = {
            "label": row["label"],
            "choices": ", ".join(choices),
            "transcript": f'"{_plain(str(row["text"]))}"' if row.get("text") else "not known",
            "speaker": row.get("sex") or "not described",
            "cues": render_cues(row.get("prosody") or {}),
        }
        return _PLACEHOLDER.sub(lambda placeholder: facts[placeholder[1]], self.template)


def render_cues(prosody: Mapping[str, Any]) -> str:
    """Return what was measured as a list of lines; a borderline level is called weak."""
    lines: list[str] = []
    for name, shown in _CUES.items():
        level = prosody.get(name)
        if level is None:
            lines.append(f"- {shown}: not measured")
            continue
        weak = name != "energy_change" and clearness(prosody, name) < WEAK
        lines.append(f"- {shown}: {level}{' (weak)' if weak else ''}")
    stressed = prosody.get("stressed_words")
    if stressed:
        lines.append(f"- stressed words: {', '.join(map(_plain, stressed))}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Foreign text on one line, without what could pose as chat markup."""
    spaced = "".join(c if c.isprintable() else " " for c in text[:MAX_FACT_CHARS])
    return " ".join(spaced.replace("<", "(").replace(">", ")").split())


class ServerWriter:
    """Asks a server for reasoning, no faster than it is allowed to; use it with `async with`."""

    def __init__(
        self, settings: ReasoningConfig, prompt: CotPrompt, choices: Sequence[str]
    ) -> None:
        """Prepare the calls; nothing is sent yet.

        Raises:
            UserError: No model is named.
            rewards.judges.chat.ChatError: An address or key that cannot be used.
        """
        if not settings.model:
            raise UserError("reasoning.model is empty; name the model of the server")
        self._settings = settings
        self._prompt = prompt
        self._choices = choices
        self._interval_s = 60 / settings.calls_per_minute if settings.calls_per_minute else 0.0
        self._next_start = 0.0
        self._client = ChatClient(
            settings.url,
            api_key_env=settings.api_key_env,
            max_concurrent_calls=settings.concurrency,
            timeout_s=settings.timeout_s,
            max_attempts=ATTEMPTS_PER_CALL,
            max_reply_bytes=MAX_REPLY_BYTES,
            breaker_failures=8,
            breaker_cooldown_s=10.0,
        )

    async def __aenter__(self) -> ServerWriter:
        """Return the writer."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connections."""
        await self._client.close()

    async def write(self, row: Row, attempt: int, call: ChatCall) -> str:
        """Return one reasoning text as the server wrote it; it draws another one each time.

        Raises:
            rewards.judges.chat.ChatFailure: There was no reply.
        """
        settings, loop = self._settings, asyncio.get_running_loop()
        start = max(self._next_start, loop.time())
        self._next_start = start + self._interval_s
        await asyncio.sleep(start - loop.time())
        body = {
            "model": settings.model,
            "temperature": settings.temperature,
            "max_tokens": settings.max_tokens,
            "messages": [{"role": "user", "content": self._prompt.render(row, self._choices)}],
        }
        return (await self._client.ask(body, call, loop.time() + 2 * settings.timeout_s)).strip()
