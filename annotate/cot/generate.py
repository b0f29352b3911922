"""From annotated rows to checked reasoning: every attempt is kept, nothing is asked twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import repeat, tee
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from annotate.cot import template
from annotate.cot.duplicates import Duplicates
from annotate.cot.filters import Limits, find_faults
from annotate.cot.server import CotPrompt, ServerWriter
from configs.annotate_schema import ReasoningConfig
from data.files import Row, append_row, iterate_appended
from data.progress import FIRST_REPORT_S, MAX_REPORT_S
from data.stored import RowsById
from data.workers import worker_map
from rewards.judges.chat import ChatCall, ChatFailure

logger = logging.getLogger(__name__)

Write = Callable[[Row, int, ChatCall], Awaitable[str]]
"""Row, number of the attempt, and the call that takes the costs -> text; raises ChatFailure."""

MAX_FAILED_IN_A_ROW = 20
"""Calls without a reply after which the server is given up."""

MANY_ROWS = 5_000
"""Rows from which the template is worth the start of other processes."""


Ready = tuple[str, tuple[str, ...]]
"""A text and its faults."""

Value = TypeVar("Value")


class Attempts(Mapping[str, Value]):
    """Row id -> what an attempt at its text gave, read from the journal when it is asked for."""

    def __init__(self, rows: Sequence[dict[str, Any]], read: Callable[[int], Value]) -> None:
        """Start with none; `read` returns what stands at a byte of the journal."""
        self.starts = np.full(len(rows), -1)
        """Byte of the attempt of each row; -1 for a row without."""
        self._rows = rows
        self._read = read

    def at(self, place: int) -> Value | None:
        """Return that of a row by its place; None if it has none."""
        start = int(self.starts[place])
        return None if start < 0 else self._read(start)

    def __iter__(self) -> Iterator[str]:
        """Yield the ids, in the order of the rows."""
        return (self._rows[int(place)]["id"] for place in np.flatnonzero(self.starts >= 0))

    def __len__(self) -> int:
        """Return how many rows have one."""
        return int((self.starts >= 0).sum())

    def __getitem__(self, name: str) -> Value:
        """Return that of a row by its id."""
        place = self._by_id.place(name)
        if place is None or self.starts[place] < 0:
            raise KeyError(name)
        return self._read(int(self.starts[place]))

    @cached_property
    def _by_id(self) -> RowsById:
        return RowsById(self._rows)


@dataclass
class Generated:
    """What became of the rows."""

    accepted: Attempts[str]
    """Row id -> its reasoning."""
    given_up: Attempts[tuple[str, ...]]
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
    rows: Sequence[dict[str, Any]],
    journal: Path,
    *,
    choices: Sequence[str],
    seed: int,
    num_workers: int = 1,
) -> Generated:
    """Ask for a reasoning text for every row until one has no fault, or no attempt is left.

    Args:
        settings: Source, filters and budget. No call begins beyond `max_calls`, though requests
            that a call repeats come on top; what is under way at `max_cost` is paid.
        rows: Of an annotated manifest.
        journal: File of all attempts; earlier ones with the same settings count.
        choices: All labels.
        seed: Of the template.
        num_workers: Processes that write and check the template's texts of many rows.

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
            is_long = len(rows) >= MANY_ROWS
            first = partial(_first_text, seed, tuple(choices), generation.limits)
            ready = partial(worker_map, first, num_workers=num_workers if is_long else 1)
            return await generation.run(from_template, ready)
        async with ServerWriter(settings, prompt, choices) as server:
            return await generation.run(server.write)

    return asyncio.run(run())


