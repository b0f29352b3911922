"""Emotion questions of public benchmarks: MMAU, MMSU and AudioBench, as they are distributed.

Rows keep the benchmark's question, choices and groups; `scoring` names the rule of its script
(`evaluation.benchmark_rules`). They have a `target`, so that each may have choices of its own.

Sources: MMAU, https://github.com/Sakshi113/MMAU (`mmau-test-mini.json`) and, as Parquet,
https://huggingface.co/datasets/gamma-lab-umd/MMAU-test-mini and
https://huggingface.co/datasets/lmms-lab/mmau; MMSU,
https://huggingface.co/datasets/ddwang2000/MMSU; AudioBench,
https://github.com/AudioLLMs/AudioBench, src/dataset_src/{iemocap,meld}_emotion_test.py.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from annotate.corpora.clips import LeftOut
from annotate.sources.arrow import ARROW, open_arrow
from annotate.sources.gather import Record
from annotate.sources.hugging_face import table_paths
from annotate.sources.tables import read_json, table_files
from configs.annotate_schema import SourceConfig
from configs.errors import UserError
from data.manifest import answer
from data.options import with_options
from data.parsing import normalize_label

logger = logging.getLogger(__name__)

Fields = Mapping[str, Any]

ABOUT = "emotion"
"""Part of the names of tasks whose questions are taken, in any case."""

OPEN_QUESTION = "What is the emotional tone of the speaker's speech ({choices})?"
"""The last of the ten questions that AudioBench draws from for each clip."""

EMOTIONS = {
    "audiobench_iemocap": (
        *("frustration", "anger", "excited", "neutral", "happiness", "surprise", "sad"),
    ),
    "audiobench_meld": (*("neutral", "joy", "disgust", "sadness", "surprise", "anger", "fear"),),
}
"""AudioBench's task -> the labels that its questions list."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a benchmark's file."""

    where: str
    fields: Fields
    base: Path


def read_mmau(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the questions about speech whose `sub-category` names emotions.

    Of JSON with clips beside it, or of Parquet with the clips in it: `audio` and the columns of
    the JSON (choices as JSON text), or `context`, `instruction`, `choices`, `answer`, and all else
    in `other_attributes`.

    Raises:
        UserError: No such file, rows without their fields, or none of them about emotions.
    """
    names: Counter[str] = Counter()
    for row in _mmau_rows(config, root):
        kind = _text(row, "sub-category")
        if ABOUT not in kind.casefold() or row.fields.get("task") != "speech":
            continue
        names[kind] += 1
        groups = {"sub-category": kind}
        if row.fields.get("difficulty"):
            groups["difficulty"] = _text(row, "difficulty")
        choices = row.fields.get("choices")
        if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
            raise UserError(f"{row.where}: 'choices' is no list of texts; download it again")
        choices = [_without_letter(choice) for choice in choices]
        question = with_options(_text(row, "question"), choices)
        raw_answer = row.fields.get("answer")
        raw_answer = _without_letter(raw_answer) if isinstance(raw_answer, str) else raw_answer
        clip = row.fields.get("audio_id"), None
        if "audio_id" not in row.fields:  # clips of all rows may have one name
            clip = f"mmau-{row.fields.get('id')}", _clip(row, "audio")[1]
        yield from _record(row, "mmau", clip, question, choices, raw_answer, groups, left_out)
    _say(root, names)


