"""The texts that rewards are tried on: typed in, from a file, or from the samples of a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from configs.errors import UserError
from configs.schema import RunConfig
from data.files import read_rows
from data.manifest import read_manifest
from data.manifest_row import fill_choices
from data.records import Example
from trainer.run_folder import RunFolder

DIVIDER = "---"
"""A line of its own between two texts of a plain file."""

ROW_FIELDS: Mapping[str, type] = {
    **dict.fromkeys(("label", "speaker", "transcript", "question", "dataset", "task"), str),
    "prosody": dict,
    "choices": list,
}
"""Fields of a row that a line of a file of texts may give, over those of the manifest."""

TEXT_FIELDS: Mapping[str, type] = {"text": str, "id": str, "finish_reason": str, "num_tokens": int}
"""What such a line says of the text itself."""


@dataclass(frozen=True)
class Tried:
    """A text and the row that it answers."""

    example: Example
    text: str
    group: tuple[Any, ...]
    """Texts with the same one are scored together, as the completions of a prompt are."""
    finish_reason: str = "stop"
    num_tokens: int | None = None
    """None: counted by the checkpoint's tokenizer, if there is one."""


class Rows:
    """The rows that texts answer: those of the manifest by id, and what is said over them."""

    def __init__(self, config: RunConfig, given: Mapping[str, Any]) -> None:
        """Keep what the command line says of the row.

        Args:
            config: Of the run; its manifest is read when a row is asked for by its id.
            given: Fields of a row that hold for all texts.
        """
        self._data = config.data
        self._given = dict(given)
        self._by_id: dict[str, Example] | None = None

    def find(self, row_id: str | None, fields: Mapping[str, Any], where: str) -> Example:
        """Return the row of a text.

        Args:
            row_id: Its id in the manifest; None for a row that is made of `fields` alone.
            fields: Fields that a file gives; those of the command line come first.
            where: What asks, for messages.

        Raises:
            UserError: The manifest has no such row, or a label is missing or no choice.
        """
        if row_id is None:
            data = self._data
            example = Example("typed", "", "", data.question, tuple(data.choices))
        else:
            example = self._of_manifest(row_id, where)
        example = structs.replace(example, **{**fields, **self._given})
        example = structs.replace(example, question=fill_choices(example.question, example.choices))
        if not example.label and example.target is None:
            raise UserError(
                f"{where}: nothing says what the right answer is; give --label LABEL, --row ID of "
                "a row of the manifest, or 'label' or 'id' in the file"
            )
        if example.target is None and example.label not in example.choices:
            raise UserError(
                f"{where}: label {example.label!r} is none of the choices: "
                f"{', '.join(example.choices)}"
            )
        return example

    def _of_manifest(self, row_id: str, where: str) -> Example:
        data = self._data
        if self._by_id is None:
            examples = read_manifest(
                data.manifest,
                audio_root=data.audio_root,
                choices=data.choices,
                question_template=data.question,
                num_workers=data.num_workers,
            )
            self._by_id = {example.id: example for example in examples}
        if row_id not in self._by_id:
            raise UserError(f"{where}: {data.manifest} has no row with the id {row_id!r}")
        return self._by_id[row_id]


def typed_texts(texts: Iterable[str], rows: Rows, row_id: str | None, **fields: Any) -> list[Tried]:
    """Return texts that answer one row.

    Args:
        texts: At least one.
        rows: Where the row is looked up.
        row_id: Its id; None = it is made of what the command line says.
        fields: More fields of `Tried`.

    Raises:
        UserError: As `Rows.find`, or a text is empty.
    """
    example = rows.find(row_id, {}, "the text")
    tried = [Tried(example, text, ("typed",), **fields) for text in texts]
    if not tried or not all(item.text.strip() for item in tried):
        raise UserError("a text is empty; give --text TEXT, --texts FILE, or type it in (stdin)")
    return tried


