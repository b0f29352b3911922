"""Which parts of an English text tell how this voice is, and which how another is or might be."""

from __future__ import annotations

import re
from collections.abc import Iterator

_UNIT_ENDS = re.compile(
    r"[.!?;:\n]|\b(?:but|yet|however|whereas|while|although|though|instead)\b"
    r"|(?= (?:in this (?:clip|case|recording|audio|sample)|here,? (?:the|it|he|she))\b)"
)
"""What cuts a sentence where it may turn from what might be to what is."""

_PART_ENDS = re.compile(
    r", (?=(?:which|who|as|and|so|for|since|because|contrary|a|an|the|this|it|he|she|in|her|his"
    r"|their|with|yet)\b)"
)
"""Commas that part a clause from another, not the members of a list."""

_VERBS_OF_SAYING = (
    r"describe|say|call|pick|guess|go|choose|lean|settle|opt|characteri[sz]e|put|rate|judge"
    r"|argue|note|place|estimate"
    r"|seem|appear|hear|notice"
)
_AS_IF = re.compile(
    r"\b(?:(?<!sounds )(?<!seems )(?<!looks )(?:as if|as though|like someone)\b"
    r"|(?:than|as) (?:\w+ ){0,2}(?:would|might|could|should|expect(?:ed|s)?)\b"
    r"|(?:as|like|how) (?:\w+ ){0,5}when(?:ever)? (?:people|some(?:one|body)|one|an?)\b)"
    r"[^,.;:!?\n]*"
)
"""What a voice is compared with, up to the next mark."""
_CONDITION = re.compile(
    r"(?<!even )\bif\b(?! (?:anything|not|only|somewhat|slightly|a bit|a little"
    r"|(?:i|we|you|one) (?:listens?|pays?|must|ha(?:d|ve) to|am|'m|were to|hear (?:\w+ )?(?:right"
    r"|well|correctly|closely))\b))|\bunless\b"
    r"|(?<!\bi )(?<!\bwe )\bsuppos(?:e|ing)\b|\bassuming\b|(?<=[a-z] )otherwise\b"
    r"|\bwith(?:out)? (?:an? )?[^,.;]{0,60}, (?:\w+ ){1,3}(?:would|could|might)\b|\bprovided\b"
    r"|(?<![a-z] )\b(?:were|should) (?:the|this|it|he|she|her|his|their)\b"
    r"|\bhad (?:the|this|it|he|she|they|her|his|their)\b[^,.;]{0,60} been\b"
    r"|\bwhen(?:ever)? (?:people|someone|somebody|one|a person|a speaker|speakers)\b"
    r"|\bthe (?:previous|other|earlier|last|first|second) (?:clip|sample|recording|audio|example)\b"
)
"""What makes all of a unit a supposition, or a statement about another clip."""
_MODAL = re.compile(
    rf"\bwould (?!(?:\w+ ){{0,2}}(?:{_VERBS_OF_SAYING})d?\b(?! for)|be \w+(?: \w+)? to (?:call"
    rf"|say))"
    r"|\b(?:could|should|might|must) (?:\w+ )?have \w+|\bought to\b"
    r"|\bi'd (?:need|expect|want)\b"
    r"|\bshould (?:be|sound|speak|rise|fall)\b"
    r"|\b(?:one|we|you|i|is|was|are|were)(?:'d| had| might| could)? expect(?:s|ed)?\b"
)
"""What makes the part of a unit around it one."""
_WOULD_FIT = re.compile(r"would (?:\w+ )?(?:point|suggest|indicate|imply|hint|fit|match|signal)\b")
_GENERAL = re.compile(
    r"(?<!than )(?<!as )\b(?:typically|usually|often|generally|commonly|normally|frequently"
    r"|in general|tends? to|(?:person|people|speakers?|someone|voice|speech) (?:can|might|may)"
    r"|(?:is|are) (?:\w+ )?(?:associated|linked|characteri[sz]ed|marked|accompanied)"
    r"|(?:is|are) (?:typical|characteristic) of)\b"
)
"""What tells how a kind of voice is, if the part does not speak of somebody."""
_AS_A_RULE = re.compile(
    r"\W*(?:typically|usually|generally|normally|often|commonly|in general),"
    r"(?! (?:\w+ )?(?:the|his|her|its|their|this|that|he|she|it|they|i)\b)"
)
"""What makes all of a unit general: "Typically, a sad speaker is slow"."""
_OF_EMOTION = re.compile(
    r"\b(?:in|under|during|with) (?:anger|sadness|fear|joy|happiness|grief|surprise|disgust"
    r"|contempt|excitement|boredom|anxiety|panic|rage|sorrow|distress|confusion|irritation)\b"
)
_EMOTIONS = (
    r"(?:anger|sadness|fear|joy|happiness|grief|surprise|disgust|contempt|excitement|boredom"
    r"|anxiety|panic|rage|sorrow|distress|confusion|irritation|neutrality|calmness)"
)
_EMOTIONAL = (
    r"(?:angry|sad|fearful|afraid|scared|joyful|happy|surprised|disgusted|contemptuous|excited"
    r"|bored|anxious|confused|irritated|neutral|calm|depressed|enthusiastic|frightened)"
)
_EXPECTED = re.compile(
    r"\b(pitch|volume|loudness|intensity|energy|pace|tempo|rate|speed|above|below)"
    r"( (?:that |which |what )?(?:one|you|we|i)(?:'d| would| might) (?:\w+ )?expect\b[^,.;:!?\n]*)"
)
"""What is expected, after what is told of this voice: "lacks the pitch one would expect"."""
_KIND = re.compile(
    rf"(?:(?:(?<=^)|(?<=[.!?;:\n] ))(?:in|with|under) {_EMOTIONS}, "
    r"(?!(?:\w+ )?(?:the|this|he|she|his|her|it)\b)"
    r"|\ban? (?:\w+ ){1,4}can (?:also )?(?:signal|indicate|suggest|mean|reflect|convey|accompany)\b"
    rf"|(?<!the )(?<!his )(?<!her )(?<!their )(?<!this )(?<!that )(?<!of )(?<!its )\b{_EMOTIONS}"
    r"(?:,? which (?:is|has|sounds|comes|goes|means|involves)"
    r"| (?:means?|involves?|entails?|requires?|features|comes? with|goes? with|calls? for)\b)"
    r"|(?:(?<=^)|(?<=[.!?;:\n,] )|(?<=\n)|\b(?:most|many|some|all|as|since|because|and|but)) ?"
    rf"\b{_EMOTIONAL} (?:speakers|people|persons|individuals|voices|utterances|speech"
    rf" (?=is|has|sounds|comes))\b|\ban? {_EMOTIONAL} (?:speaker|person|individual) (?:has|is)\b)"
    r"[^.;:!?\n]*?(?=$|[.;:!?\n]|,? \b(?:but|while|whereas|yet|however|though|although|here|in this"
    r"|and (?:the|this|here|it|he|she))\b)"
)
"""How an emotion is, or those who have it: "Anger means a loud voice", "sad voices are slow"."""
_DEFINITE = re.compile(
    r"\b(?:the|his|her|its|their|this|that|these|those|such|he|she|it|they|here|i)\b"
)
_NO_SUBJECT = re.compile(r"\W*(?:(?:and|so) )?(?:with|at|in(?! general)|delivered|spoken)\b")