def read_mmsu(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the questions whose `task_name` or `sub-sub-category` names emotions.

    Raises:
        UserError: As `read_mmau`.
    """
    names: Counter[str] = Counter()
    for row in _table_rows(config, root):
        task, kind = _text(row, "task_name"), str(row.fields.get("sub-sub-category") or "")
        if ABOUT not in f"{task} {kind}".casefold():
            continue
        names[task] += 1
        options = (row.fields.get(f"choice_{letter}") for letter in "abcd")
        choices = [option.strip() for option in options if isinstance(option, str)]
        groups = {
            name: str(row.fields[name])
            for name in ("category", "sub-category", "task_name")
            if row.fields.get(name)
        }
        question = with_options(_text(row, "question"), choices, "{letter}. {choice}")
        raw_answer = row.fields.get("answer_gt")
        yield from _record(
            row, "mmsu", _clip(row, "audio"), question, choices, raw_answer, groups, left_out
        )
    _say(root, names)


def read_audiobench_iemocap(
    config: SourceConfig, root: Path, left_out: LeftOut
) -> Iterator[Record]:
    """Yield the rows of `AudioLLMs/iemocap_emotion_recognition`; raises as `read_mmau`."""
    return _audiobench("audiobench_iemocap", config, root, left_out)


def read_audiobench_meld(config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    """Yield the rows of `AudioLLMs/meld_emotion_test`; raises as `read_mmau`."""
    return _audiobench("audiobench_meld", config, root, left_out)


BENCHMARKS = {
    "mmau": read_mmau,
    "mmsu": read_mmsu,
    "audiobench_iemocap": read_audiobench_iemocap,
    "audiobench_meld": read_audiobench_meld,
}
"""Kind of source -> its reader."""


def _audiobench(rule: str, config: SourceConfig, root: Path, left_out: LeftOut) -> Iterator[Record]:
    choices = list(EMOTIONS[rule])
    question = OPEN_QUESTION.format(choices=", ".join(choices))
    for number, row in enumerate(_table_rows(config, root)):
        raw_answer = _text(row, "answer")
        named = [one for one in choices if re.search(rf"\b{one}\b", raw_answer, re.IGNORECASE)]
        label = named[0] if len(named) == 1 else None
        _, content = _clip(row, "context")
        clip = (f"{rule}-{number:05d}", content)  # clips of all rows may have one name
        yield from _record(row, rule, clip, question, choices, label, {}, left_out)


def _record(
    row: _Row,
    rule: str,
    clip: tuple[str | None, bytes | None],
    question: str,
    choices: Sequence[str],
    raw_answer: Any,
    groups: Mapping[str, str],
    left_out: LeftOut,
) -> Iterator[Record]:
    """Yield a row as a record, if its answer is one of its choices."""
    keys = [normalize_label(choice) for choice in choices]
    if raw_answer is not None and (
        normalize_label(str(raw_answer)) not in keys or len(set(keys)) < len(keys) or len(keys) < 2
    ):
        left_out.add(
            "questions whose answer is none of their choices, or that repeat one", row.where
        )
        return
    label = None if raw_answer is None else choices[keys.index(normalize_label(str(raw_answer)))]
    fields = {"audio": clip[0], "label": label, "id": row.fields.get("id"), "split": "test"}
    extra = {
        "question": question,
        "choices": list(choices),
        "target": answer(label or ""),
        "task": rule,
        "scoring": {"rule": rule, **groups},
    }
    yield Record(row.where, fields, row.base, clip[1], extra)


def _mmau_rows(config: SourceConfig, root: Path) -> Iterator[_Row]:
    """Yield the rows with the names and kinds of values of MMAU's JSON."""
    is_arrow = any(name.endswith(ARROW) for name in config.files) or any(root.rglob("*.parquet"))
    for row in _table_rows(config, root) if is_arrow else _json_rows(config, root):
        fields = dict(row.fields)
        for name in ("choices", "other_attributes"):
            if isinstance(fields.get(name), str):
                try:
                    fields[name] = json.loads(fields[name])
                except ValueError as error:
                    raise UserError(f"{row.where}: {name!r} is no JSON ({error})") from error
        fields |= fields.pop("other_attributes", None) or {}
        for theirs, name in (("instruction", "question"), ("context", "audio")):
            if theirs in fields:
                fields[name] = fields.pop(theirs)
        yield replace(row, fields=fields)


def _without_letter(choice: str) -> str:
    """Return `sad` of `(B) sad`, as some copies spell choices."""
    return re.sub(r"^\([A-Z]\) ", "", choice)


def _json_rows(config: SourceConfig, root: Path) -> Iterator[_Row]:
    for path in table_files(config, root, (".json", ".jsonl")):
        for number, fields in read_json(path, config):
            yield _Row(f"{path}:{number}", fields, path.parent)


def _table_rows(config: SourceConfig, root: Path) -> Iterator[_Row]:
    """Yield the rows of a data set's folder as the hub has it, or of its JSON."""
    if config.files and not any(name.endswith(ARROW) for name in config.files):
        yield from _json_rows(config, root)
        return
    for path in table_paths(config, root):
        for number, fields in open_arrow(path).rows():
            yield _Row(f"{path}:{number}", fields, path.parent)


def _clip(row: _Row, name: str) -> tuple[str | None, bytes | None]:
    """Return path and bytes of a row's clip."""
    held = row.fields.get(name)
    if isinstance(held, dict):
        return held.get("path"), held.get("bytes")
    return held or row.fields.get("audio_path"), None


def _text(row: _Row, name: str) -> str:
    value = row.fields.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{row.where}: has no text {name!r}; give the benchmark's own file")
    return value


def _say(root: Path, names: Mapping[str, int]) -> None:
    if not names:
        raise UserError(f"{root}: no row is about emotions; give the benchmark's own file")
    logger.info(
        f"{root}: {sum(names.values())} questions: "
        + ", ".join(f"{number} {name}" for name, number in sorted(names.items()))
    )
