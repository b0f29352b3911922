"""From a corpus on disk to rows of a manifest: labels mapped, clips probed and hashed."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import Any

import yaml

from annotate.corpora.base import CorpusClip
from annotate.corpora.facts import facts_of
from annotate.corpora.table import CORPORA
from configs.errors import UserError
from data.labels import alike_labels
from data.links import ClipRoot
from data.manifest import first_of
from data.progress import reported

LABELS = Path(__file__).parent / "labels"
"""One YAML file a corpus: maps from its labels to ours."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """How a corpus's labels become ours."""

    targets: Mapping[str, str]
    """Raw label -> label."""
    drop: Mapping[str, str]
    """Raw labels whose clips are left out -> why."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The labels there are afterwards, in the map's order."""
        return tuple(dict.fromkeys(self.targets.values()))

    @property
    def merges(self) -> dict[str, tuple[str, ...]]:
        """Label -> the two or more raw labels that become it."""
        sources: dict[str, list[str]] = {}
        for raw, label in self.targets.items():
            sources.setdefault(label, []).append(raw)
        return {label: tuple(raw) for label, raw in sources.items() if len(raw) > 1}


@dataclass(frozen=True, slots=True)
class Converted:
    """A corpus as rows of a manifest."""

    rows: Any
    """As they were stored, sorted by id; without the clips that were dropped or cannot be used."""
    failed: list[dict[str, str]]
    """`id` and `reason` of each clip that cannot be used."""
    dropped: Mapping[str, int]
    """Raw label -> clips left out because the label map says so."""
    labels: LabelMap
    """What was applied."""


def load_label_map(corpus: str, name: str) -> LabelMap:
    """Return a label map of a corpus.

    Args:
        corpus: Name in the table of corpora.
        name: `nine` (the paper's labels), `own` (the benchmark's own set), or the path of a YAML
            file with the keys `labels` and, if need be, `drop`.

    Raises:
        UserError: No such map, or a file that is none.
    """
    path = LABELS / f"{corpus}.yaml" if name in ("nine", "own") else Path(name)
    key = name if name in ("nine", "own") else "labels"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not a label map ({error}); see docs/corpora.md") from error
    targets = content.get(key) if isinstance(content, dict) else None
    drops = [content.get(f"drop{end}") or {} for end in ("", f"_{key}")] if targets else []
    for what in (targets, *drops):
        if not isinstance(what, dict) or not all(
            isinstance(text, str) and text for pair in what.items() for text in pair
        ):
            raise UserError(
                f"{path}: expected `{key}: {{raw: label, ...}}` and `drop: {{raw: reason, ...}}`, "
                "all texts; see docs/corpora.md"
            )
    assert isinstance(targets, dict)
    drop = {raw: why for part in drops for raw, why in part.items()}
    both = sorted(targets.keys() & drop.keys())
    if both:
        raise UserError(f"{path}: both mapped and dropped: {', '.join(both)}")
    return LabelMap(targets, drop)


def build_rows(
    corpus: str, root: Path, *, labels: str, num_workers: int, **options: Any
) -> Converted:
    """Read a corpus and return its rows, unsplit where the corpus has no split of its own.

    See `convert_clips` for the options.

    Raises:
        UserError: An unknown corpus, another layout, links that lead out, or a label that the map
            does not know.
    """
    if corpus not in CORPORA:
        raise UserError(f"corpus {corpus!r} is not known; choose from: {', '.join(CORPORA)}")
    label_map = load_label_map(corpus, labels)
    return convert_clips(
        corpus,
        root,
        CORPORA[corpus].read(root),
        label_map,
        labels=labels,
        num_workers=num_workers,
        **options,
    )


def convert_clips(
    corpus: str,
    root: Path,
    clips: Sequence[CorpusClip],
    label_map: LabelMap,
    *,
    labels: str,
    num_workers: int,
    follow_links: bool = False,
    journal: Path | None = None,
    store: Callable[[Iterable[dict[str, Any]]], Any] = list,
) -> Converted:
    """Return clips as rows: labels mapped, files probed and hashed.

    Args:
        corpus: Name of the data set, which ids begin with.
        root: Folder of the clips.
        clips: What a reader returned.
        label_map: What is applied.
        labels: Its name, for messages.
        num_workers: Threads that hash.
        follow_links: Whether links below the root may lead out of it.
        journal: File of what is known of the clips' files; see `facts_of`.
        store: Takes the rows, one at a time, and returns what becomes `Converted.rows`.

    Raises:
        UserError: Links that lead out, or a label that the map does not know.
    """
    counts = Counter(clip.raw_label for clip in clips)
    dropped = {label: n for label, n in counts.items() if label in label_map.drop}
    place = ClipRoot(root, follow_links=follow_links)

    def kept() -> Iterator[CorpusClip]:
        return (clip for clip in clips if clip.raw_label not in label_map.drop)

    num_kept = counts.total() - sum(dropped.values())
    out = [f"{clip.audio!r} {why}" for clip in kept() if (why := place.leads_out(clip.audio))]
    if out:
        raise UserError(f"{root}: {len(out)} of {num_kept} clips lie outside it\n{first_of(out)}")
    map_labels = {*dropped, *label_map.targets}
    unknown = Counter({label: n for label, n in counts.items() if label not in map_labels})
    if unknown:
        listed = list_unknown(unknown, clips, label_map.targets)
        raise UserError(
            f"{root}: the label map {labels!r} of {corpus} does not know {listed}; map or drop them"
        )
    failed: list[dict[str, str]] = []

    def rows() -> Iterator[dict[str, Any]]:
        hashing, waiting = tee(kept())
        facts = facts_of((root / clip.audio for clip in hashing), journal, num_workers)
        hashed = reported(facts, num_kept, "hashed {} of {} clips")
        for clip, facts_or_problem in zip(waiting, hashed, strict=True):
            if isinstance(facts_or_problem, str):
                failed.append({"id": clip.id, "reason": facts_or_problem})
            else:
                yield _row(corpus, clip, label_map.targets[clip.raw_label], facts_or_problem)

    return Converted(store(rows()), failed, dropped, label_map)


def list_unknown(unknown: Counter[str], clips: Iterable[CorpusClip], words: Collection[str]) -> str:
    """Return labels that are not known, each with a clip of it and the nearest that is known."""
    audio = {clip.raw_label: clip.audio for clip in clips}
    listed: list[str] = []
    for label, num in unknown.most_common():
        near = difflib.get_close_matches(label.casefold(), words, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        listed.append(f"{label!r} ({num} clips, such as {audio[label]!r}{hint})")
    return ", ".join(listed)


def describe_conversion(converted: Converted) -> list[str]:
    """Return what was merged and dropped, and which labels look alike, one line each."""
    labels = converted.labels
    lines = [f"merged: {' + '.join(raw)} -> {label}" for label, raw in labels.merges.items()]
    lines += [
        f"dropped: {n} clips labelled {label!r}: {labels.drop[label]}"
        for label, n in converted.dropped.items()
    ]
    return lines + alike_labels(labels.choices)


def _row(corpus: str, clip: CorpusClip, label: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        "id": f"{corpus}/{clip.id}",
        "audio": clip.audio,
        "label": label,
        "raw_label": clip.raw_label,
        "dataset": corpus,
        "speaker": clip.speaker and f"{corpus}/{clip.speaker}",
        "session": clip.session and f"{corpus}/{clip.session}",
        "split": clip.split,
        "text": clip.text,
        "sex": clip.sex,
        "lang": clip.lang,
    }
    row = {name: value for name, value in row.items() if value is not None}
    return {**row, **facts, **clip.extra}
