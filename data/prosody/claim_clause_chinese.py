"""What one clause of a Chinese text tells of a voice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from data.prosody import claim_words_chinese as words
from data.prosody.claim import CHANGES, RANKS, Claim, direction, either
from data.prosody.claim_tokens_chinese import Token

_OWN = {word: value for value, names in words.OWN.items() for word in names.split()}
_DEFAULTS = {word: value for value, names in words.DEFAULTS.items() for word in names.split()}
_OF_TONE = {word: value for value, names in words.OF_TONE.items() for word in names.split()}
_MOVERS = {
    word: noun
    for noun, names in (
        ("energy", words.ENERGY_MOVES),
        ("rate", words.RATE_MOVES),
        ("intonation", words.PITCH_MOVES),
    )
    for word in names.split()
}
_OF_PITCH = frozenset(words.OF_PITCH.split())
_ONLY_ENERGY = frozenset(words.ONLY_ENERGY.split())
_OF_SPEECH = frozenset(words.OF_SPEECH.split())
_OWN_LEVELS = frozenset(words.OWN_LEVELS.split())
_MOVES = frozenset(["rising", "falling", "steady", "rising-falling", "falling-rising"])

REACH = 14
"""Characters before a level in which its denial, or what it is compared with, stands."""
_DENIES = "不|没有|没|未|并非|绝非|而非|远非|无|缺乏|缺少|毫无|(?<!多)少有|鲜有|很少|难称"
_DENIAL = re.compile(f"(?:{_DENIES})[^、和与而但却]{{0,8}}$")
_DENIED_NOUN = re.compile(
    "(?:没有|没|缺乏|缺少|毫无|未见|无|不出|不到|不存在|不具备|"
    "不(?:太|会|能)?(?:认为|觉得|感觉|以为)(?:他|她|其|说话人)?的?)"
    "(?:听到|听出|观察到|看到|察觉到|感受到|检测到|表现出|出现|体现出|呈现出|什么|足够的?|任何|"
    "明显的?|太多的?|多少){0,3}$"
)
_TWICE = re.compile("不是没有|并非没有|不无|不可谓不|不能说不|不得不说|并非不|不是不")
_LACKS = re.compile("(?:缺乏|缺少|没有|毫无)(?:足够的|什么)?$")
_FROM = re.compile("(?:(?:[从由先]|先是)[^先从由]{0,8}|前)$")
_TO = re.compile(
    "(?:的)?(?:\\w{2})?(?:渐渐|逐渐|逐步|慢慢|一路|一步步|一点点|突然|最终|最后)?(?:→|到|变|"
    "变得|变成|变成了|变为了|转|转为|转为了|转向|转成|变为|过渡到|"
    "走向|至|后|后又|而后|再|然后|又)(?:较|更|很|是|偏)?"
)
_SPREAD = re.compile("不等|之间|的?(?:范围|区间)")
_FIRST = re.compile("先")
_AS_IF = re.compile("[像如似同].{0,8}$")
_ARROW = re.compile("\\s*(?:→|->|-->|=>)\\s*")
_RANGE = re.compile(
    "(?:范围内|的|到|至|或者|或是|或|偏|略|稍|较|略微|稍微|稍显|略显|-|—|\uff0d|\uff5e|~|、|要么|就是|是|甚至|"
    "/|乃至|接近)+"
)
_AMID = re.compile("(?:和|与|到|至)(?:偏|较|略|稍|很)?")
_BETWEEN = re.compile("介于|处于|在")
_MORE = re.compile(
    "(?:越来越|愈来愈|越发|逐渐|渐渐|逐步|愈发|愈加|日渐|变得?|渐|趋于|趋|转为|转|越|愈\\w{1,2}愈)"
    "(?:更加|更|很|较|偏|地)?$"
)
_ALIKE = re.compile("的?(?:水平|状态|语速)?(?:相当|一致|差不多|无异|一样|持平|接近)")
_THAN = re.compile("\\w{0,3}(?:比|不同|相当|一致|差不多|无异|一样|持平|接近)")
_MORE_SAID = re.compile("越[说讲念]越$")
_COMPARED = re.compile(
    "(?:比|(?<![属处位介对])于|较之|较|如|没有|不及|不像|相比|比起|过|出)"
    "(?:(?:该?(?:说话|讲话)[人者]|[他她其])(?:自己|本人)?的?)?(?:\\w{0,2})$"
)
_WITH = re.compile("[与和跟同](?:她|他)?$")
_SMALL = re.compile(
    "(?:的?(?:幅度|范围|程度))?(?:都|也|并|相对|较为|十分|非常|很|较|极|比较|几乎|太|怎么|算|"
    "特别|够){0,3}"
    "(不明显|不显着|不大|不多|不足|有限|少|甚微|小|极少|单一|缺乏|窄)"
)
_SOFT = re.compile(
    "的?(?:幅度|范围|程度)?(?:都|也|并|不|算|很|较|较为|十分|非常|相对|太|特别|比较|极|最){0,3}"
)
_OBJECT = re.compile(
    "带有|带着|透出|透露|透着|充满|流露|传达|传递|表达|包含|蕴含|饱含|夹杂|给人|让人|反映|体现|"
    "显示|说明|表明|暗示|意味|指向|表现出|听出|感到|感受|令人"
)
_NO_OBJECT = re.compile(
    "(?:的?(?:$|[、和与而且]|感觉|印象|特点|特征|趋势|状态|质感|倾向|水平|态势|感|调|声|音|语|"
    "嗓|走势|姿态))"
)
_SPOKEN = re.compile("地?(?:说|讲|念|读|回答|答|道|问|喊|叙述|诉说|陈述|表达|开口|喊出|吐出)")
_JOINED = re.compile("(?:和|与|及|跟|同|、|以及|还有|还是)(?:她的|他的|其)?$")


@dataclass(slots=True)
class Clause:
    """Reads one clause."""

    text: str
    tokens: list[Token]
    offset: int
    nouns: list[str]
    earlier: bool
    """It is compared with an earlier part: a level is a change."""
    fresh: bool = False
    """Whether a level was told of the nouns."""
    skip: int = -1
    """Place of the last token that was read with an earlier one."""
    denied_noun: bool = False
    given: set[int] = field(default_factory=set[int])
    """Starts of the nouns whose level stood before them."""

    def claims(self) -> list[Claim]:
        """Return the claims of the clause; `nouns` become those that it named last."""
        claims: list[Claim] = []
        for i, token in enumerate(self.tokens):
            if i <= self.skip or token.kind == "none":
                continue
            if token.kind == "noun":
                claims += self._name(i, token)
            else:
                claims += self._tell(i, token)
        return claims

    def _before(self, i: int) -> str:
        token = self.tokens[i]
        return self.text[max(0, token.start - REACH) : token.start]

    def _after(self, i: int) -> tuple[Token | None, str]:
        """Return the token after another, and what stands between them."""
        if i + 1 >= len(self.tokens):
            return None, self.text[self.tokens[i].end :]
        after = self.tokens[i + 1]
        return after, self.text[self.tokens[i].end : after.start]

    def _name(self, i: int, token: Token) -> Iterator[Claim]:
        """Take up a noun."""
        before = self._before(i)
        joined = (
            (not self.fresh or token.start in self.given) and self.nouns and _JOINED.search(before)
        )
        self.nouns = [*self.nouns, token.value] if joined else [token.value]
        self.fresh = token.start in self.given
        after, between = self._after(i)
        moves = after and after.kind == "level" and len(between) <= 4
        self.denied_noun = bool(_DENIED_NOUN.search(before)) and not _TWICE.search(before)
        if token.value == "energy" and _LACKS.search(before) and not moves:
            self.denied_noun = False
            yield self._claim("energy", "low", False, token)
            self.nouns = ["voice"]

    def _denied(self, i: int) -> bool:
        """Whether the level is denied by what stands before it."""
        token, first = self.tokens[i], i
        # "没有平时那么大": the denial stands before what it is compared with.
        while first and self.tokens[first - 1].value == "normal":
            first -= 1
        begin = max(self.tokens[first - 1].end if first else 0, token.start - REACH)
        before = self.text[begin : token.start]
        if _TWICE.search(before) or (before.endswith("不是") and "就是" in self.text[token.end :]):
            return False
        return bool(_DENIAL.search(before)) or (self.denied_noun and token.start - begin <= 4)

    def _tell(self, i: int, token: Token) -> Iterator[Claim]:
        """Yield the claims that a level makes."""
        before = self._before(i)
        after, between = self._after(i)
        beside = _WITH.search(before) and _THAN.match(self.text, token.end)
        if token.value == "normal" and (beside or _COMPARED.search(before)):
            if not _ALIKE.match(between):
                return
            self.skip = i + 1 if after and after.text in ("一致", "持平") else self.skip
        levels = self._levels(i, token, before)
        if not levels:
            return
        negated = self._denied(i)
        if negated and levels & {"expressive"}:
            levels, negated = {"flat"}, False
        if token.kind == "own" and not (token.text in _OWN_LEVELS and self._owner()):
            noun, level = _OWN[token.text].split()
            if self.nouns == ["thing"] or (self.nouns == [""] and token.text in _OWN_LEVELS):
                return
            moved = levels & _MOVES
            if level == "expressive":
                level = next(iter(levels))
            if moved:
                noun, level = CHANGES.get(noun, noun), next(iter(moved))
                noun = "intonation" if noun == "pitch_change" else noun
                level = "flat" if (noun, level) == ("intonation", "steady") else level
            yield self._claim(noun, level, negated, token)
            return
        # "No rise or fall" denies each.
        choices = [{level} for level in sorted(levels)] if negated else [levels]
        for noun in self._owners(i, token, negated=negated, levels=levels):
            for one in choices:
                yield from self._told(noun, one, token, negated=negated)
        self.fresh = True

    def _owner(self) -> bool:
        return bool(self.nouns) and self.nouns[-1] not in ("speech", "voice", "intonation")

    def _levels(self, i: int, token: Token, before: str) -> set[str]:
        """Return what a level tells together with those that follow; empty if it is only a part."""
        value = token.value.split()[-1]
        if token.text in _OWN_LEVELS and token.kind == "own":
            value = {"抑扬顿挫": "expressive", "降调": "falling"}.get(token.text, "flat")
        after, between = self._after(i)
        if value == "expressive":
            return {self._amount(i)}
        if token.text == "一般" and _AS_IF.search(before):
            return set()
        if after and after.kind in ("level", "own"):
            other = after.value.split()[-1]
            scaled = value in RANKS and other in RANKS
            if value in ("fast", "slow") and other in _MOVES and between in ("", "地"):
                return set()  # how quickly it moves: "缓缓回落"
            begins = bool(_FROM.search(before))
            starts = begins and bool(_TO.fullmatch(between))
            if begins and not starts and other in ("rising", "falling") and value in RANKS:
                return set()  # the start of "由强变弱"
            if starts and scaled and _SPREAD.match(self.text, after.end):
                self.skip = i + 1
                return {value, other}
            if starts and not (after.value == "normal" and _COMPARED.search(between)):
                self.skip = i + 1
                if scaled and self._turns_back(i + 1):
                    return set()
                if other == "expressive":
                    return {"expressive"}
                out_of = value in ("flat", "steady") or not _FIRST.search(before)
                if out_of and value not in RANKS and other in ("rising", "falling"):
                    return {other}
                return {_between(value, other)}
            if scaled and _ARROW.fullmatch(between):
                self.skip = i + 1
                return {direction(value, other)}
            if other == "expressive" and value in ("high", "low") and between in ("", "的"):
                # "没有太大变化": how much it moves.
                self.skip = i + 1
                return {"expressive" if value == "high" else "flat"}
            ranged = _RANGE.fullmatch(between) or (
                _AMID.fullmatch(between) and _BETWEEN.search(before)
            )
            ranged = ranged or (not between and value == "normal" and after.text[0] == "偏")
            moves = {value, other} <= _MOVES | {"flat"}
            if ranged and (scaled or (moves and between != "、")) and self._same_kind(token, after):
                if between == "、" and "normal" not in (value, other):
                    return {value}
                self.skip = i + 1
                return {value, other}
        scale = value if value in ("high", "low", "fast", "slow") else ""
        if scale and (_MORE.search(before) or self.earlier):
            return {direction("normal", value)}
        return set(value.split("|"))

    def _turns_back(self, i: int) -> bool:
        """Whether a third level follows, which is then passed over: "先小后大再小"."""
        after, between = self._after(i)
        back = after is not None and after.value in RANKS and between in ("再", "又", "再变", "后")
        self.skip += back
        return back

    def _same_kind(self, first: Token, last: Token) -> bool:
        return first.kind == last.kind == "level" or first.value.split()[0] == last.value.split()[0]

    def _amount(self, i: int) -> str:
        """Return `flat` or `expressive`, by how much a voice is told to move: "起伏不大"."""
        end = self.tokens[i].end
        small = _SMALL.match(self.text, end)
        if small:
            while i + 1 < len(self.tokens) and self.tokens[i + 1].start < small.end():
                i += 1
            self.skip = i
            return "flat"
        after, between = self._after(i)
        much = after.value.split("|")[-1] if after and after.kind == "level" else ""
        few = much in ("low", "steady", "flat")
        if (few or much in ("high", "expressive")) and _SOFT.fullmatch(between):
            self.skip = i + 1
            return "flat" if few != ("不" in between) else "expressive"
        return "expressive"

    def _owners(self, i: int, token: Token, *, negated: bool, levels: set[str]) -> list[str]:
        """Return the attributes that a level belongs to."""
        after, between = self._after(i)
        verb = token.value in ("rising", "falling") and between in ("", "了", "了些", "自己的")
        near = between in ("的", "") or verb
        pending = bool(self.nouns) and not self.fresh
        if after and after.kind == "noun" and near and (verb or between or not pending):
            return self._following(i)
        named = [t for t in self.tokens[:i] if t.kind == "noun"]
        if self.nouns and not (self.fresh and between.startswith("的") and after):
            lead = self.text[named[-1].end : token.start] if named else ""
            if _OBJECT.search(lead) and not _NO_OBJECT.match(self.text, token.end):
                return []
            return self.nouns
        ahead = self._following(i)
        if ahead:
            return ahead
        if self.nouns:
            return self.nouns
        spoken = _SPOKEN.match(self.text, token.end)
        default = _DEFAULTS.get(token.text, "")
        if spoken and not default:
            default = "speech"
        if _MORE_SAID.search(self.text, 0, token.start):
            default = "speech"
        if negated or levels == {"flat"}:
            default = default or ("intonation" if token.text in ("起伏", "波澜") else "")
        return [default] if default else []

    def _following(self, i: int) -> list[str]:
        """Return the attributes that are named after a level: "低沉而沙哑的嗓音"."""
        for j in range(i + 1, len(self.tokens)):
            noun = self.tokens[j]
            between = self.text[self.tokens[i].end : noun.start]
            if len(between) > 14:
                break
            if noun.kind != "noun":
                continue
            if "的" in between or ("地" not in between and len(between) <= 2):
                nouns = [noun.value]
                self.given.add(noun.start)
                for k in range(j + 1, len(self.tokens)):
                    last = self.tokens[k - 1]
                    joint = self.text[last.end : self.tokens[k].start]
                    if self.tokens[k].kind != "noun" or not _JOINED.fullmatch(joint):
                        break
                    nouns.append(self.tokens[k].value)
                    self.given.add(self.tokens[k].start)
                return nouns
            break
        return []

    def _told(self, noun: str, levels: set[str], token: Token, *, negated: bool) -> Iterator[Claim]:
        """Yield the claim of levels on a noun, unless they do not go together."""
        moves = levels & _MOVES
        noun = _attribute(noun, levels, token)
        if not noun or (noun == "rate" and token.text in _ONLY_ENERGY and not moves):
            return
        if moves or levels & {"flat", "expressive"}:
            if noun in ("pitch", "intonation"):
                levels = {"flat" if level == "steady" else level for level in levels}
                yield self._claim("intonation", either("intonation", levels), negated, token)
                return
            levels = {"steady" if level == "flat" else level for level in levels}
            if levels <= {"rising", "falling", "steady"}:
                yield self._claim(CHANGES[noun], either("", levels), negated, token)
            return
        if noun == "intonation" or (noun == "pitch" and token.text in _ONLY_ENERGY):
            return
        if noun == "rate":
            levels = {{"high": "fast", "low": "slow"}.get(level, level) for level in levels}
        elif levels & {"fast", "slow"}:
            return
        yield self._claim(noun, either(noun, levels), negated, token)

    def _claim(self, attribute: str, level: str, negated: bool, token: Token) -> Claim:
        start, end = self.offset + token.start, self.offset + token.end
        return Claim(attribute, level, negated, start, end)


def _attribute(noun: str, levels: set[str], token: Token) -> str:
    """Return the attribute that a level is of where a noun has several; empty for none."""
    if noun in ("thing", ""):
        return ""
    moves = levels & _MOVES
    if moves and noun in ("voice", "speech", "intonation") and token.text in _MOVERS:
        return _MOVERS[token.text]
    pitched = token.text in _OF_PITCH and not moves
    if noun == "intonation" and not moves:
        return "pitch" if pitched else _OF_TONE.get(token.text, noun)
    if noun == "timbre":
        return "pitch" if pitched and len(token.text) > 1 else ""
    if levels & {"flat", "expressive"} and noun in ("voice", "speech"):
        return "intonation"
    if noun == "voice":
        return "pitch" if pitched else "rate" if levels & {"fast", "slow"} else "energy"
    if noun == "speech":
        if token.value in ("rising", "falling"):
            return "intonation"
        if moves or levels & {"fast", "slow", "normal"}:
            return "rate" if token.text not in _ONLY_ENERGY else "energy"
        if len(token.text) < 2 and token.text not in _OF_SPEECH:
            return ""
        return "pitch" if pitched else "energy"
    return noun


def _between(first: str, last: str) -> str:
    """Return what a clause tells by two levels, or by two moves: "先升后降"."""
    if {first, last} == {"rising", "falling"}:
        return f"{first}-{last}"
    return direction(first, last)
