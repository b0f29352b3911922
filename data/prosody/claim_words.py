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


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text that parts them by blanks."""
    return frozenset(text.split())


def _meaning(line: str, *, is_move: bool) -> Meaning:
    attribute, _, level = line.rpartition(" ")
    return Meaning(attribute, level, is_move)


NOUNS = _table(
    {
        "pitch": "pitch pitched pitches f0 register key fundamental",
        "energy": "projection decibels energy volume loudness intensity power amplitude",
        "rate": "rate pace tempo speed pacing paced cadence",
        "intonation": "intonation contour melody inflection inflections modulation tune intoned",
    }
)
"""Words that name an attribute."""

_LEVELS = _table(
    {
        "high": "boosted amplified high higher highest raised elevated heightened increased "
        "strong stronger above upper greater",
        "low": "sunken diminished dampened lessened restrained suppressed low lower lowest "
        "lowered reduced decreased deep deeper weak weaker below",
        "normal": "unexceptional balanced comfortable standard intermediate midrange natural "
        "normal normally moderate moderately medium average usual mid middle middling ordinary "
        "typical neutral regular everyday conversational unremarkable",
    }
)
"""Words for a level of whatever attribute is named beside them."""

_OWN = _table(
    {
        "energy high": "booms noisy noisily stentorian hollers hollering resounding resoundingly "
        "vociferous vociferously robustly blasts blasting loud louder loudest loudly booming "
        "shout shouts shouting shouted yell yells yelling yelled scream screams screaming "
        "thundering bellow bellows bellowed bellowing roar roars roared roaring deafening blaring "
        "thunderous emphatic emphatically forceful forcefully powerful powerfully energetic "
        "energetically vigorous vigorously",
        "energy low": "muffled undertone quiet quieter quietly soft softer softly faint faintly "
        "quietest hushed muted subdued murmur murmurs murmured murmuring whispers whispered "
        "mumbles mumbled mumbling mutters muttered muttering feeble feebly weakly "
        "softness quietness faintness energyless powerless inaudible inaudibly",
        "pitch high": "treble soprano shrill shrilly squeaky falsetto piping",
        "pitch low": "bass baritone rumbling rumbly",
        "rate fast": "blistering frenetic frenetically frantically hectic headlong hurtling "
        "hurtles fast faster quick quicker quickly rapid rapidly brisk briskly hurry hurried "
        "hurriedly haste hasty hastily rush rushed rushes rushing races racing swift swiftly "
        "speedy speedily breakneck fastest gabbles gabbled gabbling galloping zips zipping",
        "rate slow": "lethargic lethargically lingers lingering dawdling dawdles lumbering "
        "creeping laboured labored glacial glacially lazily protracted elongated slow slower "
        "slowly sluggish sluggishly unhurried unhurriedly leisurely drags dragging slowness "
        "slowest plodding plods languid languidly drawl drawls drawling ponderous ponderously "
        "crawls crawling",
        "intonation flat": "lifeless lifelessly woodenly mechanically flat flatter flatly "
        "monotone monotonous monotonously unvarying monotony drone drones droning toneless "
        "tonelessly uninflected unmodulated deadpan robotic robotically",
        "intonation expressive": "inflected vivid vividly melodious melodiously spirited tuneful "
        "singing theatrical theatrically bouncy expressive expressively expressiveness lively "
        "liveliness animated varied dynamic melodic singsong sing-song undulating lilting lilt "
        "swooping swoops colourful colorful",
        "intonation rising-falling": "rising-falling rise-fall",
        "intonation falling-rising": "falling-rising fall-rise",
    }
)
"""Words that bring their attribute with them."""

_MOVES = _table(
    {
        "rising": "ascent uptick upswing rise rises rising rose upward upwards increase increases "
        "increasing climbs climbing climb climbed grows growing ascends ascending ascended swells "
        "swelling swelled lift lifts soars soaring soared intensifies intensifying intensified "
        "builds building build upturn mounts mounting mounted",
        "falling": "sags sagging droops drooping slumps tumbles nosedives downturn downswing "
        "cascades fall falls falling fell downward downwards decrease decreases decreasing drops "
        "dropping drop dropped fades fading faded descends descending descent decline declines "
        "declining drains drained draining sinks sinking sank slackens slackening slackened wanes "
        "waning ebbs ebbing "
        "recedes dips dipped dipping dip lowers lowering plummets plunges weakens weakening "
        "diminishes diminishing dwindles dwindling subsides tapers tapering",
        "expressive": "variable exaggerated",
        "steady": "static steady stable constant unchanged unchanging consistent uniform",
    }
)
"""Words for a change of whatever attribute is named beside them."""

_OWN_MOVES = _table(
    {
        "rate rising": "acceleration accelerando accelerates accelerating accelerated quickens "
        "quickening quickened speeds speeding",
        "rate falling": "deceleration ritardando decelerates decelerating decelerated slows "
        "slowing slowed",
        "energy rising": "crescendo",
        "energy falling": "diminuendo decrescendo softens softening quietens",
    }
)
"""Words for a change that bring their attribute with them."""

MEANINGS: Mapping[str, Meaning] = {
    word: _meaning(line, is_move=is_move)
    for table, is_move in ((_LEVELS, False), (_OWN, False), (_MOVES, True), (_OWN_MOVES, True))
    for word, line in table.items()
}
"""Level word -> what it says."""

KEEP_NOUN = frozenset(["but", "yet", "though", "?", ";"])
"""After them, what was named before may be meant: "not high but low", "And the pitch? Low."."""

REACH = 4
"""Words that a denial or a comparison reaches, and that "low" may have before it in "which is
low"."""

