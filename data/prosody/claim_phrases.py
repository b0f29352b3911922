"""What several words of English say together, and where a text about a voice is cut."""

from __future__ import annotations

import re

from data.prosody.claim_words import Meaning

# "Variation" is of the melody, unless it is that of something else.
_VARIATION = (
    r"(?: (?:pitch|melodic|melody|tonal|vocal|f0|intonation|in|of|the|real)){0,2}"
    r" (?:variations?|variability|variety|inflections?|modulations?|movement|range|melody"
    r"|spans?|excursions?|swings?|contrasts?)\b"
    r"(?! (?:in|of) (?:the |its )?(?:energy|volume|loudness|intensity|pace|tempo|rate|speed))"
)
_VARIATION_ALONE = (
    r"(?:(?:pitch|f0|tonal|melodic|vocal) (?:variations?|variability|modulations?|movement)"
    r"|variation in (?:the )?pitch)"
)
_VARIED = rf"(?:{_VARIATION_ALONE}|(?:pitch|f0|tonal|melodic) (?:range|span))"
_IS = r"\s+(?:(?:is|was|remains|stays|seems|appears) )?(?:(?:\w+ly|very|quite|rather|also) ){0,2}"
_NONE = (
    r"(?:(?:a )?(?:lack|absence) of(?: any)?|lack(?:s|ed|ing)?(?: in| any)?|devoid of(?: any)?"
    r"|without(?: much| any| real)?|(?:not|n't|no) (?:much|real))"
)
_LITTLE = (
    r"(?:hardly any|barely any|almost no|very little|little|scant|sparse|no|minimal|limited"
    rf"|narrow(?:er)?|small(?:er)?|less|restricted|{_NONE})"
)
_MUCH = (
    r"(?:much|a lot of|lots of|plenty of|full of|wider?|broad|larger?|great(?:er)?|considerable)"
)
_PACED = r"(?:tone|tempo|pace|pitch|volume|rhythm|rate|speed|intonation|loudness|energy|melody)"
_GOES = (
    r"(?:go|com|mov|turn|slid|glid|drift|slip|step|tilt|curv|bend|head|swing|shoot|creep|inch|edg"
    r"|sweep|swoop|bounc|float|lift|push|leap|jump|spring)(?:e?s|ing|p?ed|ping|e)?(?: back)?"
)
_UP = (
    rf"(?:r(?:is(?:es?|ing)|ose)|climb(?:s|ing|ed)?|{_GOES} up(?:wards?)?(?! and (?:up|down))"
    r"|ascend(?:s|ing|ed)?|soar(?:s|ing|ed)?|recover(?:s|ing|ed)?|rebound(?:s|ing|ed)?)"
)
_DOWN = (
    rf"(?:(?:fall|drop|descend|sink|dip|plunge)(?:s|p?ing|p?ed)?|fell|sank"
    rf"|{_GOES} down(?:wards?)?(?! and (?:up|down))|declin(?:es?|ing|ed))"
)
_OWN_VOICE = r"(?:his|her|their|the|its) (?:voice|volume)"
_TIME = r"(?:midway|partway|halfway|towards?|gradually|as|over|by|at the end|on the last)\b"
_FORCE = r"(?: \w+)? (?:energy|volume|loudness|power|force)"
_NOT_AS = r"not (?:quite |nearly )?(?:as|so)"
_AS_USUAL = r"as (?:usual|normal|average|ever|usually|one would expect)"

