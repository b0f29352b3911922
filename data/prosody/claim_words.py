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
        "pitch": "pitch pitched pitches f0 register key fundamental",
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
        "energy high": "loud louder loudest loudly booming shout shouts shouting shouted "
        "yell yells "
        "yelling yelled scream screams screaming thundering forceful forcefully powerful "
        "powerfully "
        "energetic energetically vigorous vigorously",
        "energy low": "quiet quieter quietly soft softer softly faint faintly quietest "
        "hushed muted "
        "subdued murmur murmurs murmured murmuring softness quietness faintness energyless "
        "powerless inaudible inaudibly",
        "pitch high": "shrill shrilly squeaky falsetto",
        "rate fast": "fast faster quick quicker quickly rapid rapidly brisk briskly hurry hurried "
        "hurriedly haste hasty hastily rush rushed rushes rushing races racing swift "
        "swiftly speedy "
        "speedily breakneck fastest",
        "rate slow": "slow slower slowly sluggish sluggishly unhurried unhurriedly leisurely "
        "drags dragging slowness slowest plodding languid languidly",
        "intonation flat": "flat flatter flatly monotone monotonous monotonously unvarying "
        "monotony",
        "intonation expressive": "expressive expressively expressiveness lively liveliness "
        "animated varied dynamic melodic singsong sing-song undulating",
        "intonation rising-falling": "rising-falling rise-fall",
        "intonation falling-rising": "falling-rising fall-rise",
    }
)
"""Words that bring their attribute with them."""

