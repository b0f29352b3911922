"""Transcripts and items without audio: what is asked, and the exact text to train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from annotate.tasks.language import ASR_QUESTIONS, asr_rows, described_rows, read_text_rows
from configs.errors import UserError

LABELS = ("happy", "sad")


def clip(**fields: Any) -> dict[str, Any]:
    row = {"id": "c", "audio": "c.wav", "label": "sad", "speaker": "s1", "split": "train",
           "text": "It is over. ", "reasoning": "The voice is low and slow.",
           "prosody": {"pitch": "low", "rate": "slow", "energy": None}}  # fmt: skip
    return {**row, **fields}


def test_a_transcript_is_written_down():
    found = asr_rows([clip(), clip(id="d", text=" ")], seed=0)
    assert [row["id"] for row in found] == ["asr/c"]
    row = found[0]
    assert row["target"] == row["label"] == "It is over." and row["choices"] == []
    assert row["audio"] == "c.wav" and row["question"] in ASR_QUESTIONS
    moved = {**clip(), "transcription": "Yes"}
    del moved["text"]
    assert asr_rows([moved], seed=0)[0]["target"] == "Yes"


def test_a_delivery_is_described_in_words():
    (row,) = described_rows([clip()], LABELS, seed=0)
    assert row["audio"] is None and row["id"] == "described/c" and row["source"] == "c"
    assert row["target"] == "<think>The voice is low and slow.</think><answer>sad</answer>"
    sentences = ("The pitch is low and the rate is slow.", "The rate is slow and the pitch is low.")
    assert any(sentence in row["question"] for sentence in sentences)
    assert 'The words are: "It is over."' in row["question"]
    assert "happy, sad" in row["question"] and "{" not in row["question"]
    assert "energy" not in row["question"]
    (silent,) = described_rows([clip(text=None)], LABELS, seed=0)
    assert "words are" not in silent["question"]


def test_what_cannot_be_described_is_left_out():
    rows = [
        clip(reasoning=None),
        clip(prosody=None),
        clip(prosody={"pitch": "low", "rate": None}),
        clip(prosody={"pitch": "low", "rate": "brisk"}),
    ]
    assert described_rows(rows, LABELS, seed=0) == []
    with pytest.raises(UserError, match="row 'c': label 'angry' is none of: happy, sad"):
        described_rows([clip(label="angry")], LABELS, seed=0)


def test_rows_of_an_own_file(tmp_path: Path):
    path = tmp_path / "chat.jsonl"
    rows = [{"question": "2 + 2?", "target": "4"}, {"question": "Why?", "target": "So.", "x": 1}]
    path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    found = read_text_rows(path, split="train")
    assert [row["id"] for row in found] == ["text/chat/1", "text/chat/3"]
    assert [(row["question"], row["target"]) for row in found] == [("2 + 2?", "4"), ("Why?", "So.")]
    assert found[0]["audio"] is None and found[0]["split"] == "train"
    assert found[0]["source"] is None and found[0]["choices"] == []


def test_problems_of_an_own_file_are_named_by_line(tmp_path: Path):
    path = tmp_path / "chat.jsonl"
    path.write_text('{"question": "a", "target": " "}\n[1]\n{"question"\n', encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_text_rows(path, split="train")
    message = str(caught.value)
    assert "3 problem(s)" in message
    assert ":1: needs 'question' and 'target'" in message
    assert ":2: is a JSON list" in message and ":3: is not JSON" in message
    path.write_text("\n")
    with pytest.raises(UserError, match="holds no rows"):
        read_text_rows(path, split="train")
    with pytest.raises(UserError, match=r"none.jsonl: cannot be read"):
        read_text_rows(tmp_path / "none.jsonl", split="train")