_OPINION = (
    r"(?:i|we|one) (?:feel|think|believe|suppose|guess|(?:would|might|should|could) say)|i'd say"
    r"|i'd guess|to my ears?|as far as i can tell|so to speak"
)
_ASIDE = re.compile(
    rf",( (?:{_OPINION}|though|however|in turn|of course|in fact|indeed|admittedly|on the whole"
    r"|for the most part|(?:by|in) contrast|in comparison|then|again|for (?:example|instance)"
    r"|if anything|at least|too|arguably|perhaps|presumably|apparently|moreover|meanwhile"
    r"|surprisingly|interestingly|clearly|no doubt|you know|well)),"
)
"""What parts a subject from its level, and says neither: ", I feel,"."""
_IN_FACT = re.compile(
    r",? ?\b(?:in (?:fact|reality|truth)|on (?:closer|careful|second|repeated) (?:listening|hearing"
    r"|inspection)|(?:as )?it turns out(?: that)?|(?<=it )turns out to be|instead(?=,))\b,?"
)
_LAST_WORDS = re.compile(rf", (?:{_OPINION})(?= *[.!?;\n]| *$)")
_OWN_SUBJECT = re.compile(
    r":(?= +(?:the|his|her|its|their) (?:\w+ )?(?:pitch|volume|energy|loudness|intensity|pace|rate"
    r"|tempo|speed|intonation|melody)\b)"
)
"""What parts what is to be judged from the judgement: "Pitch and volume: the pitch is high"."""
_NOTHING = re.compile(
    r"\b(nothing (?:(?!to |that )\w+ ){0,5}?)((?:suggests?|indicates?|points? to)(?: that)?\b)"
)
"""A denial whose verb parts no clauses: "nothing in the clip suggests a fast pace"."""
_STAMMER = re.compile(r"\b(\w+ly|very|so|quite|rather)(,? (?:like |really )?)(?=\1 \w)")
"""An adverb said twice: "extremely, like extremely low"."""

