"""Readers of claims that are learned from labelled sentences, for `benchmarks.claims_readers`.

Both are logistic regressions. `WordReader` looks at every level word of our rules' tables and tells
for each attribute whether the word claims it, denies it, or is one end of a range; `BagReader`
tells for a whole text which claims it makes, from runs of up to three words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from data.prosody.claim import LEVELS, RANKS, direction
from data.prosody.claim_marks import ORDINAL
from data.prosody.claim_phrases import PHRASES, WORD
from data.prosody.claim_words import DENIALS, MEANINGS, NOUNS, OTHERS, VOICES, Meaning
from data.prosody.quotes import without_quotes

Row = Mapping[str, Any]
Reader = Callable[[str], set[str]]

TARGETS = (*LEVELS, "intonation", "energy_change", "rate_change")
WINDOW = 4
STRENGTHS = (0.3, 1.0, 3.0, 10.0)
"""Inverse strengths of the penalty that are tried."""

_TOKEN = re.compile(WORD.pattern + r"|[.,!?;:()]")
_SIGNALS = ("if", "would", "should", "could", "might", "expect", "usually", "typically", "often")
_SIGNALS += ("than", "wait", "no", "actually", "word", "starts", "begins", "end", "ends", "then")


def level_of(meaning: Meaning, target: str) -> str:
    """Return what a level word says of an attribute or a change; empty if it cannot be said."""
    attribute = target.removesuffix("_change")
    if meaning.attribute and meaning.attribute != attribute:
        return ""
    level = ORDINAL.get(meaning.level, meaning.level)
    if target in LEVELS:
        level = {"high": "fast", "low": "slow"}.get(level, level) if target == "rate" else level
        return level if level in LEVELS[target] and not meaning.is_move else ""
    if level in RANKS and level != "normal":
        level = direction("normal", level)  # "louder and louder", "starts low"
    if target == "intonation":
        return "flat" if level == "steady" else "" if level in RANKS else level
    return level if level in ("rising", "falling", "steady") else ""


class _Text:
    """The words of a text, and which of them tell a level."""

    def __init__(self, text: str) -> None:
        lowered = without_quotes(text).lower()
        self.words: list[str] = []
        self.marks: dict[int, Meaning] = {}
        for match in _TOKEN.finditer(lowered):
            meaning = PHRASES[match.lastindex - 1][0] if match.lastindex else None
            meaning = meaning or MEANINGS.get(match[0])
            if meaning is not None and meaning.level:
                self.marks[len(self.words)] = meaning
            self.words.append(match[0].replace(" ", "_"))
        self.nouns = {i: NOUNS[word] for i, word in enumerate(self.words) if word in NOUNS}

    def candidates(self) -> Iterator[tuple[int, str, str]]:
        """Yield place, attribute and level of all that could be claimed."""
        named = set(self.nouns.values())
        for place, meaning in self.marks.items():
            for target in TARGETS:
                level = level_of(meaning, target)
                attribute = target.removesuffix("_change")
                of_pitch = attribute == "intonation" and "pitch" in named
                voice = attribute in ("pitch", "energy", "intonation")
                if level and (meaning.attribute or attribute in named or of_pitch or voice):
                    yield place, target, level

    def distance(self, place: int, attribute: str) -> int:
        """Return how many words the nearest name of an attribute is away; 99 if there is none."""
        names = {attribute, "pitch"} if attribute == "intonation" else {attribute}
        return min((abs(p - place) for p, name in self.nouns.items() if name in names), default=99)

    def features(self, place: int, target: str) -> dict[str, float]:
        """Return what is looked at to tell whether a word claims a level of an attribute."""
        meaning, words = self.marks[place], self.words
        start = max((i + 1 for i in range(place) if words[i] in ".!?;"), default=0)
        stop = next((i for i in range(place, len(words)) if words[i] in ".!?;"), len(words))
        attribute = target.removesuffix("_change")
        near = self.distance(place, attribute)
        rivals = [abs(p - place) for p in self.nouns if self.nouns[p] != attribute]
        kind = "own" if meaning.attribute else "lent"
        marks = [
            f"target={target}",
            f"{target}:{kind}:{meaning.is_move}:{meaning.level}",
            f"{target}:word={words[place]}",
            f"{kind}:near={min(near, 12) // 2}",
            f"{kind}:{target}:nearest={near <= min(rivals, default=99)}:{near < 99}",
            f"closed={words[stop] if stop < len(words) else ''}",
            f"later={any(p > place for p in self.marks)}",
        ]
        for step in range(-WINDOW, WINDOW + 1):
            at = place + step
            word = words[at] if start <= at < stop else "-"
            word = "NOUN" if word in NOUNS else "LEVEL" if at in self.marks and step else word
            if step:
                marks += [f"{step}={word}", f"{'before' if step < 0 else 'after'}={word}"]
        marks += [f"pair={words[i]} {words[i + 1]}" for i in range(max(start, place - 3), place)]
        before, after = words[start:place], words[place + 1 : stop]
        for name, some in (("before", before), ("after", after), ("earlier", words[:start])):
            marks += [f"{name}:has={word}" for word in {*some} & {*_SIGNALS}]
            for sort, table in (("denial", DENIALS), ("voice", VOICES), ("other", OTHERS)):
                marks += [f"{name}:{sort}"] if not table.isdisjoint(some) else []
        return dict.fromkeys(marks, 1.0)


def _labels(row: Row, text: _Text) -> dict[tuple[int, str, str], str]:
    """Return of each candidate what the labels of its text say: claim, denial, range or nothing.

    A label is that of one word: of the one nearest to a name of its attribute.
    """
    labels = dict.fromkeys(text.candidates(), "")
    for claim, number in Counter(row["claims"]).items():
        target, _, level = claim.removeprefix("!").partition(" ")
        levels = level.split("|")
        kind = "range" if len(levels) > 1 else "denied" if claim.startswith("!") else "claimed"
        for one in levels:
            fitting = [key for key in labels if key[1:] == (target, one)]
            fitting.sort(key=lambda key: text.distance(key[0], target.removesuffix("_change")))
            labels |= dict.fromkeys(fitting[:number], kind)
    return labels


class WordReader:
    """Tells of every level word what it claims."""

    def __init__(self, rows: Sequence[Row], strength: float) -> None:
        """Learn from labelled texts."""
        from sklearn.feature_extraction import DictVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        features, labels = [], []
        for row in rows:
            text = _Text(row["text"])
            for key, label in _labels(row, text).items():
                features.append(text.features(*key[:2]))
                labels.append(label)
        regression = LogisticRegression(C=strength, class_weight="balanced", max_iter=500)
        self._model = make_pipeline(DictVectorizer(), regression).fit(features, labels)

    def __call__(self, text: str) -> set[str]:
        """Return the claims as the labelled sets write them."""
        parsed = _Text(text)
        keys = list(parsed.candidates())
        if not keys:
            return set()
        kinds = self._model.predict([parsed.features(*key[:2]) for key in keys])
        claims: set[str] = set()
        ranges: dict[str, set[str]] = {}
        for (_, target, level), kind in zip(keys, kinds, strict=True):
            if kind == "range":
                ranges.setdefault(target, set()).add(level)
            elif kind:
                claims.add(f"{'!' if kind == 'denied' else ''}{target} {level}")
        return claims | {f"{name} {'|'.join(sorted(levels))}" for name, levels in ranges.items()}


class BagReader:
    """Tells of a text which of the claims it has learned it makes, from its runs of words."""

    def __init__(self, rows: Sequence[Row], strength: float) -> None:
        """Learn from labelled texts the claims that at least two of them make."""
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        times = Counter(claim for row in rows for claim in set(row["claims"]))
        self._claims = [claim for claim, number in times.items() if number > 1]
        made = [[int(claim in row["claims"]) for claim in self._claims] for row in rows]
        regressions = OneVsRestClassifier(
            LogisticRegression(
                C=strength, class_weight="balanced", max_iter=500, solver="liblinear"
            )
        )
        runs = CountVectorizer(ngram_range=(1, 3), token_pattern=r"\w+|[,.?!;]", binary=True)
        texts = [without_quotes(row["text"]) for row in rows]
        self._model = make_pipeline(runs, regressions).fit(texts, made)

    def __call__(self, text: str) -> set[str]:
        """Return the claims as the labelled sets write them."""
        made = self._model.predict([without_quotes(text)])[0]
        return {claim for claim, is_made in zip(self._claims, made, strict=True) if is_made}


Kind = type[WordReader] | type[BagReader]


def cross_validated(kind: Kind, strength: float, rows: Sequence[Row], folds: int = 5) -> float:
    """Return the F1 of claims on rows that were left out of learning, in turns."""
    hits = total = 0
    for fold in range(folds):
        read = kind([row for i, row in enumerate(rows) if i % folds != fold], strength)
        for row in rows[fold::folds]:
            claims, wanted = read(row["text"]), set(row["claims"])
            hits += len(claims & wanted)
            total += len(claims) + len(wanted)
    return 2 * hits / max(total, 1)


def learn(rows: Sequence[Row], report: Callable[[str], None] = print) -> Reader:
    """Return the reader that does best in cross-validation on some rows, learned from all."""
    scores: dict[tuple[Kind, float], float] = {}
    for kind in (WordReader, BagReader):
        for strength in STRENGTHS:
            scores[kind, strength] = cross_validated(kind, strength, rows)
        strength = max(STRENGTHS, key=lambda one, kind=kind: scores[kind, one])
        report(f"{kind.__name__}: F1 {scores[kind, strength]:.2f} cross-validated, C={strength}")
    kind, strength = max(scores, key=scores.__getitem__)
    return kind(rows, strength)