def texts_of_file(path: Path, rows: Rows, row_id: str | None, **fields: Any) -> list[Tried]:
    """Return the texts of a file: JSON Lines (`.jsonl`), else plain with `---` between texts.

    Raises:
        UserError: The file cannot be read, or a line is no such row; names the line.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    if path.suffix != ".jsonl":
        parts = "\n".join(content.splitlines()).split(f"\n{DIVIDER}\n")
        return typed_texts(parts, rows, row_id, **fields)
    tried = [
        _of_line(line, f"{path}:{number}", rows, row_id, fields)
        for number, line in enumerate(content.split("\n"), 1)
        if line.strip()
    ]
    if not tried:
        raise UserError(f"{path}: holds no text")
    return tried


def _of_line(
    line: str, where: str, rows: Rows, row_id: str | None, defaults: Mapping[str, Any]
) -> Tried:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is no JSON: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
        raise UserError(f"{where}: needs an object with 'text', a text")
    fields = {name: value for name, value in fields.items() if value is not None}
    types = {**TEXT_FIELDS, **ROW_FIELDS}
    for name, value in fields.items():
        if name not in types:
            raise UserError(f"{where}: unknown {name!r}; allowed are {', '.join(types)}")
        if type(value) is not types[name]:
            raise UserError(f"{where}: {name!r} is {value!r}, expected {types[name].__name__}")
    if fields.get("finish_reason", "stop") not in ("stop", "length"):
        raise UserError(f"{where}: finish_reason is {fields['finish_reason']!r}: stop or length")
    if fields.get("num_tokens", 1) < 1:
        raise UserError(f"{where}: num_tokens is {fields['num_tokens']}; a text has at least 1")
    row = {name: fields[name] for name in ROW_FIELDS if name in fields}
    if "choices" in row:
        row["choices"] = tuple(row["choices"])
    of_line = fields.get("id") if row_id is None else row_id
    # A row that says its label need not be in the manifest.
    in_manifest = row_id is not None or (of_line is not None and "label" not in row)
    example = rows.find(of_line if in_manifest else None, row, where)
    if not in_manifest and of_line is not None:
        example = structs.replace(example, id=of_line)
    return Tried(
        example,
        fields["text"],
        (example.id, example.label, example.question),
        fields.get("finish_reason", defaults.get("finish_reason", "stop")),
        fields.get("num_tokens", defaults.get("num_tokens")),
    )


def texts_of_run(run: Path, step: int | None, rows: Rows, row_id: str | None) -> list[Tried]:
    """Return the completions of a step of a run, grouped as they were.

    Args:
        run: Run folder.
        step: Step whose samples are read; None = the newest that there are.
        rows: Where their rows are looked up.
        row_id: The one clip whose completions are wanted; None = all.

    Raises:
        UserError: The run has no samples of the step, or none of the clip.
    """
    folder = RunFolder(run).samples_dir
    name = "*" if step is None else f"{step:06d}"
    paths = sorted(folder.glob(f"step_{name}.jsonl"))
    if not paths:
        steps = [int(path.stem.partition("_")[2]) for path in sorted(folder.glob("step_*.jsonl"))]
        older, newest = "..., " * (len(steps) > 10), ", ".join(map(str, steps[-10:]))
        there = f"there are steps {older}{newest}" if steps else "it has none at all"
        of_step = "" if step is None else f" of step {step}"
        raise UserError(f"{run}: has no samples{of_step}; {there} (log.samples_every)")
    try:
        samples = read_rows(paths[-1])
    except (OSError, ValueError) as error:
        raise UserError(f"{paths[-1]}: cannot be read: {error}") from error
    # A clip that was moved has another label and other levels than its row says.
    samples = [sample for sample in samples if sample.get("correct", False) is not None]
    wanted = [sample for sample in samples if row_id in (None, sample["id"])]
    if not wanted:
        raise UserError(f"{paths[-1]}: has no completion of {row_id!r}")
    return [
        Tried(
            rows.find(sample["id"], {}, str(paths[-1])),
            sample["text"],
            (sample["group"],),
            sample["finish_reason"],
        )
        for sample in wanted
    ]