_CLIP = r"(?:clip|recording|utterance|sample|sentence|line|take|file)s\b"
_USUAL = r"(?:\w+ )?(?:average|typical|normal|usual|ordinary)\b"
_PERSON = (
    r"(?:speaker|man|woman|guy|person|interviewer|partner|colleague|friend|host|caller|girl|boy"
    r"|lady|child|mother|father|brother|sister|husband|wife|one|voice|hers|counterpart"
    rf"|others?(?! {_CLIP})"
    r"|interlocutor|teacher|narrator|customer|agent|(?:first|second|former|latter)(?=\W*(?:$"
    r"|[,.;]))"
    r")(?:['\u2019]?s)?\b"
)
_OWN_NORM = (
    r"(?:speaker|person|man|woman|voice)['\u2019]s (?:\w+ ){0,2}(?:average|mean|median|baseline"
    r"|norm|normal|usual|typical|habitual|ordinary|natural|range|level|register|own|neutral|previous"
    r"|earlier|other)\b"
)
"""What is usual for this speaker, and no other person."""
_ANOTHER = (
    rf"(?:the|that|this|his|her|their|another)(?! {_USUAL})(?! {_OWN_NORM})"
    rf" (?:\w+ ){{0,2}}?{_PERSON}"
)
_THAN_ANOTHER = re.compile(
    rf"\b(?:\w+er|(?:more|less) \w+)(?: \w+){{0,3}}? than (?:that of |those of )?{_ANOTHER}"
    rf"[^,.;:!?\n]*|\b(?:as|so) \w+ as {_ANOTHER}"
)
"""A comparison with another person, which tells nothing of a level."""
_BESIDE_ANOTHER = re.compile(
    rf"\b(?:compared (?:to|with)|in comparison (?:to|with)|relative to|next to|unlike|(?:set|as"
    rf"|measured) against) {_ANOTHER}"
)
"""What makes all of a unit one."""


def without_asides(text: str) -> str:
    """Return a lower-case text without words that part a subject from its level, places kept.

    Tabs stand in their stead: a run of blanks is a quote.
    """
    text = _ASIDE.sub(lambda match: "\t" * len(match[0]), text)
    text = _IN_FACT.sub(lambda match: "\t" * len(match[0]), text)
    text = _OWN_SUBJECT.sub(".", text)
    text = _NOTHING.sub(lambda match: match[1] + "\t" * len(match[2]), text)
    text = _LAST_WORDS.sub(lambda match: "\t" * len(match[0]), text)
    return _STAMMER.sub(lambda match: match[1] + " " * len(match[2]), text)


def without_suppositions(text: str) -> str:
    """Return a lower-case text with what it does not say of this voice blanked out, places kept.

    Blank are suppositions ("if it were louder, ..."), expectations ("one would expect"), what is
    said of emotions or people in general ("anger often comes with a loud voice"), and comparisons
    with another speaker.
    """
    text = _EXPECTED.sub(lambda match: match[1] + " " * len(match[2]), text)
    text = _AS_IF.sub(lambda match: " " * len(match[0]), text)
    text = _KIND.sub(lambda match: " " * len(match[0]), text)
    text = _THAN_ANOTHER.sub(lambda match: " " * len(match[0]), text)
    parts: list[str] = []
    place = 0
    for start, end in _spans(text):
        parts += [text[place:start], " " * (end - start)]
        place = end
    return "".join([*parts, text[place:]])


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for start, end in _cut(_UNIT_ENDS, text, 0, len(text)):
        if _CONDITION.search(text, start, end) or _BESIDE_ANOTHER.search(text, start, end):
            yield start, end
            continue
        if not (_MODAL.search(text, start, end) or _GENERAL.search(text, start, end)):
            continue
        if _AS_A_RULE.match(text, start, end):
            yield start, end
            continue
        for first, last in _cut(_PART_ENDS, text, start, end):
            if _is_supposed(text, first, last) or _is_general(text, first, last):
                yield first, last


def _cut(ends: re.Pattern[str], text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in ends.finditer(text, start, end):
        yield start, match.start()
        start = match.end()
    yield start, end


def _is_supposed(text: str, start: int, end: int) -> bool:
    """Whether a part supposes: "this would be louder", and not "this loudness would fit anger"."""
    return any(
        not (_WOULD_FIT.match(text, m.start(), end) and _DEFINITE.search(text, start, m.start()))
        for m in _MODAL.finditer(text, start, end)
    )


def _is_general(text: str, start: int, end: int) -> bool:
    """Whether a part speaks of a kind: "fearful speech tends to be fast", not "the speech"."""
    general = _GENERAL.search(text, start, end)
    if general is None:
        return False
    if _OF_EMOTION.search(text, start, general.start()):
        return True
    if _DEFINITE.search(text, start, general.start()):
        return False
    return not _NO_SUBJECT.match(text, start, end)
