"""What all tasks share: the row they write, the answers they train on, and their errors."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from configs.errors import UserError
from data.files import Row
from data.manifest import without_aliases
from data.records import IntArray

NEEDS: Mapping[str, str] = {
    "pitch": "clips with a clear `pitch` level (launch/annotate.py writes `prosody`)",
    "energy": "clips with a clear `energy` level (launch/annotate.py writes `prosody`)",
    "rate": "clips with a clear `rate` level (launch/annotate.py writes `prosody`)",
    "intonation": "clips with a clear `intonation` (launch/annotate.py writes `prosody`)",
    "stress": "clips with stressed words: `words` from an aligner, then launch/annotate.py",
    "comparison": "annotated clips with speech, short enough to be joined three times",
    "emotion": "clips with `reasoning`",
    "asr": "clips with a `text`",
    "text": (
        "a JSON Lines file of your own with `question` and `target`, or clips with `reasoning` and "
        "at least two levels in their `prosody`"
    ),
}
"""Name in a mix -> what its rows are made from."""


Make = Callable[[Sequence[Row]], list[dict[str, Any]]]
"""Clips -> their rows of a task, one at most of each clip, in their order."""


class MadeRows(Sequence[dict[str, Any]]):
    """The rows of a task, each made when it is asked for."""

    def __init__(self, clips: Sequence[Row], places: IntArray, make: Make) -> None:
        """Take the clips, the places of those that give a row, and what makes it."""
        self._clips = clips
        self._places = places
        self._make = make

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        """Return a row, or a list of some."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        return self._make([self._clips[int(self._places[index])]])[0]


def made_rows(clips: Sequence[Row], makes: Mapping[str, Make]) -> dict[str, MadeRows]:
    """Return task -> its rows, after one look at each clip.

    Raises:
        UserError: Whatever a task refuses.
    """
    places = {task: array("q") for task in makes}
    for place, clip in enumerate(clips):
        for task, make in makes.items():
            if make([clip]):
                places[task].append(place)
    return {
        task: MadeRows(clips, np.array(places[task], np.int64), make)
        for task, make in makes.items()
    }


def row_rng(seed: int, name: str) -> np.random.Generator:
    """Return the generator of one row, so that no other row changes what it draws."""
    return np.random.default_rng([seed, *name.encode()])


def text_of(row: Row, name: str) -> str | None:
    """Return a text field of a manifest row by its name or alias; blank counts as absent."""
    value = without_aliases(row).get(name)
    return value if isinstance(value, str) and value.strip() else None


def required_text(row: Row, name: str) -> str:
    """Return a text field that every row of a manifest has.

    Raises:
        UserError: This one has not.
    """
    value = text_of(row, name)
    if value is None:
        where = f"row {row['id']!r}" if row.get("id") else f"row {str(dict(row))[:60]}"
        raise UserError(f"{where} has no {name!r}; pass the rows of a manifest that was checked")
    return value


def reasoned_answer(reasoning: str, label: str) -> str:
    """Return an answer with its reasoning, in the format that the policy is rewarded for."""
    return f"<think>{reasoning}</think><answer>{label}</answer>"


def task_row(
    source: Row,
    task: str,
    *,
    audio: str | None,
    question: str | None,
    choices: Sequence[str],
    label: str,
    target: str,
) -> dict[str, Any]:
    """Return a row of a task that is made from one clip.

    Args:
        source: The clip's manifest row; id, speaker, split and dataset are taken from it.
        task: Name of the task; the row's id is TASK/ID of the clip.
        audio: Path of the clip that is heard, relative to the audio root; None = text only.
        question: What is asked, complete; None = the run's own (`data.question`).
        choices: Answers that there are to choose from; empty if the answer is free text.
        label: The right one, or the free text.
        target: What is trained on.
    """
    source_id = required_text(source, "id")
    return {
        "id": f"{task}/{source_id}",
        "task": task,
        "audio": audio,
        **({} if question is None else {"question": question}),
        "choices": list(choices),
        "label": label,
        "target": target,
        "speaker": text_of(source, "speaker"),
        "split": text_of(source, "split"),
        "dataset": text_of(source, "dataset"),
        "source": source_id,
    }
