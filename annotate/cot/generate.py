"""From annotated rows to checked reasoning: every attempt is kept, nothing is asked twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from annotate.cot.filters import Duplicates, Limits, find_faults
from annotate.cot.template import write_reasoning
from annotate.progress import FIRST_REPORT_S, MAX_REPORT_S
from data.files import append_row, read_appended
from rewards.judges.chat import ChatCall, ChatFailure

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]

MAX_FAILED_IN_A_ROW = 20
"""Calls without a reply after which the server is given up."""


class Writer(Protocol):
    """Writes one reasoning text for a row."""

    async def write(self, row: Row, attempt: int, call: ChatCall) -> str:
        """Return the text of one attempt at a row, and put what it cost into the call.

        Raises `rewards.judges.chat.ChatFailure` if there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class TemplateWriter:
    """The offline writer: `annotate.cot.template`."""

    seed: int

    async def write(self, row: Row, attempt: int, call: ChatCall) -> str:
        """Return the template's text; every attempt at a row gives another one."""
        del call
        return write_reasoning(row, attempt, self.seed)


@dataclass(frozen=True, slots=True)
class Budget:
    """What generation may cost, over all runs that wrote to one file.

    No call begins beyond `max_calls`, though requests that a call repeats come on top; what is
    under way when `max_cost` is reached is paid.
    """

    max_calls: int = 0
    """Requests of calls that got a reply; 0 = any number."""
    max_cost: float = 0.0
    """In the currency of the prices; 0 = any."""
    prompt_price: float = 0.0
    """Of a million prompt tokens."""
    completion_price: float = 0.0
    """Of a million completion tokens."""

    def cost(self, usage: Mapping[str, int]) -> float:
        """Return what so many tokens cost."""
        prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
        return (prompt * self.prompt_price + completion * self.completion_price) / 1e6

    def is_spent(self, usage: Mapping[str, int], under_way: int = 0) -> bool:
        """Return whether no further call may begin beside those under way."""
        over_calls = 0 < self.max_calls <= usage.get("calls", 0) + under_way
        return over_calls or 0 < self.max_cost <= self.cost(usage)


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
        self.entries: list[dict[str, Any]] = []
        self.usage: Counter[str] = Counter()
        for entry in read_appended(path):
            self._count(entry)
            if entry["spec"] == spec:
                self.entries.append(entry)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write an attempt down."""
        complete = {**entry, "spec": self._spec}
        append_row(self._path, complete)
        self._count(complete)
        self.entries.append(complete)

    def _count(self, entry: Mapping[str, Any]) -> None:
        self.usage.update(entry["usage"])


def row_key(row: Row) -> str:
    """Return a digest of what a text about this row depends on."""
    facts = [row["id"], row["label"], row.get("text"), row.get("prosody")]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


async def generate(
    rows: Sequence[Row],
    writer: Writer,
    journal: Journal,
    *,
    choices: Sequence[str],
    limits: Limits,
    max_attempts: int,
    concurrency: int,
    budget: Budget,
) -> Generated:
    """Ask for a reasoning text for every row until one has no fault.

    Args:
        rows: Of an annotated manifest.
        writer: Template or server.
        journal: Of earlier runs; takes the attempts of this one.
        choices: All labels.
        limits: Of the filters.
        max_attempts: Attempts per row.
        concurrency: Rows that are written at a time.
        budget: What may be spent.

    Returns:
        The accepted texts, and what was wrong with the others.
    """
    run = _Run(rows, writer, journal, choices, limits, max_attempts, budget)
    await run.run(concurrency)
    return run.found


class _Run:
    """One pass over the rows."""

    def __init__(
        self,
        rows: Sequence[Row],
        writer: Writer,
        journal: Journal,
        choices: Sequence[str],
        limits: Limits,
        max_attempts: int,
        budget: Budget,
    ) -> None:
        self.found = Generated()
        self._writer = writer
        self._journal = journal
        self._choices = choices
        self._limits = limits
        self._max_attempts = max_attempts
        self._budget = budget
        self._duplicates = Duplicates()
        self._attempts: Counter[str] = Counter()
        self._rows = list(rows)
        self._failed_in_a_row = 0
        self._under_way = 0
        self._due = 0.0
        by_key = {row_key(row): row for row in rows}
        for entry in journal.entries:
            row = by_key.get(entry["key"])
            if row is not None:
                self._take(row, entry)

    async def run(self, concurrency: int) -> None:
        waiting = deque(row for row in self._rows if not self._is_done(row))
        self._due = time.monotonic() + FIRST_REPORT_S
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._work(waiting))
        self.found.usage = self._journal.usage

    async def _work(self, waiting: deque[Row]) -> None:
        """Write one row after another, until none is left or no further call may begin."""
        while waiting and not self._is_stopped():
            if self._budget.is_spent(self._journal.usage, self._under_way):
                return  # unless a call under way fails, and whoever makes it goes on
            row = waiting.popleft()
            self._under_way += 1
            await self._attempt(row)
            self._under_way -= 1
            if not self._is_done(row) and row["id"] not in self.found.failed:
                waiting.appendleft(row)
            self._report()

    def _is_stopped(self) -> bool:
        if self._budget.is_spent(self._journal.usage):
            self.found.stopped = "the budget is spent"
        elif self._failed_in_a_row >= MAX_FAILED_IN_A_ROW:
            self.found.stopped = f"{MAX_FAILED_IN_A_ROW} calls in a row failed"
        return bool(self.found.stopped)

    async def _attempt(self, row: Row) -> None:
        call = ChatCall()
        try:
            text = await self._writer.write(row, self._attempts[row["id"]], call)
        except ChatFailure as failure:
            self._failed_in_a_row += 1
            self.found.failed[row["id"]] = str(failure)
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
        name = row["id"]
        self._attempts[name] += 1
        faults = tuple(entry["faults"])
        self.found.faults.update({fault.partition(":")[0] for fault in faults})
        if not faults and name not in self.found.accepted:
            self.found.accepted[name] = entry["reasoning"]
            self.found.given_up.pop(name, None)  # an earlier run may have allowed more attempts
            self._duplicates.keep(name, entry["reasoning"])
        elif name not in self.found.accepted and self._attempts[name] >= self._max_attempts:
            self.found.given_up[name] = faults

    def _is_done(self, row: Row) -> bool:
        return row["id"] in self.found.accepted or row["id"] in self.found.given_up

    def _report(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + MAX_REPORT_S
            logger.info(
                f"reasoning: {len(self.found.accepted)} of {len(self._rows)} rows accepted, "
                f"{len(self.found.given_up)} given up, {len(self.found.failed)} without reply"
            )
