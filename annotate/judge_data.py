"""Training data for a judge: texts with known scores on the four dimensions.

Two sources: rationales written at prescribed quality levels, as the paper does, and completions of
earlier runs with the scores that a judge gave them, as the paper's ancestor does. Both are balanced
over score bins, since a judge that mostly sees fours learns to say four.

Source: EmotionThinker (arXiv 2601.15668), reward model; SophiaVL-R1 (arXiv 2505.17018), section 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotate.cot.template import CUES, ENDINGS, STATES, WORDS, pick, sentence
from configs.errors import UserError
from data.files import Row, read_rows
from data.prosody.claims import ATTRIBUTES
from data.records import IntArray
from data.stored import text_column
from rewards.judges.base import DIMENSIONS
from rewards.judges.prompt import NO_CONCLUSION

VERSION = 2
"""Raised whenever the same rows give other texts or scores."""


NUM_BINS = 10
"""Bins of the mean score over 1 to 5."""

MIN_CLEAR = 0.25
"""Distance to another level, in standard deviations, of a level that may be told falsely: a claim
nearer to it is half true."""

REASONS = (
    "With {first} and {second}, {state} is the best account of it: that is how it comes out.",
    "Since there is {first} together with {second}, this suggests {state}.",
)
"""Endings that lead from cues to the emotion."""

NOUNS: Mapping[str, str] = {
    "pitch": "the pitch",
    "energy": "the loudness",
    "rate": "the pace",
    "intonation": "the melody",
}
"""Attribute -> how an ending names it."""

OPEN_ENDINGS = (
    NO_CONCLUSION,
    "No more can be said of this one.",
    "I will leave it at that.",
    "What it means stays open.",
)
"""Last sentences that conclude nothing."""

FILLERS = (
    "I have listened to the clip with care.",
    "There is a person who speaks here.",
    "It is worth hearing it again.",
    "This is an answer to the question.",
    "Let me think about it for a moment.",
    "Many things could be said about it.",
)
"""Sentences without content: they change no score."""

FILLER_FRAC = 0.25
"""Share of the texts with such a sentence. A judge that never saw one takes it for a merit."""

EMPTY_FRAC = 1 / 12
"""Share of the texts that say nothing of the voice: fillers alone."""

BARE = ("It is {state}.", "The speaker shows {state}.")
"""Endings that name the emotion and link it to nothing."""


def prescribed(
    rows: Sequence[Row], num_rows: int, seed: int, name: str = "prescribed"
) -> list[dict[str, Any]]:
    """Return what `write_prescribed` yields."""
    return list(write_prescribed(rows, num_rows, seed, name))


def write_prescribed(
    rows: Sequence[Row], num_rows: int, seed: int, name: str = "prescribed"
) -> Iterator[dict[str, Any]]:
    """Yield texts written at quality levels that are drawn evenly, dimension by dimension.

    With n measured attributes, a text tells m of them and k of those truly:

    - `factual_alignment` = 1 + 4 k / m, or 1 if it tells none; a false level is one that the
      measurement is clearly off.
    - `caption_completeness` = 1 + 4 m / n.
    - `interpretative_quality`: 1 = no conclusion, or nothing of the voice is told, 2 = another
      emotion, 3 = the emotion, linked to nothing, 4 = linked to "these cues", 5 = linked to two
      cues by name.
    - `fluency_and_structural_clarity`: 5 = as written, 4 = without capitals, 3 = every third word
      of the last sentence twice, 2 = its words shuffled, 1 = shuffled, and lines in place of
      marks.

    Args:
        rows: Of an annotated manifest; those with fewer than 2 measured attributes are not used.
        num_rows: Texts to write; a row is used again when all were.
        seed: Draws levels and wording.
        name: First part of the texts' ids.

    Raises:
        UserError: No row has two measured attributes.
    """
    usable = np.flatnonzero(np.fromiter((len(_measured(row)) >= 2 for row in rows), bool))
    if not len(usable):
        raise UserError("no row has two measured attributes; annotate the manifest first")
    labels = sorted({row["label"] for row in rows})
    rng = np.random.default_rng(seed)
    num_rounds = -(-num_rows // len(usable))
    rounds = [usable[rng.permutation(len(usable))] for _ in range(num_rounds)]
    order = np.concatenate([usable[:0], *rounds])[:num_rows]
    return (
        _prescribed_row(rows[int(place)], f"{name}/{index:06d}", labels, rng)
        for index, place in enumerate(order)
    )


def _measured(row: Row) -> list[str]:
    prosody = row.get("prosody") or {}
    return [name for name in ATTRIBUTES if prosody.get(name) in CUES[name]]


def _prescribed_row(
    row: Row, text_id: str, labels: Sequence[str], rng: np.random.Generator
) -> dict[str, Any]:
    measured = _measured(row)
    num_claimed = 0 if rng.random() < EMPTY_FRAC else 1 + int(rng.integers(len(measured)))
    claimed = [str(name) for name in rng.permutation(measured)[:num_claimed]]
    num_true = int(rng.integers(len(claimed) + 1))
    cues = [
        _cue(name, row["prosody"], true=place < num_true, rng=rng)
        for place, name in enumerate(claimed)
    ]
    # A level that cannot be told falsely, since all others are borderline, is told truly.
    num_true = sum(true for _, true in cues)
    texts = [cues[int(i)][0] for i in rng.permutation(len(cues))]
    # Two cues cannot be named where one is told, and none be weighed where none is.
    interpretation = int(rng.integers(1, (2, 5, 6)[min(len(claimed), 2)]))
    fluency = int(rng.integers(1, 6))
    sentences = [sentence(texts[start : start + 2]) for start in range(0, len(texts), 2)]
    if rng.random() < FILLER_FRAC or not claimed:
        sentences.insert(int(rng.integers(len(sentences) + 1)), pick(FILLERS, rng))
    quoted = str(row.get("text") or "").strip().rstrip(".").replace('"', "'")
    if quoted:
        sentences.append(pick(WORDS, rng).format(text=quoted))
    nouns = [NOUNS[name] for name in claimed[:2]]
    sentences += _conclusion(interpretation, row["label"], labels, nouns, rng)
    scores = {
        "factual_alignment": 1 + 4 * num_true / max(len(claimed), 1),
        "interpretative_quality": float(interpretation),
        "caption_completeness": 1 + 4 * len(claimed) / len(measured),
        "fluency_and_structural_clarity": float(fluency),
    }
    return _judge_row(row, text_id, _spoiled(sentences, fluency, rng), scores)


def _cue(
    name: str, prosody: Mapping[str, Any], *, true: bool, rng: np.random.Generator
) -> tuple[str, bool]:
    """Return a claim on an attribute, and whether it is true."""
    level = prosody[name]
    if not true:
        false = [other for other in CUES[name] if other != level and _is_far(name, other, prosody)]
        if false:
            return pick(CUES[name][pick(false, rng)], rng), False
    return pick(CUES[name][level], rng), True


def _is_far(name: str, other: str, prosody: Mapping[str, Any]) -> bool:
    """Return whether a level is not the clip's by more than the borderline."""
    if name == "intonation":
        distance = prosody.get(f"intonation_to_{other}")
        return distance is None or distance > MIN_CLEAR
    levels = list(CUES[name])
    steps = levels.index(other) - levels.index(prosody[name])
    if abs(steps) > 1:
        return True
    distance = prosody.get(f"{name}_to_{'above' if steps > 0 else 'below'}")
    return distance is None or distance > MIN_CLEAR


