"""The sheet for people: what it shows, and that nothing in it runs."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from annotate.cot.review import write_review
from tests.unit.make_rows import draw_rows

PROSODY = {
    "pitch": "low",
    "pitch_to_above": 0.9,
    "energy": "low",
    "energy_to_above": 0.1,
    "rate": None,
    "intonation": "flat",
    "contour": "falling",
}
ROW = {
    "id": "clip-1",
    "audio": "a/clip 1.wav",
    "label": "sad",
    "text": "so it is",
    "prosody": PROSODY,
    "reasoning": "The pitch is low, the volume normal, the pace fast and the melody rising.",
}
ATTACK = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;b&gt;"


class Page(HTMLParser):
    """The elements of a page, and the text of each kind of claim."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.claims: list[tuple[str, str]] = []
        self.quotes: list[str] = []
        self._kind = ""
        self._quoting = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "blockquote":
            self._quoting = True
            self.quotes.append("")
        if tag == "span" and self._quoting:
            self._kind = dict(attrs).get("class") or ""

    def handle_endtag(self, tag: str) -> None:
        self._kind = "" if tag == "span" else self._kind
        self._quoting = self._quoting and tag != "blockquote"

    def handle_data(self, data: str) -> None:
        if self._quoting:
            self.quotes[-1] += data
            if self._kind:
                self.claims.append((data, self._kind))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def sheet(tmp_path: Path):
    def write(*rows: dict[str, Any], sample: int = 50, seed: int = 0) -> str:
        path = tmp_path / "out" / "review.html"
        path.parent.mkdir(exist_ok=True)
        write_review(path, rows, audio_root=tmp_path / "clips", sample=sample, seed=seed)
        return path.read_text(encoding="utf-8")

    return write


def test_only_the_sheets_own_script_may_run(sheet):
    text = sheet({**ROW, "reasoning": "<script>alert(1)</script>"})
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"script-src 'sha256-{digest}'"]


def test_claims_are_coloured_by_what_was_measured(sheet):
    page = Page(sheet(ROW))
    assert page.claims == [
        ("low", "true"),
        ("normal", "half"),
        ("fast", "unknown"),
        ("rising", "false"),
    ]
    assert page.quotes == [ROW["reasoning"]]


def test_what_the_speaker_says_is_no_claim(sheet):
    text = '"High pitch!" is what is said; the pitch is low.'
    page = Page(sheet({**ROW, "reasoning": text}))
    assert page.claims == [("low", "true")]
    assert page.quotes == [text]


def test_of_two_claims_by_one_word_the_worst_is_shown(sheet):
    loud = {**PROSODY, "energy": "high", "energy_to_above": None, "energy_to_below": 2.0}
    for text in ("The pitch and energy are low.", "The energy and pitch are low."):
        page = Page(sheet({**ROW, "prosody": loud, "reasoning": text}))
        assert page.claims == [("low", "false")]
        assert page.quotes == [text]


def test_the_facts_of_a_clip(sheet):
    text = sheet(ROW)
    assert "1. clip-1 &mdash; sad" in text
    assert "pitch: low, energy: low, rate: not measured, intonation: flat, contour: falling" in text
    assert "&ldquo;so it is&rdquo;" in text
    assert "&ldquo;" not in sheet({**ROW, "text": None})


@pytest.mark.parametrize("field", ["id", "label", "text", "reasoning", "audio", "contour"])
def test_nothing_foreign_runs(sheet, field: str):
    row = {**ROW, field: f"x{ATTACK}", "prosody": {**PROSODY, "contour": "flat"}}
    if field == "contour":
        row = {**ROW, "prosody": {**PROSODY, "contour": ATTACK}}
    clean, attacked = Page(sheet(ROW)), Page(sheet(row))
    tags = [tag for tag, _ in clean.elements if tag != "span"]
    assert [tag for tag, _ in attacked.elements if tag != "span"] == tags
    assert len(attacked.all("script")) == 1 and not attacked.all("img")
    for _, attributes in attacked.elements:
        assert not any(name.startswith("on") for name in attributes)
    if field == "reasoning":
        assert attacked.quotes == [row["reasoning"]]
    if field == "id":
        assert attacked.all("article") == [{"data-id": row["id"]}]


@pytest.mark.parametrize(
    ("audio", "source"),
    [
        ("a/clip 1.wav", "../clips/a/clip%201.wav"),
        ("50%#1?.wav", "../clips/50%25%231%3F.wav"),
        ("\u00e4.wav", "../clips/%C3%A4.wav"),
        ('"><script>.wav', "../clips/%22%3E%3Cscript%3E.wav"),
        # A name that reads like an address stays a file beside the sheet.
        ("javascript:alert(1)", "../clips/javascript%3Aalert%281%29"),
    ],
)
def test_clips_are_found_from_the_sheet(sheet, tmp_path: Path, audio: str, source: str):
    (player,) = Page(sheet({**ROW, "audio": audio})).all("audio")
    assert player["src"] == source
    assert (tmp_path / "out" / unquote(source)).resolve() == tmp_path / "clips" / audio


ROWS = [{**row, "reasoning": f"Text {number}."} for number, row in enumerate(draw_rows(40, 1))]


def ids_of(text: str) -> list[str | None]:
    return [attributes["data-id"] for attributes in Page(text).all("article")]


def test_a_sample_is_drawn_by_the_seed(sheet):
    text = sheet(*ROWS, sample=7)
    ids = ids_of(text)
    assert len(set(ids)) == 7
    assert "7 of 40 accepted texts" in text
    assert [int(str(name).removeprefix("clip-")) for name in ids] == sorted(
        int(str(name).removeprefix("clip-")) for name in ids
    )
    assert sheet(*ROWS, sample=7) == text
    assert ids_of(sheet(*ROWS, sample=7, seed=1)) != ids
    assert ids_of(sheet(*ROWS, sample=99)) == [row["id"] for row in ROWS]


def test_every_text_has_its_own_decision(sheet):
    text = sheet(*ROWS, sample=3)
    radios = [a for a in Page(text).all("input") if a["type"] == "radio"]
    assert [(a["name"], a["value"]) for a in radios] == [
        (f"r{n}", value) for n in (1, 2, 3) for value in ("accept", "reject")
    ]
    # Nothing is fetched from anywhere else.
    assert not re.search(r"https?://|//\w", text)