_WHAT_IS_USUAL = r"(?:\w+ ){0,5}?(?:usual|average|normal|typical|ordinary|everyday|norm|commonly)\b"

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
    (
        Meaning("intonation", "flat", False),
        rf"{_VARIED}{_IS}(?:limited|minimal|narrow|small|restricted|little|slight|compressed)",
    ),
    (
        Meaning("intonation", "expressive", False),
        rf"{_VARIED}{_IS}(?:wide|broad|large|considerable|great|extensive|rich|pronounced)",
    ),
    (Meaning("variation", "", False), _VARIATION_ALONE),
    (
        Meaning("intonation", "expressive", False),
        rf"(?<!-)(?:{_MUCH}|rich|(?<!to )(?<!the )high){_VARIATION}",
    ),
    (
        Meaning("intonation", "expressive", False),
        r"(?:swings|swinging|moves|moving|ranges|ranging)"
        r" (?:widely|freely|a lot|a (?:great|good) deal)",
    ),
    (
        Meaning("", "steady", True),
        r"(?:hardly|barely|scarcely) (?:moves?|varies|vary|changes?)"
        rf"|{_LITTLE} (?:\w+ )?(?:changes?|shifts?|fluctuations?|variations?) (?:in|of)"
        r"|(?:does|do|did|is|are)(?: not|n't) (?:really |much "
        r")?(?:chang|vary|mov|fluctuat)(?:e|ing)?"
        rf"|even(?= (?:{_PACED}|voice|delivery)| ?[,.;:)]| ?$)",
    ),
    (
        Meaning("", "expressive", True),
        r"(?:(?:varies|vary|varying|chang(?:es?|ing)|shifts?|jumps?)"
        r"(?: quite)? (?:a lot|widely|considerably|noticeably|greatly|markedly|strongly|around)"
        r"|fluctuat(?:es?|ing)|undulates)",
    ),
    (
        Meaning("intonation", "expressive", False),
        rf"(?:many|several|clear|frequent|repeated|constant|numerous) {_UP}\s+{_DOWN}",
    ),
    (Meaning("", "rising-falling", True), rf"{_UP}\s+{_DOWN}"),
    (Meaning("", "falling-rising", True), rf"{_DOWN}\s+{_UP}"),
    (
        Meaning("intonation", "expressive", False),
        rf"{_GOES} up and down|ups and downs|(?:peaks and (?:valleys|troughs|dips)|highs and lows)",
    ),
    (Meaning("", "expressive", True), rf"all over the (?:place|map)|{_GOES} (?:about|around)"),
    (Meaning("intonation", "rising-falling", False), r"bell[- ]shaped?|(?:inverted|upside-down) u"),
    (
        Meaning("intonation", "falling-rising", False),
        r"(?:shape of a |shaped like a |forms a )(?:valley|trough|bowl|u|v)|[uv][- ]shaped",
    ),
    (
        Meaning("", "", False),
        r"(?:has|have|had) (?:dropped|fallen|risen|sunk|climbed|gone|slipped|moved) (?:in)?to"
        r"|consistent(?:ly)? with"
        rf"|falls? (?:somewhere )?(?:in|within|into|under|between|on)(?! {_PACED})"
        r"|(?:falls?|falling|fell)(?= (?:(?:\w+ly|well|just|somewhat|a (?:bit|little)) )?(?:within"
        r"|below|above|(?:near|around)(?! the (?:end|close|last"
        r"|middle(?! of \w+ (?:\w+ )?range))))\b)"
        r"|(?:falls?|falling|fell)(?= (?:squarely|comfortably|well|right|just|somewhere) in\b)"
        r"|(?:ris(?:es?|ing)|rose|climb(?:s|ing|ed)?)(?= (?:(?:\w+ly|well|just|somewhat) )?above "
        r"(?:\w+ ){0,3}(?:average|normal|usual|norm|baseline|typical)\b)",
    ),
    (Meaning("", "low", False), r"turned (?:way |right )?down(?: low)?|way down (?:there|low)"),
    (
        Meaning("", "high", False),
        r"(?:turned|cranked|dial+ed) (?:way |right )?up(?: high)?|(?:way|right) up there",
    ),
    (Meaning("", "falling", True), r"runs? out of steam"),
    (
        Meaning("", "steady", True),
        r"(?:stays?|remains?|keeps?|holds?) (?:put|level)|either level"
        r"|(?<=is )level(?=[,.;]| and\b| or\b)",
    ),
    (
        Meaning("", "high", False),
        rf"(?:exceeds?|surpass(?:es)?|outstrips?) {_WHAT_IS_USUAL}"
        r"|(?:at|near|towards?|in|around|on) the (?:very )?(?:top|upper|higher?) (?:end|part|half)",
    ),
    (
        Meaning("", "low", False),
        rf"(?:less than|short of|below) {_WHAT_IS_USUAL}"
        r"|(?:at|near|towards?|in|around|on) the (?:very )?(?:bottom|lower|low) (?:end|part|half)",
    ),
    (
        Meaning("", "normal", False),
        r"(?:on (?:a )?par with|in line with|no different from|comparable (?:to|with)) "
        rf"{_WHAT_IS_USUAL}|run[- ]of[- ]the[- ]mill|nothing (?:special|out of the ordinary)",
    ),
    (Meaning("rate", "fast", False), r"(?:rac|whizz?|rush|zip)(?:es?|ing|ping)? (?:by|past|along)"),
    (
        Meaning("intonation", "flat", False),
        r"on (?:a single|one|the same) (?:note|tone|pitch)"
        r"|(?:an? )?(?:almost |nearly )?(?:straight|horizontal|flat) line",
    ),
    (
        Meaning("rate", "falling", True),
        r"slow(?:s|ed|ing)? (?:\w+ ){0,2}down|wind(?:s|ing)? down",
    ),
    (Meaning("", "rising", True), rf"{_GOES} up(?:wards?)?|ramp(?:s|ing|ed)? up"),
    (Meaning("", "falling", True), rf"{_GOES} down(?:wards?)?"),
    (
        Meaning("", "steady", True),
        r"(?<!at )(?<!all )(?:(?:exactly|precisely|much) )?the same"
        r"(?= (?:\w+ )?(?:pitch|note|volume|loudness|intensity|energy|rate|pace|tempo|speed"
        r"|level)\b"
        r"|,? (?:throughout|all the way|from (?:start|beginning|first)|until))"
        r"|(?:stay|remain|keep|hold)(?:s|ed)? (?:\w+ ){0,2}the same"
        r"|(?:does|do|did|will)(?: not|n't) budge|never (?:budges|changes|varies|shifts|moves)",
    ),
    (
        Meaning("energy", "low", False),
        r"(?:(?:barely|hardly|scarcely|never|not)(?: \w+){0,2} )?above a (?:whisper|murmur)",
    ),
    (
        Meaning("energy", "low", False),
        # Whispering is a label too.
        r"(?:(?<=he is )|(?<=he's )|(?<=he was )|(?<=not )|(?<=n't )|(?<=they are )|(?<=they're ))"
        r"(?:(?:almost|nearly|practically|just) )?whispering"
        r"|(?:barely|hardly|scarcely|only just) audibl[ey]|under (?:his|her|their) breath"
        r"|sotto voce|(?:hard|difficult) to (?:hear|make out)|strains? to (?:hear|catch)"
        r"|(?:(?:in|as|with|to|into|at|almost|nearly|little more than) )?(?:an? )?"
        r"(?:near|almost a|nearly a|half)[- ]whisper"
        r"|(?:in|as|with|to|into|at|than) (?:an? )(?:\w+ )?(?:whisper|murmur|mumble)",
    ),
    (
        Meaning("energy", "low", False),
        rf"(?:hardly any|very little|little){_FORCE}"
        r"|(?:energy|volume|force|power) (?:is |was )(?:\w+ly )?(?:lacking|missing|absent)",
    ),
    (
        Meaning("energy", "high", False),
        r"(?:at |with )?(?:full|maximum|top) (?:volume|blast|force)"
        r"|with (?:great |full |real |some )?(?:force|vigou?r)"
        r"|at the top of (?:his|her|their) (?:voice|lungs)|belt(?:s|ed|ing) (?:\w+ )?out"
        r"|(?:could|can|must) be heard (?:\w+ ){0,2}(?:rooms?|streets?|doors?|floors?|houses?"
        r"|away)",
    ),
    (
        Meaning("pitch", "high", False),
        r"(?:upper|higher|high|top)(?: (?:end|part|half|reaches|third) of)?(?: (?:his|her|their|the"
        r"|a))?(?: (?:vocal|speaking|natural|normal))? register"
        r"|(?:upper|top|high|higher) (?:end |part |half |reaches |third )?of "
        r"(?:his|her|their)(?: \w+)? (?:range|scale|compass)"
        r"|(?:ceiling|top|roof) of (?:his|her|their) (?:\w+ )?(?:range|voice)",
    ),
    (
        Meaning("pitch", "low", False),
        r"(?:lower|low|bottom|deep)(?: (?:end|part|half|reaches|third) of)?(?: (?:his|her|their|the"
        r"|a))?(?: (?:vocal|speaking|natural|normal))? register"
        r"|(?:lower|bottom|low) (?:end |part |half |reaches |third )?of "
        r"(?:his|her|their)(?: \w+)? (?:range|scale|compass)"
        r"|(?:floor|bottom|cellar) of (?:his|her|their) (?:\w+ )?(?:range|voice)",
    ),
    (
        Meaning("rate", "fast", False),
        r"(?:at|with) (?:top|full|great|high|breakneck|lightning|some) (?:speed|pace)|at speed"
        r"|at a (?:\w+ )?clip|(?:accelerated|quickened)(?= (?:\w+ )?(?:pace|rate|tempo|speed"
        r"|speech))"
        r"|in (?:rapid|quick|fast) succession|(?:rapid|quick)[- ]fire|a mile a minute|at a gallop"
        r"|(?:rattl|reel)(?:es|ing|ed|e|s) (?:it |them )?off|tumbl(?:es?|ing|ed) (?:out|over)"
        r"|machine[- ]gun"
        r"|in (?:such )?a (?:great )?(?:rush|hurry)",
    ),
    (
        Meaning("rate", "slow", False),
        r"slowed(?= (?:\w+ )?(?:pace|rate|tempo|speed|speech))"
        r"|(?:at )?(?:a )?snail['\u2019]?s pace|(?:at|to) a crawl|in slow motion"
        r"|(?:draw(?:s|ing|n)?|drew|drag(?:s|g(?:ed|ing))?)[- ]out"
        r"|(?:takes?|taking|took) (?:his|her|their|its) time",
    ),
    (
        Meaning("energy", "low", False),
        rf"(?:{_NONE}|no) (?:vocal |real )?(?:energy|volume|loudness|power|force)"
        r"(?! (?:\w+ )?(?:chang|increas|drop|shift|peak|burst|spike|variation))|in a whisper"
        r"|(?:start|begin|open|end|finish)(?:s|ed|ing)?(?: out| off| up)? whispering",
    ),
    (
        Meaning("energy", "rising", True),
        rf"rais(?:es?|ed|ing) {_OWN_VOICE}(?= (?:\w+ )?{_TIME})|picks? up (?:in "
        rf")?(?:volume|energy)"
        r"|(?:gain|gather)(?:s|ing|ed)? (?:in )?(?:strength|force|power|volume|intensity|energy)",
    ),
    (
        Meaning("energy", "falling", True),
        rf"lower(?:s|ed|ing)? {_OWN_VOICE}(?= (?:\w+ )?{_TIME})"
        r"|(?:trail|fad|di|dy|tail|ebb|melt|peter)(?:es|s|ing|ed|e) (?:off|out|away|down)"
        r"|(?:los(?:es?|ing)|lost) (?:energy|power|force|strength|steam|volume)"
        r"|(?:little|nothing|none|hardly anything) of (?:that|the|its|this|his|her) (?:\w+ )?"
        r"(?:force|power|energy|volume|strength|loudness) (?:is|remains)(?: left)?",
    ),
    (Meaning("energy", "high", False), rf"rais(?:es?|ed|ing) {_OWN_VOICE}"),
    (
        Meaning("energy", "low", False),
        rf"lower(?:s|ed|ing)? {_OWN_VOICE}|(?:keep(?:s|ing)?|kept) {_OWN_VOICE} (?:down|low)",
    ),
    (
        Meaning("rate", "falling", True),
        r"(?:los(?:es?|ing)|lost) (?:speed|pace|momentum)|eas(?:es|ing|ed) off",
    ),
    (
        Meaning("rate", "rising", True),
        r"(?:speed|pick|hurr)(?:s|ing|ed|ies)? up(?: (?:speed|pace|the pace|the tempo))?|sped up"
        r"|(?:gather|gain)(?:s|ing|ed)? (?:speed|pace|momentum)",
    ),
    (
        Meaning("energy", "high", False),
        rf"(?:much|a lot of|lots of|plenty of|full of|great|considerable){_FORCE}",
    ),
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
    r"|since|(?<!nothing to )(?<!nothing that )(?:suggest(?:s|ing|ed)?|indicates?)|indicating"
    r"|points? to(?:wards?)?|convey(?:s|ing)?"
    r"|express(?:es|ing)?|reflect(?:s|ing)?|reveal(?:s|ing)?|betray(?:s|ing)?|signal(?:s|ling)?"
    r"|typical of|characteristic of)\b"
)
ARC = re.compile(
    rf"\b({_UP}|{_DOWN})((?: \w+ly| again| first| midway| halfway| briefly| (?:to|towards?) (?:a"
    rf"|the|its) \w+)?(?: (?:in|at|on|over|through) the \w+(?: of the \w+| \w+)?)?"
    r"(?:,? (?:and |but (?=then))?(?:then |so )?(?:it |he |she )?|,? before |,? only to "
    r"|,? after which (?:it )?))"
    rf"(?=(?:{_UP}|{_DOWN})\b)"
)
"""A turn of the melody, told in two words that nothing shall part."""
REPEATED = re.compile(r"\b(\w+er|more) and (?=\1\b)")
"""A growing level: "louder and louder", "more and more loud"."""
GROWN = re.compile(
    r"\b(?:get|grow|becom|turn)(?:s|es|e|ing|ting)? (?:\w+ )?\w+er(?:(?:,| and|, and) \w+er\b)+"
)
"""What all grows: "gets higher and louder"."""
LISTED = re.compile(rf"\b({_VARIED})(\W{{0,4}}:\W{{1,4}})(?=\w)")
"""What a list tells of the melody: "**Pitch variation:** low"."""
BETWEEN = re.compile(r"(\bbetween (?:an? )?[\w-]+(?: \w+)?) and\b")
"""A range, told with an "and" that joins no two statements."""
SEGMENT_ENDS = re.compile(
    r"[,:()]|\b(?:and(?! (?:downs?|valleys|troughs|dips|lows)\b)|or"
    r"|(?<!consistent )(?<!consistently )(?<!par )(?<!line )(?<!comparable )(?<!compared )"
    r"(?<!comparison )with|plus|alongside)\b"
    r"|(?<= )(?=(?:ends|finishes|closes) (?:up )?(?:in|as|on|with|at)\b)"
)
