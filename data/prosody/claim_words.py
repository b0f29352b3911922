"""The English of `data.prosody.claims`: words for attributes, levels, changes and denials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a level word says."""

    attribute: str
    """Its own attribute; empty if it takes that of a noun beside it."""
    level: str
    """Level or direction; empty for a phrase that claims nothing."""
    is_move: bool
    """Whether it tells a change."""


def _table(lines: Mapping[str, str]) -> dict[str, str]:
    return {word: meaning for meaning, words in lines.items() for word in words.split()}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _meaning(line: str, *, is_move: bool) -> Meaning:
    attribute, _, level = line.rpartition(" ")
    return Meaning(attribute, level, is_move)


NOUNS = _table(
    {
        "pitch": "pitch pitched pitches f0 register key",
        "energy": "energy volume loudness intensity power amplitude",
        "rate": "rate pace tempo speed pacing paced cadence",
        "intonation": "intonation contour melody inflection inflections modulation tune intoned",
    }
)
"""Words that name an attribute."""

_LEVELS = _table(
    {
        "high": "high higher highest raised elevated heightened increased strong stronger above",
        "low": "low lower lowest lowered reduced decreased deep deeper weak weaker below",
        "normal": "normal normally moderate moderately medium average usual mid middle middling "
        "ordinary typical neutral regular everyday conversational unremarkable",
    }
)
"""Words for a level of whatever attribute is named beside them."""

_OWN = _table(
    {
        "energy high": "loud louder loudly booming shout shouts shouting shouted yelling forceful "
        "powerful",
        "energy low": "quiet quieter quietly soft softer softly faint faintly hushed muted subdued "
        "murmured murmuring",
        "rate fast": "fast faster quick quicker quickly rapid rapidly brisk briskly hurry hurried "
        "hurriedly haste hasty hastily rushed rushes rushing races racing swift swiftly",
        "rate slow": "slow slower slowly sluggish sluggishly unhurried leisurely drags dragging",
        "intonation flat": "flat flatter flatly monotone monotonous monotonously unvarying",
        "intonation expressive": "expressive expressively expressiveness lively liveliness "
        "animated varied dynamic melodic",
        "intonation rising-falling": "rising-falling rise-fall",
        "intonation falling-rising": "falling-rising fall-rise",
    }
)
"""Words that bring their attribute with them."""

_MOVES = _table(
    {
        "rising": "rise rises rising rose upward upwards increase increases increasing climbs "
        "climbing climb grows growing ascends ascending swells lift",
        "falling": "fall falls falling fell downward downwards decrease decreases decreasing drops "
        "dropping drop fades fading descends descending descent declines declining sinks sinking",
        "steady": "steady stable constant unchanged",
    }
)
"""Words for a change of whatever attribute is named beside them."""

_OWN_MOVES = _table(
    {
        "rate rising": "accelerates accelerating quickens quickening speeds speeding",
        "rate falling": "decelerates decelerating slows slowing",
        "energy falling": "softens softening quietens",
    }
)
"""Words for a change that bring their attribute with them."""

MEANINGS: Mapping[str, Meaning] = {
    word: _meaning(line, is_move=is_move)
    for table, is_move in ((_LEVELS, False), (_OWN, False), (_MOVES, True), (_OWN_MOVES, True))
    for word, line in table.items()
}
"""Level word -> what it says."""

# "Variation" is of the melody, unless it is that of something else.
_VARIATION = (
    r"(?: (?:pitch|melodic|melody|tonal|vocal|f0|intonation|in|of|the|real)){0,2}"
    r" (?:variations?|variability|variety|inflections?|modulations?|movement|range)\b"
    r"(?! (?:in|of) (?:the |its )?(?:energy|volume|loudness|intensity|pace|tempo|rate|speed))"
)
_LITTLE = r"(?:hardly any|barely any|almost no|very little|little|no|minimal|limited|narrow|small)"
_MUCH = r"(?:much|a lot of|lots of|plenty of|full of|wide|wider|broad|large|great|considerable)"
_FORCE = r"(?: \w+)? (?:energy|volume|loudness|power|force)"
_AS_USUAL = r"as (?:usual|normal|average|ever|usually|one would expect)"

PHRASES: tuple[tuple[Meaning, str], ...] = (
    (Meaning("", "", False), r"above all|on average"),
    (Meaning("intonation", "flat", False), rf"{_LITTLE}{_VARIATION}"),
    (Meaning("intonation", "expressive", False), rf"(?:{_MUCH}|rich|high){_VARIATION}"),
    (
        Meaning("intonation", "expressive", False),
        r"(?:swings|swinging|moves|moving|ranges|ranging) (?:widely|freely|a lot)",
    ),
    (Meaning("", "steady", True), r"(?:hardly|barely|scarcely) (?:moves?|varies|vary|changes?)"),
    (Meaning("", "rising", True), r"(?:goes|going|turns|turning|moves|moving) up(?:wards?)?"),
    (Meaning("", "falling", True), r"(?:comes|coming|goes|going|moves|moving) down(?:wards?)?"),
    (
        Meaning("energy", "low", False),
        r"(?:(?:barely|hardly|scarcely|never|not)(?: \w+){0,2} )?above a (?:whisper|murmur)",
    ),
    (Meaning("energy", "low", False), rf"(?:hardly any|very little|little){_FORCE}"),
    (Meaning("energy", "high", False), rf"(?:much|a lot of|lots of|plenty of|full of){_FORCE}"),
    (
        Meaning("energy", "normal", False),
        rf"(?:as |moderately )(?:loud|quiet|soft)(?:ly)? {_AS_USUAL}|moderately (?:loud|soft)",
    ),
    (
        Meaning("rate", "normal", False),
        rf"as (?:fast|slow|quick)(?:ly)? {_AS_USUAL}|moderately (?:fast|quick|slow)",
    ),
)
"""What several words say together, and their pattern."""