_MOVES = _table(
    {
        "rising": "rise rises rising rose upward upwards increase increases increasing climbs "
        "climbing climb grows growing ascends ascending swells lift soars soaring intensifies "
        "intensifying builds building build upturn",
        "falling": "fall falls falling fell downward downwards decrease decreases decreasing drops "
        "dropping drop fades fading descends descending descent decline declines declining "
        "sinks sinking dips "
        "dipping dip lowers lowering plummets plunges weakens weakening diminishes "
        "diminishing dwindles "
        "dwindling subsides tapers tapering",
        "steady": "steady stable constant unchanged unchanging consistent uniform",
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
    r" (?:variations?|variability|variety|inflections?|modulations?|movement|range|melody)\b"
    r"(?! (?:in|of) (?:the |its )?(?:energy|volume|loudness|intensity|pace|tempo|rate|speed))"
)
_NONE = (
    r"(?:(?:a )?(?:lack|absence) of(?: any)?|lack(?:s|ed|ing)?(?: in| any)?|devoid of(?: any)?"
    r"|without(?: much| any| real)?|(?:not|n't|no) (?:much|real))"
)
_LITTLE = (
    r"(?:hardly any|barely any|almost no|very little|little|no|minimal|limited|narrow|small"
    rf"|restricted|{_NONE})"
)
_MUCH = r"(?:much|a lot of|lots of|plenty of|full of|wide|wider|broad|large|great|considerable)"
_PACED = r"(?:tone|tempo|pace|pitch|volume|rhythm|rate|speed|intonation|loudness|energy|melody)"
_UP = r"(?:ris(?:es?|ing)|climb(?:s|ing)?|go(?:es|ing) up|ascend(?:s|ing)?)"
_DOWN = (
    r"(?:(?:fall|drop|descend|sink|dip)(?:s|p?ing)?|(?:go|com)(?:es|ing) down|declin(?:es?|ing))"
)
_OWN_VOICE = r"(?:his|her|their|the|its) voice"
_TIME = r"(?:midway|partway|halfway|towards?|gradually|as|over|by|at the end|on the last)\b"
_FORCE = r"(?: \w+)? (?:energy|volume|loudness|power|force)"
_NOT_AS = r"not (?:quite |nearly )?(?:as|so)"
_AS_USUAL = r"as (?:usual|normal|average|ever|usually|one would expect)"

PHRASES: tuple[tuple[Meaning, str], ...] = (
    (Meaning("energy", "low", False), rf"{_NOT_AS} loud(?:ly)? {_AS_USUAL}"),
    (Meaning("rate", "slow", False), rf"{_NOT_AS} (?:fast|quick)(?:ly)? {_AS_USUAL}"),
    (Meaning("", "low", False), rf"{_NOT_AS} (?:high|strong) {_AS_USUAL}"),
    (Meaning("", "normal", False), rf"as (?:high|low|strong) {_AS_USUAL}"),
    (
        Meaning("", "", False),
        r"above all|on average|quick to|quickly "
        r"(?:chang|switch|respond|react|becom|turn|realiz)\w+",
    ),
    (Meaning("intonation", "flat", False), rf"{_LITTLE}{_VARIATION}"),
    (Meaning("intonation", "expressive", False), rf"(?<!-)(?:{_MUCH}|rich|high){_VARIATION}"),
    (
        Meaning("intonation", "expressive", False),
        r"(?:swings|swinging|moves|moving|ranges|ranging) (?:widely|freely|a lot)",
    ),
    (
        Meaning("", "steady", True),
        r"(?:hardly|barely|scarcely) (?:moves?|varies|vary|changes?)"
        r"|(?:does|do|did|is|are)(?: not|n't) (?:really |much "
        r")?(?:chang|vary|mov|fluctuat)(?:e|ing)?"
        rf"|even(?= (?:{_PACED}|voice|delivery)| ?[,.;:)]| ?$)",
    ),
    (
        Meaning("", "expressive", True),
        r"(?:(?:varies|vary|varying|chang(?:es?|ing)|shifts?|jumps?)"
        r"(?: quite)? (?:a lot|widely|considerably|noticeably|greatly|markedly|strongly|around)"
        r"|fluctuat(?:es?|ing)|goes up and down|mov(?:es|ing) up and down|undulates)",
    ),
    (Meaning("", "rising-falling", True), rf"{_UP}\s+{_DOWN}"),
    (Meaning("", "falling-rising", True), rf"{_DOWN}\s+{_UP}"),
    (Meaning("", "rising", True), r"(?:goes|going|turns|turning|moves|moving) up(?:wards?)?"),
    (Meaning("", "falling", True), r"(?:comes|coming|goes|going|moves|moving) down(?:wards?)?"),
    (
        Meaning("energy", "low", False),
        r"(?:(?:barely|hardly|scarcely|never|not)(?: \w+){0,2} )?above a (?:whisper|murmur)",
    ),
    (Meaning("energy", "low", False), rf"(?:hardly any|very little|little){_FORCE}"),
    (
        Meaning("energy", "low", False),
        rf"(?:{_NONE}|no) (?:vocal |real )?(?:energy|volume|loudness|power|force)"
        r"(?! (?:\w+ )?(?:chang|increas|drop|shift|peak|burst|spike|variation))|in a whisper"
        r"|(?:start|begin|open|end|finish)(?:s|ed|ing)?(?: out| off| up)? whispering",
    ),
    (
        Meaning("energy", "rising", True),
        rf"rais(?:es?|ed|ing) {_OWN_VOICE}(?= (?:\w+ )?{_TIME})|picks? up (?:in "
        rf")?(?:volume|energy)",
    ),
    (
        Meaning("energy", "falling", True),
        rf"lower(?:s|ed|ing)? {_OWN_VOICE}(?= (?:\w+ )?{_TIME})"
        r"|(?:trail|fad|di|tail)(?:es|s|ing|ed|e) (?:off|out|away|down)|loses "
        r"(?:energy|power|force)",
    ),
    (Meaning("energy", "high", False), rf"rais(?:es?|ed|ing) {_OWN_VOICE}"),
    (Meaning("energy", "low", False), rf"lower(?:s|ed|ing)? {_OWN_VOICE}"),
    (
        Meaning("rate", "rising", True),
        r"(?:speed|pick)s? up(?: (?:speed|pace|the pace))?|gathers (?:speed|pace)",
    ),
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
    + r"|sing-song|ris(?:ing|e)-fall(?:ing)?|fall(?:ing)?-ris(?:ing|e)|[a-z0-9]+"
)
"""A word or phrase; the number of the group that matched is the place of the phrase, from 1."""

CLAUSE_ENDS = re.compile(
    r"[.!?;\n]|\b(?:(?<!anything )but|while|whereas|although|though|yet|however|despite|because"
    r"|since|suggest(?:s|ing|ed)?|indicates?|indicating|points? to(?:wards?)?|convey(?:s|ing)?"
    r"|express(?:es|ing)?|reflect(?:s|ing)?|reveal(?:s|ing)?|betray(?:s|ing)?|signal(?:s|ling)?"
    r"|typical of|characteristic of)\b"
)
ARC = re.compile(
    rf"\b({_UP}|{_DOWN})((?: \w+ly)?(?:,? (?:and |but (?=then))?(?:then )?|,? before ))"
    rf"(?=(?:{_UP}|{_DOWN})\b)"
)
"""A turn of the melody, told in two words that nothing shall part."""
REPEATED = re.compile(r"\b(\w+er|more) and (?=\1\b)")
"""A growing level: "louder and louder", "more and more loud"."""
BETWEEN = re.compile(r"(\bbetween (?:an? )?[\w-]+(?: \w+)?) and\b")
"""A range, told with an "and" that joins no two statements."""
SEGMENT_ENDS = re.compile(r"[,:()]|\b(?:and|or|with|plus|alongside)\b")
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
    "cannot t absence devoid lacked"
)
"""The `t` is that of "isn't" and its like."""

