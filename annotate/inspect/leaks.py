"""What stands in two splits at once: voices, sessions, files and sentences."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from configs.errors import UserError
from data.files import Row

KINDS = ("speaker", "unknown_speaker", "session", "sha256", "transcript")
"""What is looked for; `sha256` is the same file, `transcript` the same sentence. An
`unknown_speaker` is none that was found: rows of a data set with several splits have no speaker, so
that nobody can tell whether a voice is in two."""

MAX_LISTED = 10
"""Leaks of a kind that are listed; the rest is counted."""

IDS_PER_SPLIT = 2
"""Examples of a leak that are named, of each split."""


@dataclass(frozen=True, slots=True)
class Leak:
    """One value that stands in two or more splits; or rows of which nobody can tell."""

    kind: str
    """One of `KINDS`."""
    value: str
    """As the first row writes it; of unknown speakers, the data set."""
    splits: tuple[str, ...]
    """Where it stands, sorted; of unknown speakers, one may be all."""
    ids: tuple[str, ...]
    """A few rows of each split."""
    num_rows: int
    """Rows with the value, over all splits."""
    is_allowed: bool
    """Its kind was declared to be shared by design."""


def find_leaks(rows: Iterable[Row], allowed: Collection[str] = ()) -> list[Leak]:
    """Return everything that two or more splits share, by kind and value.

    Speakers and sessions are compared by name alone, whatever corpus the rows come from. Sentences
    are the same if their letters and digits are, whatever their case, punctuation and spaces.

    Args:
        rows: Rows of a manifest: `id`, and where known `split`, `speaker`, `session`, `sha256` and
            `text`, `dataset`. Rows without a split are in none.
        allowed: Kinds that the splits share by design, such as `transcript` where actors read the
            same sentences. Their leaks are found as well, and marked.

    Raises:
        UserError: An unknown kind.
    """
    unknown = sorted(set(allowed) - set(KINDS))
    if unknown:
        raise UserError(f"{unknown[0]!r} is no kind of leak; choose from: {', '.join(KINDS)}")
    holders: dict[tuple[str, str], list[Row]] = {}
    splits: dict[str, set[str]] = defaultdict(set)
    unnamed: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.get("split"):
            dataset = str(row.get("dataset") or "")
            splits[dataset].add(row["split"])
            if not row.get("speaker"):
                unnamed[dataset].append(row)
            for key in _keys(row):
                holders.setdefault(key, []).append(row)
    leaks = [
        _leak(kind, sharing, kind in allowed)
        for (kind, _), sharing in holders.items()
        if len({row["split"] for row in sharing}) > 1
    ]
    leaks += [
        _leak("unknown_speaker", alike, "unknown_speaker" in allowed)
        for dataset, alike in unnamed.items()
        if len(splits[dataset]) > 1
    ]
    return sorted(leaks, key=lambda leak: (KINDS.index(leak.kind), leak.value))


def normalized(text: str) -> str:
    """Return the letters, marks and digits of a text, caseless; empty if it has none."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LMN")


def describe_leaks(leaks: Sequence[Leak]) -> list[str]:
    """Return the leaks as lines to print: a count for each kind, and the first of them."""
    lines: list[str] = []
    unnamed = [leak for leak in leaks if leak.kind == "unknown_speaker"]
    for kind in KINDS:
        alike = [leak for leak in leaks if leak.kind == kind]
        if kind == "unknown_speaker":
            lines += map(_describe_unnamed, unnamed)
            continue
        if not alike:
            is_open = kind == "speaker" and unnamed
            mark, which = ("unknown", "any that is known") if is_open else ("ok", "any")
            lines.append(f"{mark:8}  {kind}: no two splits share {which}")
            continue
        counts = Counter(" + ".join(leak.splits) for leak in alike)
        shared = ", ".join(f"{n} in {splits}" for splits, n in sorted(counts.items()))
        num_rows = sum(leak.num_rows for leak in alike)
        mark = "declared" if alike[0].is_allowed else "LEAK"
        lines.append(f"{mark:8}  {kind}: {shared} ({num_rows} rows)")
        for leak in alike[:MAX_LISTED]:
            shown = f"{leak.num_rows} rows of {' + '.join(leak.splits)}"
            lines.append(
                f"            {leak.value!r}: {shown}, such as {', '.join(map(repr, leak.ids))}"
            )
        if len(alike) > MAX_LISTED:
            lines.append(f"            ... and {len(alike) - MAX_LISTED} more")
    return lines


def _describe_unnamed(leak: Leak) -> str:
    mark = "declared" if leak.is_allowed else "LEAK"
    of = f" of {leak.value}" if leak.value else ""
    return (
        f"{mark:8}  {leak.kind}: {leak.num_rows} rows{of} in {' + '.join(leak.splits)} have no "
        f"speaker, such as {', '.join(map(repr, leak.ids))}: nobody can tell whether a voice is in "
        "two splits"
    )


def _keys(row: Row) -> Iterator[tuple[str, str]]:
    """Yield kind and value of what no row of another split may have."""
    for kind in ("speaker", "session", "sha256"):
        if row.get(kind):
            yield kind, str(row[kind])
    letters = normalized(row.get("text") or "")
    if letters:
        yield "transcript", letters


def _leak(kind: str, rows: Sequence[Row], is_allowed: bool) -> Leak:
    splits = tuple(sorted({row["split"] for row in rows}))
    ids: list[str] = []
    for split in splits:
        ids += [row["id"] for row in rows if row["split"] == split][:IDS_PER_SPLIT]
    field = {"transcript": "text", "unknown_speaker": "dataset"}.get(kind, kind)
    value = str(rows[0].get(field) or "")
    return Leak(kind, value, splits, tuple(ids), len(rows), is_allowed)