FAR_REACH = 12
"""Words that a denial reaches which is told in several words: "at no time does it ..."."""

BUT_REACH = 1
"""Words that may stand between "but" and a level of what was named before it."""

OR_REACH = 2
"""How many words after "or" are still denied: "not fast or loud"."""

LACKS = words_of("no without lack lacks lacking lacked absence devoid")
DENIALS = LACKS | words_of("not never neither nor nothing none hardly barely scarcely cannot t")
"""The `t` is that of "isn't" and its like."""

NO_DENIAL_BEFORE = frozenset(["only", "just", "merely", "simply"])
DENYING_PAIRS = frozenset(
    [
        ("anything", "but"),
        ("far", "from"),
        ("free", "of"),
        ("free", "from"),
        ("instead", "of"),
        ("rather", "than"),
    ]
)
SCOPE_ENDS = words_of(
    "how that which what why match matches fit fits suit suits mask masks hide hides contradict "
    "contradicts"
)
"""A denial does not reach over them: "one might not mind how loud it is"."""

DENYING_BEFORE = re.compile(
    r"\b(?:fail(?:s|ed|ing)? to|(?:mistake|wrong|inaccurate|hard|difficult|misleading|stretch"
    r"|exaggeration|overstatement) to (?:call|describe|label|say|claim|argue|think)"
    r"(?! (?:whether|if|how|which|what))"
    r"|(?:(?:do|did|does|would|could|can|should)n? (?:not|t)|cannot|hardly|never)"
    r" (?:\w+ly )?(?:think|believe|feel|find|consider|say|claim|argue|perceive|describe|call"
    r"|be (?:said|described|called)|get the (?:impression|sense|feeling))"
    r"(?! (?:whether|if|how|which|what))"
    r"|(?:i|we|one) (?:would |d )?doubt(?: that)?"
    r"|(?:nothing|not|little) (?:here |much )?(?:to|that) (?:suggests?|indicates?)"
    r"|not what (?:i|you|one|we) (?:d|would|could) (?:call|describe)"
    r"|(?:neither|nor) (?:does|do|did|is|are|was|were|has|have)|nothing (?:in|about|here)"
    r"|at no (?:time|point|stage|moment)|nowhere"
    r"|in no way|by no means|nobody|no one"
    r"|(?:it is |it s )?not that|far from|what is (?:missing|absent|lacking)|(?:missing|absent) is"
    r"|(?:no|without any|without a|not a|hardly any|hardly a) (?:sign|signs|hint|trace|evidence"
    r"|indication|suggestion) (?:of|that))\b"
)
"""What denies all that follows it in a segment."""

DENIED_AFTER = re.compile(
    r"^(?:\w+ ){0,4}?(?:is|are|was|were) (?:the last (?:thing|word)|out of the question"
    r"|not (?:a word|how|what|heard|present|audible|there|evident|found)|nowhere"
    r"|(?:\w+ly )?(?:absent|missing|lacking)|incorrect|inaccurate|unfounded|untrue|not (?:supported"
    r"|true|borne out))\b|^(?:\w+ ){0,4}?does(?:n t| not) hold\b"
)
"""What denies a level that stands before it in a segment."""

BEFORE_COMPARISON = frozenset(["than", "above", "below"])
COMPARISONS = BEFORE_COMPARISON | {"compared", "from"}
"""A level so soon after them is what something is compared with."""

NOUN_PHRASE = words_of(
    "the a an his her its their this that of both also overall general level levels speech "
    "speaking vocal voice speaker s so is are was were does do did too"
)
"""Words that make, with a noun, a segment that says nothing by itself."""

