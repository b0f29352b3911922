"""The golden table of completion formats, and how labels are compared."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.parsing import MAX_CHARS, normalize_label, parse_output

GOOD = "<think>high pitch</think><answer>happy</answer>"

# name: (text, reason, answer); well-formed exactly where the reason is "ok".
CASES: dict[str, tuple[str, str, str | None]] = {
    "plain": (GOOD, "ok", "happy"),
    "newlines between": (
        "<think>\nhigh pitch\n</think>\n<answer>\nhappy\n</answer>\n",
        "ok",
        "happy",
    ),
    "blanks around": (f" \t{GOOD}\r\n ", "ok", "happy"),
    "no-break space around": (f"\u00a0{GOOD}\u2003", "ok", "happy"),
    "many lines of thought": (
        "<think>a\n\nb\nc</think><answer>contempt or disgust</answer>",
        "ok",
        "contempt or disgust",
    ),
    "answer keeps its case": ("<think>x</think><answer> Happy. </answer>", "ok", "Happy."),
    "chinese": (
        "<think>\u97f3\u8c03\u9ad8</think><answer>\u9ad8\u5174</answer>",
        "ok",
        "\u9ad8\u5174",
    ),
    "emoji beside words": ("<think>loud \U0001f600</think><answer>happy</answer>", "ok", "happy"),
    "other markup in thought": (
        "<think><b>loud</b> & a < b</think><answer>angry</answer>",
        "ok",
        "angry",
    ),
    "upper-case tags are text": (
        "<think>x <THINK> y</think><answer>sad</answer>",
        "ok",
        "sad",
    ),
    "spaced tags are text": ("<think>x < think> y</think><answer>sad</answer>", "ok", "sad"),
    "lone pipe bracket": ("<think>a <| b</think><answer>sad</answer>", "ok", "sad"),
    "closing pipe bracket first": ("<think>a |> b <| c</think><answer>sad</answer>", "ok", "sad"),
    "digits are content": ("<think>5</think><answer>1</answer>", "ok", "1"),
    "choice list as answer": (
        "<think>x</think><answer>happy, sad, angry</answer>",
        "ok",
        "happy, sad, angry",
    ),
    "at the cap": (f"{GOOD}{' ' * (MAX_CHARS - len(GOOD))}", "ok", "happy"),
    "one past the cap": (f"{GOOD}{' ' * (MAX_CHARS - len(GOOD) + 1)}", "too long", None),
    "megabyte of tags": ("<think>" * 150_000, "too long", None),
    "twenty thousand digits": ("1" * 20_000, "missing <think>", None),
    "nothing": ("", "missing <think>", None),
    "white space": (" \n ", "missing <think>", None),
    "prose": ("The speaker is happy.", "missing <think>", None),
    "label only": ("happy", "missing <think>", None),
    "think only": ("<think>high pitch</think>", "missing <answer>", None),
    "answer only": ("<answer>happy</answer>", "missing <think>", None),
    "truncated thought": ("<think>high pitch and", "missing </think>", None),
    "truncated before answer": ("<think>high</think>", "missing <answer>", None),
    "truncated answer": ("<think>high</think><answer>hap", "missing </answer>", None),
    "truncated closing tag": (
        "<think>high</think><answer>happy</answer",
        "missing </answer>",
        None,
    ),
    "truncated opening tag": ("<think>high</think><answ", "missing <answer>", None),
    "closing tags missing": ("<think>high<answer>happy", "missing </think>", None),
    "thought opened in the prompt": (
        "high</think><answer>happy</answer>",
        "missing <think>",
        None,
    ),
    "upper case": ("<THINK>x</THINK><ANSWER>happy</ANSWER>", "missing <think>", None),
    "mixed case": ("<think>x</think><Answer>happy</Answer>", "missing <answer>", None),
    "blank inside a tag": ("<think >x</think><answer>happy</answer>", "missing <think>", None),
    "blank before a name": ("< think>x</think><answer>happy</answer>", "missing <think>", None),
    "blank after a slash": ("<think>x</ think><answer>happy</answer>", "missing </think>", None),
    "attribute": ("<think a=1>x</think><answer>happy</answer>", "missing <think>", None),
    "full-width brackets": (
        "\uff1cthink\uff1ex</think><answer>happy</answer>",
        "missing <think>",
        None,
    ),
    "look-alike letter": ("<th\u0456nk>x</think><answer>happy</answer>", "missing <think>", None),
    "self-closing": ("<think/><answer>happy</answer>", "missing <think>", None),
    "entities": (
        "&lt;think&gt;x&lt;/think&gt;<answer>happy</answer>",
        "missing <think>",
        None,
    ),
    "twice": (GOOD + GOOD, "repeated <think>", None),
    "thought twice": (f"<think>a</think>{GOOD}", "repeated <think>", None),
    "answer twice": (f"{GOOD}<answer>sad</answer>", "repeated <answer>", None),
    "nested thought": (
        "<think><think>x</think></think><answer>happy</answer>",
        "repeated <think>",
        None,
    ),
    "nested answer": (
        "<think>x</think><answer><answer>happy</answer></answer>",
        "repeated <answer>",
        None,
    ),
    "thought closed twice": (
        "<think>x</think></think><answer>happy</answer>",
        "repeated </think>",
        None,
    ),
    "answer closed twice": (f"{GOOD}</answer>", "repeated </answer>", None),
    "answer quoted in thought": (
        "<think>so <answer>sad</answer></think><answer>happy</answer>",
        "repeated <answer>",
        None,
    ),
    "answer first": ("<answer>happy</answer><think>x</think>", "wrong order", None),
    "answer inside thought": ("<think>x<answer>happy</answer></think>", "wrong order", None),
    "overlapping": ("<think>x<answer>y</think>happy</answer>", "wrong order", None),
    "closed before opened": ("</think>x<think><answer>happy</answer>", "wrong order", None),
    "text before": (f"Sure: {GOOD}", "text outside", None),
    "text after": (f"{GOOD} Done.", "text outside", None),
    "text between": ("<think>x</think> so <answer>happy</answer>", "text outside", None),
    "full stop after": (f"{GOOD}.", "text outside", None),
    "zero-width space after": (f"{GOOD}\u200b", "text outside", None),
    "byte-order mark before": (f"\ufeff{GOOD}", "text outside", None),
    "NUL after": (f"{GOOD}\0", "text outside", None),
    "code fence": (f"```\n{GOOD}\n```", "text outside", None),
    "empty thought": ("<think></think><answer>happy</answer>", "empty think", None),
    "blank thought": ("<think> \n</think><answer>happy</answer>", "empty think", None),
    "dots as thought": ("<think>...</think><answer>happy</answer>", "empty think", None),
    "invisible thought": ("<think>\u200b</think><answer>happy</answer>", "empty think", None),
    "empty answer": ("<think>x</think><answer></answer>", "empty answer", None),
    "blank answer": ("<think>x</think><answer>\t</answer>", "empty answer", None),
    "question mark as answer": ("<think>x</think><answer>?</answer>", "empty answer", None),
    "all empty": ("<think></think><answer></answer>", "empty think", None),
    "chat token in thought": (
        "<think>x<|im_start|>y</think><answer>happy</answer>",
        "special token",
        None,
    ),
    "chat token in answer": (
        "<think>x</think><answer>happy<|im_end|></answer>",
        "special token",
        None,
    ),
    "end token after": (f"{GOOD}<|endoftext|>", "special token", None),
    "audio token before": (f"<|AUDIO|>{GOOD}", "special token", None),
    "next turn": (f"{GOOD}<|im_end|>\n<|im_start|>user\nhi", "special token", None),
}


def test_the_table_is_large_enough():
    assert len(CASES) >= 45


@pytest.mark.parametrize("name", CASES)
def test_golden_table(name: str):
    text, reason, answer = CASES[name]
    parsed = parse_output(text)
    assert (parsed.well_formed, parsed.reason, parsed.answer) == (reason == "ok", reason, answer)
    assert (parsed.think is None) == (answer is None)


def test_think_body_is_stripped_and_otherwise_untouched():
    parsed = parse_output("<think>\n High\n\n pitch. \n</think><answer>happy</answer>")
    assert parsed.think == "High\n\n pitch."


@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 150_000,
        "<think>" * (MAX_CHARS // 7),
        "<|" * (MAX_CHARS // 2),
        "<think>" + "<" * (MAX_CHARS - 7),
        "<think>" + "." * (MAX_CHARS - 40) + "</think><answer>!</answer>",
        "1" * 1_000_000,
    ],
    ids=["megabyte", "tags", "pipes", "brackets", "punctuation", "digits"],
)
def test_degenerate_text_is_parsed_in_well_under_50_ms(text: str):
    fastest = min(_seconds(text) for _ in range(3))
    assert fastest < 0.05


def _seconds(text: str) -> float:
    start = time.process_time()
    parse_output(text)
    return time.process_time() - start


BODY = st.text(st.characters(exclude_characters="<|>"), min_size=1).filter(
    lambda body: any(char.isalnum() for char in body)
)


@given(BODY, BODY)
def test_what_is_written_by_the_rules_is_read_back(think: str, answer: str):
    parsed = parse_output(f"<think>{think}</think>\n<answer>{answer}</answer>")
    assert (parsed.reason, parsed.think, parsed.answer) == ("ok", think.strip(), answer.strip())


@given(BODY, st.integers(0, 6), st.integers(1, 12))
def test_a_lost_stretch_of_a_tag_is_always_noticed(think: str, start: int, length: int):
    text = f"<think>{think}</think><answer>happy</answer>"
    assert not parse_output(text[:start] + text[start + length :]).well_formed


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("happy", "happy"),
        (" Happy\n", "happy"),
        ("HAPPY.", "happy"),
        ("happy!?", "happy"),
        ("happy . ", "happy"),
        ("Contempt  or\t\nDisgust.", "contempt or disgust"),
        ("\u9ad8\u5174\u3002", "\u9ad8\u5174"),
        ("STRASSE", "strasse"),
        ("Stra\u00dfe", "strasse"),
        ("un-happy", "un-happy"),
        ("!happy", "!happy"),
        ("happy sad", "happy sad"),
        ("...", ""),
    ],
)
def test_normalize_label(text: str, label: str):
    assert normalize_label(text) == label


@given(st.text())
def test_normalizing_twice_changes_nothing(text: str):
    once = normalize_label(text)
    assert normalize_label(once) == once
