"""The words of the synthetic speech: what an aligner would give."""

from __future__ import annotations

import json
import wave
from pathlib import Path

from data.prosody.stress import read_words
from demo.corpus import build_corpus
from demo.speech import Synthesizer


def test_words_are_where_they_are_said():
    synthesizer = Synthesizer()
    whole, rate_hz = synthesizer.say(
        "we are going home now.", "en-us+m3", rate_wpm=165, pitch=50, pitch_range=50, volume=60
    )
    words = synthesizer.words()
    assert [word for word, _ in words] == ["we", "are", "going", "home", "now"]
    starts = [start_s for _, start_s in words]
    assert starts == sorted(starts) and starts[0] < 0.1
    assert starts[-1] < len(whole) / rate_hz


def test_rows_have_their_words_inside_the_clip(tmp_path: Path):
    corpus = tmp_path / "corpus"
    manifest = build_corpus(corpus, num_train=18, num_eval=9, num_test=9, num_cold_start=9, seed=3)
    for row in map(json.loads, manifest.read_text().splitlines()):
        words = read_words(row["words"])
        said = iter(row["text"].split())
        # In order; "on the" is one word to the synthesizer, and the last may be cut off.
        assert all(word.text in said for word in words)
        assert len(words) >= len(row["text"].split()) - 2
        with wave.open(str(corpus / row["audio"])) as file:
            assert words[-1].end_s <= file.getnframes() / 16000 + 0.001
