"""What stands in two splits at once: voices, sessions, files and sentences."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.errors import UserError
from data.files import Row
from data.manifest import OTHER_CLIPS
from data.records import BoolArray, IntArray
from data.stored import HashMap, text_hash

KINDS = ("speaker", "unknown_speaker", "session", "sha256", "transcript")
"""What is looked for; `sha256` is the same file, `transcript` the same sentence. An
`unknown_speaker` is none that was found: rows of a data set with several splits have no speaker, so
that nobody can tell whether a voice is in two."""

COMPARED = ("speaker", "session", "sha256", "transcript")
"""Kinds of which a row has at most one value."""

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


def find_leaks(rows: Collection[Row], allowed: Collection[str] = ()) -> list[Leak]:
    """Return everything that two or more splits share, by kind and value.

    Speakers and sessions are compared by name alone, whatever corpus the rows come from. Sentences
    are the same if their letters and digits are, whatever their case, punctuation and spaces.

    The rows are read twice, the second time for the values whose hashes are in several splits. What
    stays in memory is four hashes of each row, and what is shared.

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
    hashes = {kind: np.zeros(len(rows), np.int64) for kind in COMPARED}
    codes: dict[str, int] = {}
    placed = np.full(len(rows), -1, np.int32)
    datasets: dict[str, set[str]] = {}
    unnamed: dict[str, _Holders] = {}
    for place, row in enumerate(rows):
        if row.get("split"):
            placed[place] = codes.setdefault(row["split"], len(codes))
            dataset = str(row.get("dataset") or "")
            datasets.setdefault(dataset, set()).add(row["split"])
            if not row.get("speaker"):
                unnamed.setdefault(dataset, _Holders(dataset)).add(row)
            for kind, value in _keys(row):
                hashes[kind][place] = hash(value) or 1  # 0 is none
    suspects = {kind: _shared(values, placed) for kind, values in hashes.items()}
    holders: dict[tuple[str, str], _Holders] = {}
    is_suspect = np.any(list(suspects.values()), axis=0)
    for place, row in enumerate(rows) if is_suspect.any() else ():
        if is_suspect[place]:
            for kind, value in _keys(row):
                if suspects[kind][place]:
                    first = str(row.get("text" if kind == "transcript" else kind) or "")
                    holders.setdefault((kind, value), _Holders(first)).add(row)
    leaks = [
        held.leak(kind, kind in allowed)
        for (kind, _), held in holders.items()
        if len(held.ids) > 1  # two values may have one hash
    ]
    leaks += [
        held.leak("unknown_speaker", "unknown_speaker" in allowed)
        for dataset, held in unnamed.items()
        if len(datasets[dataset]) > 1
    ]
    return sorted(leaks, key=lambda leak: (KINDS.index(leak.kind), leak.value))


def with_other_clips(rows: Sequence[Row], sha256_of: Callable[[str], str]) -> Iterator[Row]:
    """Yield rows and a row for each clip that is heard beside one's own, in the split of that row.

    Its id names both. Who speaks in it, and what, is told by the row that is about it; if there is
    none, nobody can tell.

    Args:
        rows: As `data.manifest.read_leniently` yields them.
        sha256_of: Clip -> the hash of its file.
    """
    about = HashMap()
    for place, row in enumerate(rows):
        about.put(text_hash(row["audio"]), place)
        yield row
    for row in rows:
        for clip in row.get(OTHER_CLIPS, ()):
            place = about.get(text_hash(clip))
            clip_row = {} if place is None else rows[place]
            yield {
                **{key: clip_row.get(key) for key in ("speaker", "session", "text")},
                "id": f"{row['id']}, its clip {clip}",
                "split": row.get("split"),
                "dataset": row.get("dataset"),
                "sha256": sha256_of(clip),
            }


def _shared(hashes: IntArray, splits: NDArray[np.int32]) -> BoolArray:
    """Return which rows have a hash, other than 0, that a row of another split has as well."""
    order = np.lexsort((splits, hashes))
    values, held = hashes[order], splits[order]
    # Where the same value goes on in another split.
    meets = (values[1:] == values[:-1]) & (held[1:] != held[:-1]) & (values[1:] != 0)
    return np.isin(hashes, values[1:][meets])


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


class _Holders:
    """The rows that have one value: how many, and the first of each split."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.num_rows = 0
        self.ids: dict[str, list[str]] = {}

    def add(self, row: Row) -> None:
        self.num_rows += 1
        ids = self.ids.setdefault(row["split"], [])
        if len(ids) < IDS_PER_SPLIT:
            ids.append(row["id"])

    def leak(self, kind: str, is_allowed: bool) -> Leak:
        splits = tuple(sorted(self.ids))
        ids = tuple(name for split in splits for name in self.ids[split])
        return Leak(kind, self.value, splits, ids, self.num_rows, is_allowed)
