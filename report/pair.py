"""The answers of two evaluations to the same clips, side by side, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import UserError
from data.files import Row
from evaluation.compare import describe_answers
from evaluation.files import read_answers
from report.data import (
    MAX_SOUND_S,
    Source,
    clip_name,
    clip_names,
    heard_in,
    levels,
    read_run,
    shown_clips,
    shown_sample,
    sources_of,
)
from rewards.accuracy import canonical_label

Key = tuple[str | None, str]
"""Benchmark (None for the test split) and id: one id in two benchmarks is two clips."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Two evaluations, A and B, at the clips that both have."""

    names: tuple[str, str]
    rows: Sequence[Row]
    """One per clip in A's order: `id`, `audio` with any `clips`, `differ` (of the answers), `sides`
    of A and B as `shown_sample` gives them, `other_audio` where B names other files."""
    alone: tuple[int, int]
    """Clips that only A, or only B, has; they are left out."""
    words: str
    """Accuracy, difference, interval and p over these clips."""
    clips: Mapping[str, Mapping[str, Any]]
    """Of `shown_clips`, by `audio`."""
    levels: Mapping[str, str]
    """Measured levels in words, by `audio`."""

    @property
    def labels(self) -> list[str]:
        """Gold labels, as either run spells them."""
        return sorted({str(side["label"]) for row in self.rows for side in row["sides"]})

    @property
    def terms(self) -> list[str]:
        """Reward terms that both runs have scored somewhere."""
        scored = [
            {name for row in self.rows for name in row["sides"][place]["terms"]} for place in (0, 1)
        ]
        return sorted(scored[0] & scored[1])


def read_pairs(first: Path, second: Path, *, num_clips: int) -> Pairs:
    """Return the answers of two run folders to the clips that both have.

    Args:
        first: A.
        second: B; its labels may be others.
        num_clips: Clips that are drawn, those first whose answers differ.

    Raises:
        UserError: A folder holds no run or no answers, or they have no clip in common.
    """
    configs = [read_run(run).config for run in (first, second)]
    answers = [
        {(row.get("benchmark") or None, str(row["id"])): row for row in read_answers(run)}
        for run in (first, second)
    ]
    common = [key for key in answers[0] if key in answers[1]]
    if not common:
        ids = [next((key[1] for key in rows), "none") for rows in answers]
        raise UserError(
            f"{first} and {second} have no clip in common: the first ids are {ids[0]!r} and "
            f"{ids[1]!r}; compare evaluations of the same manifest"
        )
    sources = [sources_of(config, {key[0] for key in common}) for config in configs]
    rows, measured = [], {}
    for key in common:
        sides = [rows_of[key] for rows_of in answers]
        prosody = next(filter(None, (s[key[0]].prosody.get(key[1]) for s in sources)), None)
        rows.append(_pair(sides, prosody, [config["rewards"]["aliases"] for config in configs]))
        if prosody is not None:
            measured[rows[-1]["audio"]] = levels(prosody)
    by_interest = sorted(zip(common, rows, strict=True), key=lambda item: not item[1]["differ"])
    return Pairs(
        names=(str(configs[0]["name"]), str(configs[1]["name"])),
        rows=rows,
        alone=(len(answers[0]) - len(common), len(answers[1]) - len(common)),
        words=describe_answers(*([rows_of[key] for key in common] for rows_of in answers)),
        clips=_clips(by_interest[:num_clips], answers[0], sources[0], configs[0]),
        levels=measured,
    )


def _pair(
    sides: Sequence[Row], prosody: Mapping[str, Any] | None, aliases: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    # Two runs may spell one emotion in two ways; each knows its own.
    answers = [
        side["answer"] if side["answer"] is None else canonical_label(side["answer"], spellings)
        for side, spellings in zip(sides, aliases, strict=True)
    ]
    first, second = sides
    pair = {
        "id": first["id"],
        **clip_names(first),
        "differ": answers[0] != answers[1],
        "sides": [shown_sample(side, prosody) for side in sides],
    }
    same = heard_in(first) == heard_in(second)
    return pair if same else {**pair, "other_audio": ", ".join(heard_in(second))}


def _clips(
    wanted: Sequence[tuple[Key, Row]],
    answers: Mapping[Key, Row],
    sources: Mapping[str | None, Source],
    config: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    paths = {
        clip_name(answers[key].get("benchmark"), audio): (sources[key[0]].root, audio)
        for key, _ in wanted
        for audio in heard_in(answers[key])
    }
    links = bool(config["data"].get("follow_links"))
    return shown_clips(paths, MAX_SOUND_S, follow_links=links)
