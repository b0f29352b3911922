"""What a Chinese text says about a voice, found by rules.

The clauses between marks are read one by one. A level belongs to the attributes that were named
before it in its clause ("音调和音量都很高"), or to the one that follows it ("较高的音调").
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from data.prosody.claim import CHANGES, RANKS, Claim, direction, either, whole_clip

_NOUNS: Mapping[str, str] = {
    "pitch": "音调 音高 基频 调门 音区 声调",
    "energy": "音量 响度 能量 声音强度 音强 强度 力度 声量",
    "rate": "语速 说话速度 讲话速度 速度 节奏 说话 讲话 说得 讲得 语流",
    "intonation": "语调 旋律 语气",
    "voice": "声音 嗓音 嗓门 声线 话音",
    "": (
        "情绪 心情 压力 期望 期待 兴致 背景 音乐 噪音 噪声 信心 "
        "程度 难度 水平 质量 音质 故事 情感 内心"
    ),
}
"""Attribute -> its names; those without attribute take their level with them."""

_LEVELS: Mapping[str, str] = {
    "high": "高 高昂 高亢 尖 尖锐 尖细 大 强 响 响亮 洪亮 充沛 饱满 强烈 有力",
    "low": "低 低沉 深沉 小 弱 轻 微弱 轻柔 柔和 细小",
    "normal": "适中 中等 正常 一般 普通 平均 平时 平常 通常 不紧不慢 不快不慢 不高不低 不大不小",
    "fast": "快 急促 急 迅速 飞快 快速 匆忙",
    "slow": "慢 缓慢 缓 迟缓 舒缓 拖沓",
    "rising": (
        "上扬 上升 升高 提高 扬起 走高 增大 变大 增强 加大 渐强 变强 变高 升 加快 变快 提升 抬高"
    ),
    "falling": (
        "下降 下沉 降低 走低 下滑 减小 变小 减弱 渐弱 变弱 变低 变轻 降 减慢 放慢 变慢 放缓 回落"
    ),
    "steady": "平稳 稳定 不变 恒定 均匀",
    "flat": "平 平淡 平缓 平直 单调 平板 平坦",
    "expressive": "丰富 起伏 抑扬顿挫 变化 多变 多样 波动 忽高忽低 时高时低 生动 活泼 夸张",
}

_OWN: Mapping[str, str] = {
    "energy high": "大声 高声 大喊 喊叫 吼 叫喊",
    "energy low": "轻声 小声 低声 柔声 细声",
    "intonation expressive": "抑扬顿挫",
    "intonation flat": "单调 平铺直叙",
}
"""Attribute and level -> words that need no attribute beside them."""

_NO_LEVELS = (
    "高兴 高涨 低落 快乐 愉快 轻松 大家 大概 大约 小时 小说 小心 强调 "
    "轻微 高度 尽快 赶快 快要 着急 "
    "平静 平和 公平 焦急 不断 不仅 不但 不只 很大程度 加强语气 放大"
)
"""Words in which a level is none."""

_OF_PITCH = frozenset(["高", "高昂", "高亢", "尖", "尖锐", "尖细", "低", "低沉", "深沉"])
_ONLY_ENERGY = frozenset(
    [
        "大",
        "强",
        "响",
        "响亮",
        "洪亮",
        "充沛",
        "饱满",
        "强烈",
        "有力",
        "小",
        "弱",
        "轻",
        "微弱",
        "轻柔",
        "柔和",
        "细小",
    ]
)

_TOKENS: dict[str, tuple[str, str]] = {
    word: (kind, value)
    for kind, table in (("noun", _NOUNS), ("level", _LEVELS), ("own", _OWN))
    for value, words in table.items()
    for word in words.split()
} | dict.fromkeys(_NO_LEVELS.split(), ("none", ""))
_TOKEN = re.compile("|".join(sorted(_TOKENS, key=len, reverse=True)))

_SENTENCE = re.compile(r"[^。！？；!?;\n]+[。！？；!?;\n]?")
_CLAUSE = re.compile(r"[^，,：:。！？；!?;\n]+")
_IF = re.compile("如果|假如|要是|倘若|假使|若是|除非|本应|本该|应该会|会更|预期|期待")
_GENERAL = re.compile("通常|往往|一般(?:来说|而言|会|都)|常常|的人(?:会|都|说话)|总是")
_TURN = re.compile("但|然而|不过|实际|这里|此处|却|可是|这段|该音频|这个")
_QUESTION = re.compile("吗|呢$|是否|是不是")
REACH = 10
"""Characters before a level in which its denial, or what it is compared with, stands."""
_DENIAL = re.compile("(?:不|没有|没|未|并非|无|缺乏|缺少|毫无)[^，。和与]{0,5}$")
_FROM = re.compile("[从由先][^，。]{0,4}$")
_TO = re.compile("(?:渐渐|逐渐|慢慢)?(?:到|变|变得|转|转为|变为|至|后|而)(?:较|更|很)?")
_RANGE = re.compile("(?:到|至|或|偏|略|稍|较|略微|稍微|-|—|～|~)+")
_MORE = re.compile("(?:越来越|逐渐|渐渐|愈发|变得)(?:更|很|较)?$")
_COMPARED = re.compile("(?:比|于|较之)(?:\\w{0,2})$")
_START = re.compile("开头|一开始|开始时|起初|最初|刚开始|前半")
_END = re.compile("结尾|末尾|句尾|最后|后来|随后|后半|结束时")
_GOES_ON = re.compile(
    "^(?:但|且|并且|而且|也|又)?(?:很|较|略|不|偏|非常|比较|十分|稍|显得|有些|有点)"
)


def find_chinese(text: str) -> Iterator[Claim]:
    """Yield the claims of a text without quotes, in the order of their level words."""
    for sentence in _SENTENCE.finditer(text):
        supposed = False
        nouns: list[str] = []
        claims: list[tuple[Claim, str]] = []
        is_question = sentence[0][-1] in "？?"
        clauses = [(m.start() + sentence.start(), m[0]) for m in _CLAUSE.finditer(sentence[0])]
        for place, (start, clause) in enumerate(clauses):
            supposed = (supposed and not _TURN.search(clause)) or bool(_IF.search(clause))
            supposed = supposed or bool(_GENERAL.search(clause))
            last = place == len(clauses) - 1
            if supposed or _QUESTION.search(clause) or (is_question and last):
                continue
            nouns = nouns if _GOES_ON.match(clause) else []
            phase = "start" if _START.search(clause) else "end" if _END.search(clause) else ""
            clause_claims, nouns = _clause(clause, start, nouns)
            claims += [(claim, phase) for claim in clause_claims]
        yield from whole_clip(text, claims)


def _clause(clause: str, offset: int, nouns: list[str]) -> tuple[list[Claim], list[str]]:
    """Return the claims of a clause, and the attributes that it named last."""
    tokens = list(_TOKEN.finditer(clause))
    claims: list[Claim] = []
    fresh = False  # whether a level was told of the nouns
    skip = -1
    for i, token in enumerate(tokens):
        kind, value = _TOKENS[token[0]]
        if i <= skip or kind == "none":
            continue
        before, after = (
            clause[max(0, token.start() - REACH) : token.start()],
            tokens[i + 1] if i + 1 < len(tokens) else None,
        )
        if kind == "noun":
            joined = not fresh and nouns and re.search("[和与及跟、]$", before)
            if value == "intonation" and after and after[0] in _OF_PITCH:
                value = "pitch"
            nouns, fresh = ([*nouns, value] if joined else [value]), False
            if value == "energy" and re.search("(?:缺乏|缺少|没有|毫无)(?:足够的)?$", before):
                claims.append(_claim("energy", "low", False, token, offset))
            continue
        if value == "normal" and _COMPARED.search(before):
            continue
        levels, moved = {value}, False
        other = _TOKENS[after[0]] if after else ("", "")
        if after and other[0] == "level" and kind == "level":
            between = clause[token.end() : after.start()]
            if _FROM.search(before) and other[1] in ("rising", "falling") and value in RANKS:
                continue  # the start of "由强变弱"
            if _FROM.search(before) and _TO.fullmatch(between):
                levels, skip, moved = {_between(value, other[1])}, i + 1, True
            elif value == "normal" and _RANGE.fullmatch(between):
                levels, skip = {value, other[1]}, i + 1
            elif value in ("expressive",) and other[1] in ("high", "low"):
                # "起伏不大": how much it moves.
                small = (other[1] == "low") != bool(_DENIAL.search(between))
                value, skip = ("flat" if small else "expressive"), i + 1
                levels = {value}
        if not moved and value in ("high", "low", "fast", "slow") and _MORE.search(before):
            levels = {direction("normal", value)}
        begin = max(tokens[i - 1].end() if i else 0, token.start() - REACH)
        negated = bool(_DENIAL.search(clause, begin, token.start()))
        if negated and value in ("expressive",):
            levels, negated = {"flat"}, False
        if kind == "own":
            attribute, level = value.split()
            claims.append(_claim(attribute, level, negated, token, offset))
            continue
        of = nouns
        if after and other[0] == "noun" and clause[token.end() : after.start()] in ("的", ""):
            of = [other[1]]
        for noun in of:
            claims += _told(noun, levels, token, offset, negated=negated)
        fresh = True
    return claims, nouns


def _between(first: str, last: str) -> str:
    """Return what a clause tells by two levels, or by two moves: "先升后降"."""
    if {first, last} == {"rising", "falling"}:
        return f"{first}-{last}"
    return direction(first, last)


def _told(
    noun: str, levels: set[str], token: re.Match[str], offset: int, *, negated: bool
) -> Iterator[Claim]:
    """Yield the claim of levels on a noun, unless they do not go together."""
    moves = levels & {"rising", "falling", "steady", "rising-falling", "falling-rising"}
    if noun == "voice":
        pitched = token[0] in _OF_PITCH and not moves
        noun = "pitch" if pitched else "rate" if levels & {"fast", "slow"} else "energy"
    if not noun or (noun == "rate" and token[0] in _ONLY_ENERGY and not moves):
        return
    if moves or levels & {"flat", "expressive"}:
        if noun in ("pitch", "intonation"):
            levels = {"flat" if level == "steady" else level for level in levels}
            yield _claim("intonation", either("intonation", levels), negated, token, offset)
            return
        levels = {"steady" if level == "flat" else level for level in levels}
        if levels <= {"rising", "falling", "steady"}:
            yield _claim(CHANGES[noun], either("", levels), negated, token, offset)
        return
    if noun == "intonation" or (noun == "pitch" and token[0] in _ONLY_ENERGY):
        return
    if noun == "rate":
        levels = {{"high": "fast", "low": "slow"}.get(level, level) for level in levels}
    elif levels & {"fast", "slow"}:
        return
    yield _claim(noun, either(noun, levels), negated, token, offset)


def _claim(attribute: str, level: str, negated: bool, token: re.Match[str], offset: int) -> Claim:
    return Claim(attribute, level, negated, offset + token.start(), offset + token.end())
