# ruff: noqa: RUF001  (the marks of Chinese text)
"""What a Chinese text says about a voice."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.prosody import claim_words_chinese as words
from data.prosody.claims import find_claims
from data.prosody.claims_chinese import find_chinese


def said(text: str) -> list[str]:
    """The claims as `attribute level`, with a `!` before denied ones."""
    return [f"{'!' if c.negated else ''}{c.attribute} {c.level}" for c in find_claims(text)]


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        # levels, idioms, the voice's other names, the other script
        ("他慢条斯理地讲着，嗓子很尖。", ["rate slow", "pitch high"]),
        ("老人有气无力，语速慢。", ["energy low", "rate slow"]),
        ("嗓音低沉而沙哑，語調單調。", ["pitch low", "intonation flat"]),
        ("以较高的音调和较快的语速说话。", ["pitch high", "rate fast"]),
        ("- **音高**：偏高\n- **能量**：中等", ["pitch high", "energy normal"]),
        ("从音调来看，整体偏高。", ["pitch high"]),
        # changes
        ("语速起先很慢，到结尾时已经很快。", ["rate_change rising"]),
        ("前半句轻声细语，后半句几乎是在怒吼。", ["energy_change rising"]),
        ("他越说越快，音量没有变化。", ["rate_change rising", "energy_change steady"]),
        ("声音由轻柔变得响亮。", ["energy_change rising"]),
        # contours
        ("音高先是下滑，随后又扬起。", ["intonation falling-rising"]),
        ("语调起伏不大，像一条直线。", ["intonation flat", "intonation flat"]),
        ("句尾上扬，像是在提问。", ["intonation rising"]),
        # denials and doubts
        ("语速谈不上快，声音没有那么响亮。", ["!rate fast", "!energy high"]),
        ("音调既不高也不低。", ["!pitch high", "!pitch low"]),
        ("语速不慢，音量未必算大。", ["!rate slow"]),
        # ranges
        ("音量介于低和中等之间。", ["energy low or normal"]),
        ("语速要么中等，要么偏快。", ["rate normal or fast"]),
        ("音高处于中到高的范围。", ["pitch normal or high"]),
        # comparisons
        ("她的语速比往常慢。", ["rate slow"]),
        ("他的音调比姐姐高。", []),
        ("和其他说话人相比，她的语速偏慢。", []),
        # what may be, and what is generally so
        ("人在害怕时嗓音会变尖，但这段音量很小。", ["energy low"]),
        ("音量再高一些，就像愤怒了。", []),
        # other things
        ("音乐声音很大，节奏也快。", []),
        ("窗外雨声很大，她说话却很轻。", ["energy low"]),
        ("唤醒度很高，压力很大，声音里带有强烈的愤怒。", []),
        # single words
        ("说到“钱”的时候，音调明显升高。", []),
        ("“走”字读得很响，不过整体音量偏小。", ["energy low"]),
    ],
)
def test_claims(text: str, claims: list[str]):
    assert said(text) == claims


def test_places_are_those_of_the_text_in_either_script():
    text = "她的聲音響亮，語速緩慢。"
    assert [text[c.start : c.end] for c in find_claims(text)] == ["響亮", "緩慢"]


def test_each_traditional_character_has_one_simplified():
    assert len(words.TRADITIONAL) == len(words.SIMPLIFIED)
    pairs = set(zip(words.TRADITIONAL, words.SIMPLIFIED, strict=True))
    assert len(pairs) == len({traditional for traditional, _ in pairs})


_WORDS = (
    "音调 语速 声音 高 快 低 平 变化 先 后 从 到 由 转 不 没有 的 和 越 或 比 要么 大声 单调 "
    "像 ， 。 ： 、 说话 中 起伏 音乐 升 降 逐渐 开头 结尾 很"
)


@given(st.lists(st.sampled_from(_WORDS.split()), max_size=30))
def test_any_order_of_the_words_is_read(parts: list[str]):
    text = "".join(parts)
    for claim in find_chinese(text):
        assert 0 <= claim.start < claim.end <= len(text)


@pytest.mark.parametrize(
    "piece",
    [
        "音调 ",
        "音调低，不对，",
        "音调很高",
        "越说越快",
        "不",
        "随着",
        "音调、",
        "很",
        "先高",
        "起伏",
        "开头低，后来高，",
    ],
)
def test_time_is_linear(piece: str):
    def seconds(count: int) -> float:
        start = time.process_time()
        list(find_chinese(piece * count))
        return time.process_time() - start

    seconds(100)
    short = min(seconds(1000) for _ in range(3))
    assert seconds(8000) < 40 * short + 0.05