LINKS = DENIALS | words_of(
    "is are was were be been being it they that which this remains stays seems sounds appears "
    "keeps very quite rather too so also even still both all more most less somewhat as a an the "
    "isn aren s re m little bit tad touch maybe perhaps possibly pretty super way real really "
    "kinda sorta fairly on in at of then than almost about close to just only far from anything "
    "but now sits sit sat lies lands hovers stands"
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

GROWING = words_of(
    "get gets getting got grow grows growing grew become becomes becoming became turn turns "
    "turning increasingly progressively gradually ever"
)
"""Words that make a change of the level after them: "grows louder"."""

STARTS = re.compile(
    r"(?<!from )(?<!from the )\b(?:comes? in|sets? (?:out|off)|begins?|begun|began|beginning"
    r"|starts?|started|starting|opens"
    r"|opening|initially|initial|at first|onset|outset|early on"
    r"|first (?:half|part|words?|few|syllables?|seconds?|third))\b(?! with\b(?! an?\b))"
)
"""Words of the beginning of a clip, and not of all of it ("from the start")."""

FINISHES = re.compile(
    r"\b(?:(?<!beginning to )(?<!start to )(?<!in the )(?<!to the )(?<!to its )(?<!low )(?<!high )"
    r"(?<!lower )(?<!higher )(?<!upper )(?<!top )(?<!bottom )ends?(?! of the day)"
    r"|ended|ending|finishes|finishing|closes|closing|later|afterwards"
    r"|subsequently|by the time|(?<=[a-z,] )then(?! there)|eventually"
    r"|(?:last|final|second) (?:half|part|words?|few|syllables?|seconds?|third))\b"
)
"""Words of its end."""

ONE_WORD = re.compile(
    r"\b(?:the (?:word(?= in| at| is stressed)|(?:key|stressed|middle) (?:word|syllable)(?!  ))\b"
    r"|(?:emphasi[sz]ed|stressed|accented) (?:words?|parts?|syllables?)"
    r"|(?:accent|stress|emphasis) (?:falls|lies|lands|rests|is (?:put|placed|laid)) on"
    r"|is (?:stressed|emphasi[sz]ed)|(?:emphasi[sz]|stress)(?:es|ed|ing) (?:the|a|one|this|that) "
    r"(?:\w+ )?(?:word|syllable))\b"
    # A quote of a word or two, which is blank here.
    r"|\bon {4,16}(?=[a-z])|(?<! ) {4,16}(?:is|was|gets|receives|carries|bears)\b"
)
"""What tells of a single word."""

COPULAS = words_of(
    "is are was were be being seems seem sounds sound appears appear remains remain stays stay "
    "feels isn aren wasn"
)

VOICES = words_of(
    "voice voices speech speaking spoken delivery delivers utterance speaker speakers person man "
    "woman girl boy lady guy child male female talker he she they it i we who this that these "
    "those what former latter everything overall vocals vocal vocalization vocalisation "
    "articulation articulations pronunciation enunciation rhythm sound sounds audio recording "
    "clip sample segment laugh laughter whisper murmur shout scream narration tone tones manner "
    "way style fashion talk talking words word sentence phrase line statement reading answer "
    "reply response question syllables one ones prosody performance presentation expression "
    "frequency side end start beginning rest range region area zone band territory spectrum "
    "bracket category half third part close opening shape quality pattern profile character "
    "outburst exclamation stream torrent flow variation movement rise fall drop increase decrease "
    "descent burst timbre"
)
"""Words for a voice, its owner or what he says: what a level word may describe."""

OTHERS = words_of(
    "music noise noises background song tv television radio story plot mood tension traffic "
    "engine crowd applause rain dog dogs bark barks beep beeps siren sirens phone alarm bell "
    "bells door doors wind hum hiss buzz fan car cars horn piano guitar drum drums bass symphony "
    "orchestra audience microphone stakes interviewer host caller sigh sighs breath breaths "
    "breathing"
)
"""What has a loudness or a pace of its own."""

MEASURES = frozenset(["level", "levels", "degree", "amount", "sense"])
"""Words before "of" that stand for what comes after it."""

FUNCTION = words_of(
    "a an the of in on at to into for from by with without and far or but as than then that this "
    "these those is are was were be been being has have had do does did not no nor so too very "
    "quite rather more most less enough here there now today throughout overall across during "
    "within when while if because since after before until through over under about around "
    "between among like such towards toward onto upon along near later afterwards first finally "
    "well though also again still just only even both all himself herself themselves itself each "
    "every any some much many which who whom whose what how his her its their my our your he she "
    "it they i we you one time relative compared given considering due according despite instead "
    "yet thus hence therefore may might can could doesn don didn isn aren wasn weren won hasn "
    "haven either anymore will would should must seems seem sounds appears s t out up down off"
)
"""Words that no adjective describes."""

OF_MIND = words_of(
    "state states emotion emotions emotional emotionally feeling feelings mood arousal affect "
    "sense sadness sorrow grief anger joy happiness fear surprise disgust contempt confusion "
    "distress calm tension excitement frustration speaker person content wording"
)
"""What a level word before them belongs to, and no attribute."""

ENDS = frozenset(["end", "close", "ending"])
"""What a voice rises or falls towards when it is the melody that does."""