WORD = re.compile(
    "|".join(rf"\b({pattern})\b" for _, pattern in PHRASES)
    + r"|ris(?:ing|e)-fall(?:ing)?|fall(?:ing)?-ris(?:ing|e)|[a-z0-9]+"
)
"""A word or phrase; the number of the group that matched is the place of the phrase, from 1."""

CLAUSE_ENDS = re.compile(
    r"[.!?;\n]|\b(?:(?<!anything )but|while|whereas|although|though|yet|however|despite|because"
    r"|since|suggest(?:s|ing|ed)?|indicates?|indicating|points? to(?:wards?)?|convey(?:s|ing)?"
    r"|express(?:es|ing)?|reflect(?:s|ing)?|reveal(?:s|ing)?|betray(?:s|ing)?|signal(?:s|ling)?"
    r"|typical of|characteristic of)\b"
)
SEGMENT_ENDS = re.compile(r"[,:()]|\b(?:and|or|with|plus|alongside)\b")
HYPOTHETICAL = re.compile(r"\bwould (?:\w+ )?(?:be|have|sound)\b")
"""A clause with it tells what is not so."""

KEEP_NOUN = frozenset(["but", "yet", "though", "?"])
"""After them, what was named before may be meant: "not high but low", "And the pitch? Low."."""

REACH = 4
"""Words that a denial or a comparison reaches, and that "low" may have before it in "which is
low"."""

BUT_REACH = 1
"""Words that may stand between "but" and a level of what was named before it."""

OR_REACH = 2
"""How many words after "or" are still denied: "not fast or loud"."""

DENIALS = _words(
    "not no never without neither nor nothing none hardly barely scarcely lack lacks lacking "
    "cannot t"
)
"""The `t` is that of "isn't" and its like."""

NO_DENIAL_BEFORE = frozenset(["only", "just", "merely", "simply"])
DENYING_PAIRS = frozenset([("anything", "but"), ("far", "from"), ("instead", "of")])
SCOPE_ENDS = frozenset(["how", "that", "which", "what", "why"])
"""A denial does not reach over them: "one might not mind how loud it is"."""

BEFORE_COMPARISON = frozenset(["than", "above", "below"])
COMPARISONS = BEFORE_COMPARISON | {"compared", "from"}
"""A level so soon after them is what something is compared with."""

NOUN_PHRASE = _words(
    "the a an his her its their this that of both also overall general level levels speech "
    "speaking vocal voice speaker s"
)
"""Words that make, with a noun, a segment that says nothing by itself."""

LINKS = DENIALS | _words(
    "is are was were be been being it they that which this remains stays seems sounds appears "
    "keeps very quite rather too so also even still both all more most less somewhat as a an the "
    "isn aren on in at of then than almost about close to just only far from anything but now"
)
"""Words between what was named before and its level."""

ARTICLES = frozenset(["a", "an", "the", "his", "her", "its", "their", "this"])

OF_VOICE: Mapping[str, str] = {
    "high": "pitch",
    "higher": "pitch",
    "deep": "pitch",
    "deeper": "pitch",
    "strong": "energy",
    "weak": "energy",
    "raised": "energy",
    "lowered": "energy",
}
"""Level word of a voice, where no attribute is named -> the attribute that it means."""

OF_MIND = _words(
    "state states emotion emotions emotional emotionally feeling feelings mood arousal affect "
    "sense sadness sorrow grief anger joy happiness fear surprise disgust contempt confusion "
    "distress calm tension excitement frustration speaker person content wording"
)
"""What a level word before them belongs to, and no attribute."""

ENDS = frozenset(["end", "close", "ending"])
"""What a voice rises or falls towards when it is the melody that does."""

_QUOTE = re.compile('["\u201c]')
_CLOSING = {'"': '"', "\u201c": "\u201d"}


def without_quotes(text: str) -> str:
    """Return a text with what stands in double quotes blanked out, every place kept.

    A quote that is never closed blanks nothing. Time is linear, also for a text of such quotes.
    """
    parts: list[str] = []
    place = 0
    unclosed: set[str] = set()
    for opening in _QUOTE.finditer(text):
        kind, start = opening[0], opening.start()
        if start < place or kind in unclosed:
            continue
        end = text.find(_CLOSING[kind], start + 1) + 1
        if not end:
            unclosed.add(kind)
            continue
        parts += [text[place:start], " " * (end - start)]
        place = end
    return "".join([*parts, text[place:]])