NO_DENIAL_BEFORE = frozenset(["only", "just", "merely", "simply"])
DENYING_PAIRS = frozenset(
    [("anything", "but"), ("far", "from"), ("instead", "of"), ("rather", "than")]
)
SCOPE_ENDS = _words(
    "how that which what why match matches fit fits suit suits mask masks hide hides contradict "
    "contradicts"
)
"""A denial does not reach over them: "one might not mind how loud it is"."""

BEFORE_COMPARISON = frozenset(["than", "above", "below"])
COMPARISONS = BEFORE_COMPARISON | {"compared", "from"}
"""A level so soon after them is what something is compared with."""

NOUN_PHRASE = _words(
    "the a an his her its their this that of both also overall general level levels speech "
    "speaking vocal voice speaker s so is are was were too"
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
    "fades": "energy",
    "fading": "energy",
    "swells": "energy",
    "weakens": "energy",
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

GROWING = _words(
    "get gets getting got grow grows growing grew become becomes becoming became turn turns "
    "turning "
    "increasingly progressively gradually ever"
)
"""Words that make a change of the level after them: "grows louder"."""

STARTS = re.compile(
    r"(?<!from )(?<!from the )\b(?:begins?|begun|began|beginning|starts?|started|starting|opens"
    r"|opening|initially|initial|at first|onset|outset|early on"
    r"|first (?:half|part|words?|few|syllables?|seconds?|third))\b(?! with\b(?! an?\b))"
)
"""Words of the beginning of a clip, and not of all of it ("from the start")."""

FINISHES = re.compile(
    r"\b(?:(?<!beginning to )(?<!start to )(?<!in the )(?<!to the )(?<!to its )(?<!low )(?<!high )"
    r"(?<!lower )(?<!higher )(?<!upper )ends?(?! of the day)"
    r"|ended|ending|finishes|finishing|closes|closing|later|afterwards"
    r"|subsequently|(?<=[a-z,] )then(?! there)|eventually"
    r"|(?:last|final|second) (?:half|part|words?|few|syllables?|seconds?|third))\b"
)
"""Words of its end."""

ONE_WORD = re.compile(
    r"\b(?:the (?:word(?= in| at| is stressed)|(?:key|stressed|middle) (?:word|syllable)(?!  ))\b"
    r"|(?:emphasi[sz]ed|stressed|accented) (?:words?|parts?|syllables?)"
    r"|is (?:stressed|emphasi[sz]ed))\b"
)
"""What tells of a single word."""

COPULAS = _words(
    "is are was were be being seems seem sounds sound appears appear remains remain stays "
    "stay feels "
    "isn aren wasn"
)

VOICES = _words(
    "voice voices speech speaking delivery delivers utterance speaker speakers person man woman "
    "girl boy lady guy child male female talker he she they it i we who this that these "
    "those what former latter "
    "everything overall vocals vocal vocalization vocalisation articulation articulations "
    "pronunciation enunciation rhythm sound sounds audio recording clip sample segment "
    "laugh laughter "
    "whisper murmur shout scream narration tone tones manner way style fashion talk talking words "
    "word sentence phrase line statement reading answer reply response question syllables one ones "
    "prosody performance presentation expression frequency side end start beginning rest range "
    "shape quality pattern profile character "
    "variation movement rise fall drop increase decrease descent burst"
)
"""Words for a voice, its owner or what he says: what a level word may describe."""

OTHERS = _words(
    "music noise noises background song tv television radio story plot mood tension traffic engine "
    "crowd applause rain"
)
"""What has a loudness or a pace of its own."""

MEASURES = frozenset(["level", "levels", "degree", "amount", "sense"])
"""Words before "of" that stand for what comes after it."""

FUNCTION = _words(
    "a an the of in on at to for from by with without and or but as than then that this "
    "these those "
    "is are was were be been being has have had do does did not no nor so too very quite rather "
    "more most less enough here there now today throughout overall across during within when while "
    "if because since after before until through over under about around between among like such "
    "towards toward onto upon along near later afterwards first finally too well though "
    "also again still just only even both all each every any some much many which who whom whose "
    "what how his her its their my our your he she it they i we you one time relative compared "
    "given considering due according despite instead yet thus hence therefore may might can could "
    "doesn don didn isn aren wasn weren won hasn haven "
    "will would should must seems seem sounds appears s t out up down off"
)
"""Words that no adjective describes."""

OF_MIND = _words(
    "state states emotion emotions emotional emotionally feeling feelings mood arousal affect "
    "sense sadness sorrow grief anger joy happiness fear surprise disgust contempt confusion "
    "distress calm tension excitement frustration speaker person content wording"
)
"""What a level word before them belongs to, and no attribute."""

ENDS = frozenset(["end", "close", "ending"])
"""What a voice rises or falls towards when it is the melody that does."""
