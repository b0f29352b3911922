"""Reasoning from a chat server: what it is asked, and how often it may be."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.cot.template import clearness
from configs.errors import UserError
from rewards.judges.chat import ChatCall, ChatClient

PLACEHOLDERS = ("label", "choices", "transcript", "speaker", "cues")
"""Names that a template may write in braces."""

MAX_FACT_CHARS = 2_000
"""Cap of the transcript in the message."""

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

    def render(self, row: Mapping[str, Any], choices: Sequence[str]) -> str:
        """Return the message for a row of an annotated manifest."""
        facts = {
            "label": row["label"],
            "choices": ", ".join(choices),
            "transcript": f'"{_plain(str(row["text"]))}"' if row.get("text") else "not known",
            "speaker": row.get("sex") or "not described",
            "cues": render_cues(row.get("prosody") or {}),
        }
        return _PLACEHOLDER.sub(lambda name: facts[name[1]], self.template)


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


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the server is asked to write."""

    model: str
    temperature: float
    max_tokens: int
    deadline_s: float


class ServerWriter:
    """Asks a server for reasoning, no faster than it is allowed to."""

    def __init__(
        self,
        client: ChatClient,
        prompt: CotPrompt,
        sampling: Sampling,
        choices: Sequence[str],
        calls_per_minute: float,
    ) -> None:
        """Keep the parts.

        Args:
            client: Of the server.
            prompt: What it is asked.
            sampling: Model, temperature, longest reply in tokens, longest time of a call.
            choices: All labels.
            calls_per_minute: Calls that may begin in a minute, evenly spaced; 0 = any number.
        """
        self._client = client
        self._prompt = prompt
        self._sampling = sampling
        self._choices = choices
        self._interval_s = 60 / calls_per_minute if calls_per_minute else 0.0
        self._next_start = 0.0

    async def write(self, row: Mapping[str, Any], attempt: int, call: ChatCall) -> str:
        """Return one reasoning text as the server wrote it.

        Args:
            row: Of an annotated manifest.
            attempt: Not used: the server draws another text each time.
            call: Takes what it costs.

        Raises:
            rewards.judges.chat.ChatFailure: There was no reply.
        """
        del attempt
        loop = asyncio.get_running_loop()
        start = max(self._next_start, loop.time())
        self._next_start = start + self._interval_s
        await asyncio.sleep(start - loop.time())
        body = {
            "model": self._sampling.model,
            "temperature": self._sampling.temperature,
            "max_tokens": self._sampling.max_tokens,
            "messages": [{"role": "user", "content": self._prompt.render(row, self._choices)}],
        }
        deadline = loop.time() + self._sampling.deadline_s
        return (await self._client.ask(body, call, deadline)).strip()
