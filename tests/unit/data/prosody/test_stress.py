"""Stressed words of a sentence whose words are where we put them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.prosody.levels import MIN_SEX, Clip, calibrate, describe
from data.prosody.measure import measure
from data.prosody.stress import Word, read_words
from data.records import FloatArray
from launch.annotate import main
from tests.fixtures import make_corpus
from tests.unit.data.prosody.test_measure import make_prosody, silence, voice

NAMES = ("she", "left", "the", "keys", "here")


def sentence(stressed: int | None) -> tuple[FloatArray, list[Word]]:
    """Five words of a steady voice; the stressed one is 5 st higher, 6 dB louder, and longer."""
    pieces, words, now = [silence(0.1)], [], 0.1
    for index, name in enumerate(NAMES):
        here = index == stressed
        duration_s = 0.08 * len(name) * (1.4 if here else 1.0)
        wave = voice([150 * 2 ** (5 / 12) if here else 150], duration_s)
        pieces += [wave * np.float32(2.0 if here else 1.0), silence(0.03)]
        words.append(Word(name, now, now + duration_s))
        now += duration_s + 0.03
    return np.concatenate([*pieces, silence(0.1)]), words


@pytest.mark.parametrize("stressed", range(5))
def test_the_word_that_stands_out_is_stressed(stressed: int):
    clip, words = sentence(stressed)
    assert measure(clip, None, words).stressed_words == (NAMES[stressed],)


def test_no_word_stands_out_of_equal_ones():
    clip, words = sentence(None)
    found = measure(clip, None, words).stressed_words
    assert found is not None and len(found) <= 1
    assert measure(clip, None).stressed_words is None
    assert measure(clip, None, words[:2]).stressed_words is None


def test_words_of_a_row():
    assert read_words([{"word": "a", "start_s": 0, "end_s": 0.5}]) == (Word("a", 0.0, 0.5),)
    assert read_words(None) == ()
    for bad in ("a", [{"word": "a", "start_s": 1, "end_s": 1}], [{"word": 1}], [None]):
        with pytest.raises(ValueError, match="'words'"):
            read_words(bad)


def test_a_bad_alignment_names_its_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    manifest = make_corpus(tmp_path, 2)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[1]["words"] = [{"word": "x", "start_s": 2, "end_s": 1}]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = [f"manifest={manifest}", f"root={tmp_path}", f"output={tmp_path / 'out'}"]
    assert main([*arguments, "splits.allow=[speaker, transcript]"]) == 2
    assert "row 'clip-1': 'words' holds" in capsys.readouterr().err


def test_pitch_of_a_rare_speaker_is_compared_with_the_same_sex():
    """100 women around 200 Hz and 100 men around 100 Hz, each heard once."""
    clips = []
    for index in range(2 * MIN_SEX):
        spread = 1 + 0.2 * (index / MIN_SEX - 1)
        clips.append(Clip(make_prosody(f0_median_hz=200 * spread), f"w{index}", "d", "female"))
        clips.append(Clip(make_prosody(f0_median_hz=100 * spread), f"m{index}", "d", "male"))
    cuts = calibrate(clips)
    low_woman = Clip(make_prosody(f0_median_hz=165.0), "new", "d", "female")
    found = describe(low_woman, cuts)
    assert (found["pitch"], found["pitch_group"]) == ("low", "sex")
    unknown = describe(Clip(make_prosody(f0_median_hz=165.0), "new", "d"), cuts)
    assert (unknown["pitch"], unknown["pitch_group"]) == ("normal", "dataset")
