"""Judge files: clips, reasoning about them, and the scores that it deserves; see docs/data.md."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.manifest import MAX_LISTED, ManifestError, read_manifest
from data.records import Example
from rewards.judges.base import DIMENSIONS, HIGHEST, LOWEST


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """A reasoning with its scores."""

    example: Example
    """Its `reasoning` is the text that is judged; its `id` is the text's, not the clip's."""
    scores: Mapping[str, float]
    """Dimension -> score in [1, 5], for all of `DIMENSIONS`; they may lie between two digits."""


def read_judge_rows(
    path: str | Path,
    *,
    audio_root: str | Path,
    choices: Sequence[str],
    question_template: str,
    follow_links: bool = False,
) -> list[JudgeRow]:
    """Return the rows of a judge file, all of them checked.

    Args:
        path: JSON Lines file; a manifest whose rows have `reasoning` and `scores`.
        audio_root: As for `read_manifest`.
        choices: As for `read_manifest`.
        question_template: As for `read_manifest`.
        follow_links: As for `read_manifest`.

    Raises:
        ManifestError: As `read_manifest`; then every row without a clip, without reasoning or with
            other than four scores from 1 to 5, as `file:line: what, what to do`.
    """
    examples = read_manifest(
        path,
        audio_root=audio_root,
        choices=choices,
        question_template=question_template,
        follow_links=follow_links,
    )
    content = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf")
    lines = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
    rows: list[JudgeRow] = []
    problems: list[str] = []
    for example, (number, line) in zip(examples, lines, strict=True):
        scores = json.loads(line).get("scores")
        of_row = list(_problems(example, scores))
        problems += [f"{path}:{number}: {what}" for what in of_row]
        if not of_row:
            rows.append(JudgeRow(example, {name: float(scores[name]) for name in DIMENSIONS}))
    if problems:
        listed = "\n".join(problems[:MAX_LISTED])
        more = f"\n... and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        raise ManifestError(f"{path}: {len(problems)} problem(s) found\n{listed}{more}")
    return rows


def _problems(example: Example, scores: Any) -> Iterator[str]:
    """Yield what is wrong with a row of a judge file, besides what a manifest may not be."""
    if not example.audio:
        yield "has no clip; a judge hears what the reasoning is about"
    if example.others or example.turns:
        yield "has several clips or turns; a judge hears one clip, and reads one question"
    if example.reasoning is None:
        yield "has no 'reasoning'; a judge file has the text that its scores are about"
    if not isinstance(scores, dict):
        yield f"has no 'scores'; give {', '.join(DIMENSIONS)}, each from 1 to 5"
        return
    missing = [name for name in DIMENSIONS if name not in scores]
    unknown = [name for name in scores if name not in DIMENSIONS]
    if missing:
        yield f"'scores' lacks {', '.join(missing)}"
    if unknown:
        yield f"'scores' has {unknown[0]!r}; allowed are {', '.join(DIMENSIONS)}"
    for name, score in scores.items():
        if name in DIMENSIONS and (
            type(score) not in (int, float) or not LOWEST <= score <= HIGHEST
        ):
            yield f"the score of {name} is {score!r}; allowed is a number from 1 to 5"