def _first_text(seed: int, choices: tuple[str, ...], limits: Limits, row: Row) -> Ready:
    text = template.write_reasoning(row, 0, seed)
    return text, find_faults(text, row["label"], choices, row.get("prosody"), limits)


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
        self.usage: Counter[str] = Counter()
        self.is_empty = True
        for _, entry in iterate_appended(path):
            self.usage.update(entry["usage"])
            self.is_empty = self.is_empty and entry["spec"] != spec

    def entries(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the attempts of this specification, each after its first byte in the file."""
        every = iterate_appended(self._path)
        return ((start, entry) for start, entry in every if entry["spec"] == self._spec)

    def add(self, entry: Mapping[str, Any]) -> int:
        """Write an attempt down, and return its first byte."""
        self.usage.update(entry["usage"])
        return append_row(self._path, {**entry, "spec": self._spec})

    def read(self, start: int) -> dict[str, Any]:
        """Return the attempt at a byte."""
        self._file.seek(start)
        return json.loads(self._file.readline())

    @cached_property
    def _file(self) -> BinaryIO:
        file = self._path.open("rb")
        weakref.finalize(self, file.close)
        return file


def row_key(row: Row) -> str:
    """Return a digest of what a text about this row depends on."""
    facts = [row["id"], row["label"], row.get("text"), row.get("prosody")]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


class _Generation:
    """One pass over the rows, which go by their places."""

    def __init__(
        self,
        settings: ReasoningConfig,
        rows: Sequence[dict[str, Any]],
        journal: Journal,
        choices: Sequence[str],
    ) -> None:
        self.limits = Limits(settings.min_words, settings.max_words, settings.margin)
        self.texts = Generated(
            Attempts(rows, lambda start: journal.read(start)["reasoning"]),
            Attempts(rows, lambda start: tuple(journal.read(start)["faults"])),
        )
        self._settings = settings
        self._rows = rows
        self._journal = journal
        self._choices = choices
        self._duplicates = Duplicates(lambda place: self.texts.accepted.at(place) or "")
        self._attempts = np.zeros(len(rows), np.int32)
        self._failed_in_a_row = 0
        self._under_way = 0
        self._num_accepted = self._num_given_up = 0
        self._due = time.monotonic() + FIRST_REPORT_S
        if not journal.is_empty:
            keys = np.fromiter((_number(row_key(row)) for row in rows), np.uint64, len(rows))
            order = np.argsort(keys)
            for start, entry in journal.entries():
                rank = np.searchsorted(keys, np.uint64(_number(entry["key"])), sorter=order)
                place = int(order[min(int(rank), len(rows) - 1)])
                if keys[place] == _number(entry["key"]):
                    self._take(place, start, entry)

    async def run(self, write: Write, ready: Callable[..., Iterator[Ready]] | None = None):
        """Return what became of the rows; `ready` gives first texts of many rows, if it can."""
        waiting = _Waiting(self._rows, self._is_done, ready if not self._attempts.any() else None)
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.concurrency):
                group.create_task(self._work(write, waiting))
        self.texts.usage = self._journal.usage
        return self.texts

    async def _work(self, write: Write, waiting: _Waiting) -> None:
        """Write one row after another, until none is left or no further call may begin."""
        while not self._is_stopped():
            if self._is_spent(self._under_way):
                return  # unless a call under way fails, and whoever makes it goes on
            if (taken := waiting.take()) is None:
                return
            place, row, ready = taken
            self._under_way += 1
            await self._attempt(write, place, row, ready)
            self._under_way -= 1
            if not self._is_done(place) and row["id"] not in self.texts.failed:
                waiting.give_back(place, row)
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

    async def _attempt(self, write: Write, place: int, row: Row, ready: Ready | None) -> None:
        call = ChatCall()
        if ready is None:
            try:
                text = await write(row, int(self._attempts[place]), call)
            except ChatFailure as failure:
                self._failed_in_a_row += 1
                self.texts.failed[row["id"]] = str(failure)
                return
            label, prosody = row["label"], row.get("prosody")
            ready = text, find_faults(text, label, self._choices, prosody, self.limits)
        text, faults = ready
        self._failed_in_a_row = 0
        copied = self._duplicates.find(text)
        if copied is not None:
            faults = (*faults, f"duplicate: of {self._rows[copied]['id']}")
        entry = {
            "id": row["id"],
            "key": row_key(row),
            "reasoning": text,
            "faults": faults,
            "usage": {"calls": call.attempts, **call.usage},
        }
        self._take(place, self._journal.add(entry), entry)

    def _take(self, place: int, start: int, entry: Mapping[str, Any]) -> None:
        """Count an attempt, of this run or an earlier one."""
        texts = self.texts
        self._attempts[place] += 1
        texts.faults.update({fault.partition(":")[0] for fault in entry["faults"]})
        if texts.accepted.starts[place] >= 0:
            return
        if not entry["faults"]:
            texts.accepted.starts[place] = start
            self._num_accepted += 1
            # An earlier run may have allowed more attempts.
            self._num_given_up -= int(texts.given_up.starts[place] >= 0)
            texts.given_up.starts[place] = -1
            self._duplicates.keep(place, entry["reasoning"])
        elif self._attempts[place] >= self._settings.max_attempts:
            self._num_given_up += int(texts.given_up.starts[place] < 0)
            texts.given_up.starts[place] = start

    def _is_done(self, place: int) -> bool:
        texts = self.texts
        return bool(texts.accepted.starts[place] >= 0 or texts.given_up.starts[place] >= 0)

    def _report(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + MAX_REPORT_S
            logger.info(
                f"reasoning: {self._num_accepted} of {len(self._rows)} rows accepted, "
                f"{self._num_given_up} given up, {len(self.texts.failed)} without reply"
            )


class _Waiting:
    """The rows that are not done: those that come back first, then the others in order."""

    def __init__(
        self,
        rows: Sequence[dict[str, Any]],
        is_done: Callable[[int], bool],
        ready: Callable[..., Iterator[Ready]] | None,
    ) -> None:
        self._again: list[tuple[int, Row]] = []
        places = (place for place in range(len(rows)) if not is_done(place))
        fresh = ((place, rows[place]) for place in places)
        if ready is None:
            self._fresh = zip(fresh, repeat(None), strict=False)
        else:
            fresh, ahead = tee(fresh)
            self._fresh = zip(fresh, ready(row for _, row in ahead), strict=False)

    def take(self) -> tuple[int, Row, Ready | None] | None:
        """Return a row, its place, and its text if that is there already; None if none is left."""
        if self._again:
            return *self._again.pop(), None
        (place, row), text = next(self._fresh, ((-1, {}), None))
        return None if place < 0 else (place, row, text)

    def give_back(self, place: int, row: Row) -> None:
        """Let a row be the next."""
        self._again.append((place, row))


def _number(key: str) -> int:
    """Return the first 64 bits of a digest."""
    return int(key[:16], 16)