def _conclusion(
    level: int, label: str, labels: Sequence[str], nouns: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """Return the last sentence of a text of an interpretative quality."""
    if level == 1:
        return [pick(OPEN_ENDINGS, rng)]
    others = [other for other in labels if other != label] or [label]
    named = pick(others, rng) if level == 2 else label
    state = STATES.get(named, named)
    if level <= 3:
        return [pick(BARE, rng).format(state=state)]
    if level == 4:
        return [pick(ENDINGS, rng).format(state=state)]
    return [pick(REASONS, rng).format(state=state, first=nouns[0], second=nouns[1])]


def _spoiled(sentences: Sequence[str], fluency: int, rng: np.random.Generator) -> str:
    """Return the text at a level of fluency; what claims something keeps its words in order."""
    *body, last = sentences
    words = last.rstrip(".").split()
    if fluency <= 2:
        mixed = [words[int(i)] for i in rng.permutation(len(words))]
        last = " ".join(mixed if mixed != words else reversed(words)) + "."
    elif fluency == 3:
        last = " ".join(f"{word} {word}" if i % 3 == 0 else word for i, word in enumerate(words))
        last += "."
    if fluency == 1:  # lines keep apart what marks did
        return "\n".join([*body, last]).replace(".", "").replace(",", "").lower()
    text = " ".join([*body, last])
    return text.lower() if fluency == 4 else text


def from_runs(
    folders: Iterable[Path], rows: Mapping[str, Row], term: str
) -> Iterator[dict[str, Any]]:
    """Yield the scored completions of run folders.

    Args:
        folders: Of runs with `samples/*.jsonl`.
        rows: Row id -> row of the manifest that the runs were trained on.
        term: Name of the judged term whose scores are taken.

    Raises:
        UserError: A folder has no samples, or none with this term's scores.
    """
    for folder in folders:
        files = sorted((folder / "samples").glob("*.jsonl"))
        if not files:
            raise UserError(f"{folder}: has no samples/*.jsonl; set log.samples_every in the run")
        num_scored = 0
        for file in files:
            for number, sample in enumerate(read_rows(file), start=1):
                row, scores = rows.get(sample["id"]), _scores(sample, term)
                _, opened, rest = sample["text"].partition("<think>")
                reasoning, closed, _ = rest.partition("</think>")
                reasoning = reasoning.strip()
                if row is None or scores is None or not (opened and closed and reasoning):
                    continue
                num_scored += 1
                name = hashlib.sha256(f"{folder.name}/{file.name}/{number}".encode()).hexdigest()
                yield _judge_row(row, f"on_policy/{name[:16]}", reasoning, scores)
        if not num_scored:
            raise UserError(
                f"{folder}: no sample has all four scores of the term {term!r}, for a clip of the "
                "manifest; was it judged?"
            )


def _scores(sample: Mapping[str, Any], term: str) -> dict[str, float] | None:
    details = (sample.get("details") or {}).get(term) or {}
    scores = details.get("scores") or {}
    if any(type(scores.get(name)) not in (int, float) for name in DIMENSIONS):
        return None
    return {name: float(scores[name]) for name in DIMENSIONS}


def balanced(rows: Sequence[dict[str, Any]], num_rows: int, seed: int) -> list[dict[str, Any]]:
    """Return the rows that `balanced_places` chooses."""
    return [rows[place] for place in balanced_places(rows, num_rows, seed).tolist()]


def balanced_places(rows: Sequence[Row], num_rows: int, seed: int) -> IntArray:
    """Choose at most `num_rows` rows, as evenly as may be over 10 bins of the mean score.

    Args:
        rows: Of any source.
        num_rows: Most rows; each bin gives an equal share, and what it lacks goes to the others.
        seed: Draws among the rows of a bin.

    Returns:
        Their places, in the order of their ids.
    """
    means = (sum(row["scores"].values()) / len(row["scores"]) for row in rows)
    bins = np.fromiter((min(NUM_BINS - 1, int((m - 1) / 4 * NUM_BINS)) for m in means), np.int8)
    drawn = np.random.default_rng(seed).permutation(len(rows))
    by_bin = {name: drawn[bins[drawn] == name] for name in dict.fromkeys(bins[drawn].tolist())}
    left = num_rows
    chosen = [drawn[:0]]
    for place, name in enumerate(sorted(by_bin, key=lambda name: len(by_bin[name]))):
        share = left // (len(by_bin) - place)
        chosen.append(by_bin[name][:share])
        left -= min(share, len(by_bin[name]))
    places = np.concatenate(chosen)
    return places[np.argsort(text_column(rows[int(i)]["id"] for i in places), kind="stable")]


def _judge_row(row: Row, name: str, reasoning: str, scores: Mapping[str, float]) -> dict[str, Any]:
    kept = ("audio", "label", "text", "speaker", "split", "dataset", "prosody")
    facts = {key: row[key] for key in kept if row.get(key) is not None}
    return {"id": name, "clip": row["id"], **facts, "reasoning": reasoning, "scores": dict(scores)}
