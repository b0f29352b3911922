"""From annotated rows to checked reasoning: every attempt is kept, nothing is asked twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate.cot import template
from annotate.cot.filters import Duplicates, Limits, find_faults
from annotate.cot.server import CotPrompt, ServerWriter
from configs.annotate_schema import ReasoningConfig
from data.files import Row, append_row, read_appended
from data.progress import FIRST_REPORT_S, MAX_REPORT_S
from rewards.judges.chat import ChatCall, ChatFailure

logger = logging.getLogger(__name__)

Write = Callable[[Row, int, ChatCall], Awaitable[str]]
"""Row, number of the attempt, and the call that takes the costs -> text; raises ChatFailure."""

MAX_FAILED_IN_A_ROW = 20
"""Calls without a reply after which the server is given up."""


@dataclass
class Generated:
    """What became of the rows."""

    accepted: dict[str, str] = field(default_factory=dict[str, str])
    """Row id -> its reasoning."""
    given_up: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Row id -> faults of its last attempt; no attempt is left."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Row id -> why the writer gave no text this time; another run asks again."""
    faults: Counter[str] = field(default_factory=Counter[str])
    """Kind of fault -> attempts, over all runs."""
    usage: Counter[str] = field(default_factory=Counter[str])
    """`calls`, `prompt_tokens`, `completion_tokens`, over all runs."""
    stopped: str = ""
    """Why rows were left unasked; empty if none were."""


def generate_reasoning(
    settings: ReasoningConfig,
    rows: Sequence[Row],
    journal: Path,
    *,
    choices: Sequence[str],
    seed: int,
) -> Generated:
    """Ask for a reasoning text for every row until one has no fault, or no attempt is left.

    Args:
        settings: Source, filters and budget. No call begins beyond `max_calls`, though requests
            that a call repeats come on top; what is under way at `max_cost` is paid.
        rows: Of an annotated manifest.
        journal: File of all attempts; earlier ones with the same settings count.
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
    generation = _Generation(settings, rows, attempts, choices)

    async def from_template(row: Row, attempt: int, call: ChatCall) -> str:
        return template.write_reasoning(row, attempt, seed)

    async def run() -> Generated:
        if prompt is None:
            return await generation.run(from_template)
        async with ServerWriter(settings, prompt, choices) as server:
            return await generation.run(server.write)

    return asyncio.run(run())


def cost_of(settings: ReasoningConfig, usage: Mapping[str, int]) -> float:
    """Return what so many tokens cost, in the currency of the prices."""
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return (prompt * settings.prompt_price + completion * settings.completion_price) / 1e6


class Journal:
    """The attempts on disk, one JSON object a line: what a killed run has done is not lost."""

    def __init__(self, path: Path, spec: str) -> None:
        """Read what is there.

        Args:
            path: JSON Lines file; made with the first attempt.
            spec: Digest of everything that shapes the texts. Attempts of another one do not count
                as attempts; what they cost does.
        """
        self._path = path
        self._spec = spec
        every = read_appended(path)
        self.entries = [entry for entry in every if entry["spec"] == spec]
        self.usage: Counter[str] = Counter()
        for entry in every:
            self.usage.update(entry["usage"])

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write an attempt down."""
        append_row(self._path, {**entry, "spec": self._spec})
        self.usage.update(entry["usage"])


def row_key(row: Row) -> str:
    """Return a digest of what a text about this row depends on."""
    facts = [row["id"], row["label"], row.get("text"), row.get("prosody")]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


class _Generation:
    """One pass over the rows."""

    def __init__(
        self,
        settings: ReasoningConfig,
        rows: Sequence[Row],
        journal: Journal,
        choices: Sequence[str],
    ) -> None:
        self.texts = Generated()
        self._settings = settings
        self._rows = rows
        self._journal = journal
        self._choices = choices
        self._limits = Limits(settings.min_words, settings.max_words, settings.margin)
        self._duplicates = Duplicates()
        self._attempts: Counter[str] = Counter()
        self._failed_in_a_row = 0
        self._under_way = 0
        self._due = time.monotonic() + FIRST_REPORT_S
        by_key = {row_key(row): row for row in rows}
        for entry in journal.entries:
            if entry["key"] in by_key:
                self._take(by_key[entry["key"]], entry)

    async def run(self, write: Write) -> Generated:
        waiting = deque(row for row in self._rows if not self._is_done(row))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.concurrency):
                group.create_task(self._work(write, waiting))
        self.texts.usage = self._journal.usage
        return self.texts

    async def _work(self, write: Write, waiting: deque[Row]) -> None:
        """Write one row after another, until none is left or no further call may begin."""
        while waiting and not self._is_stopped():
            if self._is_spent(self._under_way):
                return  # unless a call under way fails, and whoever makes it goes on
            row = waiting.popleft()
            self._under_way += 1
            await self._attempt(write, row)
            self._under_way -= 1
            if not self._is_done(row) and row["id"] not in self.texts.failed:
                waiting.appendleft(row)
            self._report()

    def _is_stopped(self) -> bool:
        if self._is_spent():
            self.texts.stopped = "the budget is spent"
        elif self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            self.texts.stopped = f"{MAX_FAILED_IN_A_ROW} calls in a row failed"
        return bool(self.texts.stopped)

    def _is_spent(self, under_way: int = 0) -> bool:
        """Return whether no further call may begin beside those under way."""
        usage, max_cost = self._journal.usage, self._settings.max_cost
        over_calls = 0 < self._settings.max_calls <= usage["calls"] + under_way
        return over_calls or 0 < max_cost <= cost_of(self._settings, usage)

    async def _attempt(self, write: Write, row: Row) -> None:
        call = ChatCall()
        try:
            text = await write(row, self._attempts[row["id"]], call)
        except ChatFailure as failure:
            self._failed_in_a_row += 1
            self.texts.failed[row["id"]] = str(failure)
            return
        self._failed_in_a_row = 0
        faults = find_faults(text, row["label"], self._choices, row.get("prosody"), self._limits)
        copied = self._duplicates.find(text)
        if copied is not None:
            faults = (*faults, f"duplicate: of {copied}")
        entry = {
            "id": row["id"],
            "key": row_key(row),
            "reasoning": text,
            "faults": faults,
            "usage": {"calls": call.attempts, **call.usage},
        }
        self._journal.add(entry)
        self._take(row, entry)

    def _take(self, row: Row, entry: Mapping[str, Any]) -> None:
        """Count an attempt, of this run or an earlier one."""
        name, texts = row["id"], self.texts
        self._attempts[name] += 1
        faults = tuple(entry["faults"])
        texts.faults.update({fault.partition(":")[0] for fault in faults})
        if name in texts.accepted:
            return
        if not faults:
            texts.accepted[name] = entry["reasoning"]
            texts.given_up.pop(name, None)  # an earlier run may have allowed more attempts
            self._duplicates.keep(name, entry["reasoning"])
        elif self._attempts[name] >= self._settings.max_attempts:
            texts.given_up[name] = faults

    def _is_done(self, row: Row) -> bool:
        return row["id"] in self.texts.accepted or row["id"] in self.texts.given_up

    def _report(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + MAX_REPORT_S
            logger.info(
                f"reasoning: {len(self.texts.accepted)} of {len(self._rows)} rows accepted, "
                f"{len(self.texts.given_up)} given up, {len(self.texts.failed)} without reply"
            )
