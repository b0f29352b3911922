"""Prosody measured from sounds whose answer is known, and levels worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from data.audio import read_audio
from data.prosody.levels import INTONATIONS, Clip, calibrate, describe
from data.prosody.measure import Prosody, _without_octave_errors, measure, with_transcript
from data.prosody.renditions import Change, analyse, render
from data.records import FloatArray
from demo.prosody_check import confusion, rank_correlation
from demo.speech import Synthesizer
from demo.texts import PITCH_LEVELS, SENTENCES

pytestmark = pytest.mark.slow

RATE = 16_000


def voice(f0_hz: np.ndarray | list[float], duration_s: float = 1.0) -> FloatArray:
    """A buzz of ten harmonics whose pitch runs evenly (in semitones) through the given points."""
    time = np.linspace(0, 1, round(duration_s * RATE))
    points = np.log2(np.asarray(f0_hz, float))
    f0 = 2 ** np.interp(time, np.linspace(0, 1, len(points)), points)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    return sum(np.sin(k * phase) / k for k in range(1, 11)).astype(np.float32) * np.float32(0.2)


def silence(duration_s: float) -> FloatArray:
    return np.zeros(round(duration_s * RATE), np.float32)


def say(synthesizer: Synthesizer, rate_wpm: float, pitch: float = 50) -> FloatArray:
    samples, rate_hz = synthesizer.say(
        "the meeting starts at nine and we are going home now.",
        "en-us+m3",
        rate_wpm=rate_wpm,
        pitch=pitch,
        pitch_range=50,
        volume=60,
    )
    return soxr.resample(samples, rate_hz, RATE)


# Pitch.


@pytest.mark.parametrize("f0_hz", [80, 120, 200, 330, 450])
def test_pitch_of_a_steady_voice(f0_hz: float):
    found = measure(voice([f0_hz]), None)
    assert found.f0_median_hz == pytest.approx(f0_hz, rel=0.02)
    assert found.f0_range_st == pytest.approx(0, abs=0.3)
    assert found.voiced_frac is not None and found.voiced_frac > 0.9


def test_pitch_of_a_sweep():
    """An octave up in a second: median at half way, 90 % of 12 semitones between p5 and p95."""
    found = measure(voice([120, 240]), None)
    assert found.f0_median_hz == pytest.approx(120 * 2**0.5, rel=0.02)
    assert found.f0_range_st == pytest.approx(10.8, abs=0.5)
    assert found.f0_std_st == pytest.approx(12 / 12**0.5, abs=0.2)
    assert found.f0_slope_st_per_s == pytest.approx(12, abs=0.3)
    assert found.f0_change_st == pytest.approx(6, abs=0.3)
    # The last 30 % cover 3.6 st; the middle of its percentiles is 1.8 st below the end, and the end
    # is the median of the last 5 %, 0.3 st lower.
    assert found.f0_end_st == pytest.approx(1.5, abs=0.2)


def test_noise_has_no_pitch():
    noise = np.random.default_rng(0).normal(0, 0.05, RATE).astype(np.float32)
    found = measure(noise, "hush")
    assert found.f0_median_hz is found.f0_range_st is found.f0_end_st is None
    assert found.energy_dbfs == pytest.approx(-26, abs=0.3)
    cuts = calibrate([Clip(found, "a", "x")] * 30)
    prosody = describe(Clip(found, "a", "x"), cuts)
    assert prosody["pitch"] is prosody["pitch_to_above"] is prosody["pitch_change"] is None
    assert prosody["intonation"] is None and prosody["energy"] is not None


def test_an_octave_error_is_moved_and_a_leap_is_not():
    wave = voice([150]).astype(np.float64)
    frames = np.arange(5, 95)
    true = np.full(90, 12 * np.log2(1.5))
    for wrong in (12.0, -12.0):
        contour = true.copy()
        contour[60:75] += wrong
        _, found = _without_octave_errors(wave, frames, contour)
        assert found == pytest.approx(true)
    leap = np.concatenate([voice([150], 0.7), voice([300], 0.3)])
    assert measure(leap, None).f0_range_st == pytest.approx(12, abs=0.3)


def contour_clip(kind: str, duration_s: float, gaps: bool) -> FloatArray:
    points = {
        "flat": [150, 149, 148, 147],
        "falling": [165, 170, 150, 140],
        "expressive": [150, 260, 210, 130],
        "rising": [165, 155, 150, 180],
    }[kind]
    clip = voice(points, duration_s)
    if gaps:
        for start in (0.25, 0.55):
            clip[int(start * len(clip)) : int((start + 0.1) * len(clip))] = 0
    return np.concatenate([silence(0.1), clip, silence(0.1)])


@pytest.mark.parametrize("kind", INTONATIONS)
def test_intonation_depends_on_the_contour_alone(kind: str):
    """Calibrated on one form of each contour, with equal shares, and recognised in the others."""
    usual = [Clip(measure(contour_clip(k, 1.2, False), None), "a", "x") for k in INTONATIONS[:3]]
    cuts = calibrate(usual * 10)
    for duration_s in (0.8, 1.2, 2.5):
        for gaps in (False, True):
            clip = Clip(measure(contour_clip(kind, duration_s, gaps), None), "a", "x")
            assert describe(clip, cuts)["intonation"] == kind, (duration_s, gaps)


# Energy, activity, pauses.


def test_energy_by_hand():
    """A sine of amplitude 0.1 has a mean square of 0.005: -23 dB."""
    sine = (0.1 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)).astype(np.float32)
    assert measure(sine, None).energy_dbfs == pytest.approx(-23.0, abs=0.1)
    assert measure(sine * np.float32(2), None).energy_dbfs == pytest.approx(-17.0, abs=0.1)
    louder = np.concatenate([sine, 2 * sine])
    assert measure(louder, None).energy_change_db == pytest.approx(6.0, abs=0.3)


def test_silence_around_a_clip_changes_nothing():
    speech = say(Synthesizer(), 165)
    noise = np.random.default_rng(1).normal(0, 1e-3, 5 * RATE).astype(np.float32)
    inside = measure(speech, "abc")
    for pad in (silence(0.2), silence(2.5)):
        padded = measure(np.concatenate([pad, speech, pad]), "abc")
        assert padded.energy_dbfs == pytest.approx(inside.energy_dbfs, abs=0.1)
        assert padded.speech_s == pytest.approx(inside.speech_s, abs=0.03)
        assert padded.f0_median_hz == pytest.approx(inside.f0_median_hz, rel=0.01)
        assert padded.pause_frac == inside.pause_frac
    padded = measure(np.concatenate([noise[:RATE], speech, noise[RATE:]]), "abc")
    assert padded.energy_dbfs == pytest.approx(inside.energy_dbfs, abs=0.1)
    assert padded.noise_dbfs == pytest.approx(-60, abs=0.5)


def test_pauses_count_and_clicks_do_not():
    click = silence(1.0)
    click[500] = 0.9
    clip = np.concatenate([voice([150], 0.6), silence(0.4), voice([150], 0.6), silence(0.1), click])
    found = measure(clip, None)
    assert found.speech_s == pytest.approx(1.2, abs=0.05)
    assert found.pause_frac == pytest.approx(0.4 / 1.6, abs=0.03)


def test_stereo_equals_mono(tmp_path: Path):
    samples = contour_clip("falling", 1.0, True)
    sf.write(tmp_path / "mono.wav", samples, RATE, subtype="PCM_16")
    sf.write(tmp_path / "stereo.wav", np.stack([samples, samples], 1), RATE, subtype="PCM_16")
    mono, stereo = (
        measure(read_audio(tmp_path / name, min_duration_s=0.1, max_duration_s=30), None)
        for name in ("mono.wav", "stereo.wav")
    )
    assert mono == stereo


@pytest.mark.parametrize("num_samples", [1, 200, 1600, RATE])
def test_nothing_is_said_of_nothing(num_samples: int):
    found = measure(np.zeros(num_samples, np.float32), "a word")
    assert found.speech_s == found.voiced_frames == found.num_pauses == 0
    measured = {name for name, value in found.as_json().items() if value is not None}
    assert measured == {"duration_s", "speech_s", "voiced_frames", "num_pauses"}


# Rate.


def test_rate_follows_the_synthesizer():
    synthesizer = Synthesizer()
    found = [measure(say(synthesizer, wpm), "some words here") for wpm in (110, 140, 180, 230, 290)]
    for name in ("letters_per_s", "nuclei_per_s"):
        rates = [prosody.as_json()[name] for prosody in found]
        assert rates == sorted(rates) and rates[-1] > 1.6 * rates[0], (name, rates)


def test_letters_of_the_transcript():
    found = measure(voice([150], 1.0), None)
    assert found.letters_per_s is None
    told = with_transcript(found, "It's 7 o'clock, Jürgen_!")
    assert told.letters_per_s == pytest.approx(15 / found.speech_s)
    assert with_transcript(told, "12:30").letters_per_s is None


# Levels.


def make_prosody(**values: float | None) -> Prosody:
    names = dict.fromkeys(Prosody.__dataclass_fields__)
    return Prosody(**names | {"speech_s": 1.0, "voiced_frames": 80} | values)  # type: ignore[arg-type]


def with_energies(values: list[float], speaker: str | None) -> list[Clip]:
    return [Clip(make_prosody(energy_dbfs=value), speaker, "x") for value in values]


def test_thirds_by_hand():
    """Energies -40 to -10 in steps of 1: thirds at -30 and -20, deviation sqrt(80)."""
    clips = with_energies([float(value) for value in range(-40, -9)], "a")
    cuts = calibrate(clips)
    low = describe(clips[4], cuts)
    assert (low["energy"], low["energy_group"]) == ("low", "speaker")
    assert low["energy_to_below"] is None
    assert low["energy_to_above"] == pytest.approx(6 / 80**0.5, abs=1e-3)
    middle = describe(clips[11], cuts)
    assert middle["energy"] == "normal"
    assert middle["energy_to_below"] == pytest.approx(1 / 80**0.5, abs=1e-3)
    assert middle["energy_to_above"] == pytest.approx(9 / 80**0.5, abs=1e-3)
    high = describe(clips[30], cuts)
    assert (high["energy"], high["energy_to_above"]) == ("high", None)
    assert high["energy_to_below"] == pytest.approx(10 / 80**0.5, abs=1e-3)


def test_levels_are_relative_to_the_speaker():
    loud = with_energies([float(value) for value in range(-20, 0)], "loud")
    quiet = with_energies([float(value) for value in range(-50, -30)], "quiet")
    rare = with_energies([-90.0, -80.0, -70.0, -60.0, -61.0], "rare")
    guest = with_energies([-90.0], "guest")
    cuts = calibrate([*loud, *quiet, *rare, *guest])
    for clips in (loud, quiet):
        levels = [describe(clip, cuts)["energy"] for clip in clips]
        assert levels == ["low"] * 7 + ["normal"] * 6 + ["high"] * 7
    found = [describe(clip, cuts) for clip in rare]
    assert [row["energy"] for row in found] == ["low", "low", "normal", "high", "high"]
    assert {row["energy_group"] for row in found} == {"centred"}
    alone = describe(guest[0], cuts)
    assert (alone["energy"], alone["energy_group"]) == ("low", "dataset")
    stranger = Clip(make_prosody(energy_dbfs=-1.0), "a", "another corpus")
    assert describe(stranger, cuts)["energy"] is None


def test_rates_from_letters_and_nuclei_are_not_compared():
    texts = [
        Clip(make_prosody(letters_per_s=10.0 + i, nuclei_per_s=9.0), "a", "x") for i in range(20)
    ]
    bare = [Clip(make_prosody(nuclei_per_s=3.0 + i / 10), "a", "x") for i in range(20)]
    cuts = calibrate([*texts, *bare])
    assert [describe(c, cuts)["rate"] for c in (texts[0], texts[10])] == ["slow", "normal"]
    fast = describe(bare[-1], cuts)
    assert (fast["rate"], fast["rate_from"]) == ("fast", "nuclei")


def test_distances_between_intonations():
    """Ranges 0 to 30: thirds at 10 and 20, deviation sqrt(80); a rise begins at 0.6 st."""
    clips = [Clip(make_prosody(f0_range_st=float(r), f0_end_st=-0.9), "a", "x") for r in range(31)]
    cuts = calibrate(clips)
    flat = describe(clips[4], cuts)
    assert flat["intonation"] == "flat" and flat["intonation_to_flat"] is None
    assert flat["intonation_to_falling"] == pytest.approx(6 / 80**0.5, abs=1e-3)
    assert flat["intonation_to_expressive"] == pytest.approx(16 / 80**0.5, abs=1e-3)
    assert flat["intonation_to_rising"] == pytest.approx(1.0)
    assert describe(clips[15], cuts)["intonation"] == "falling"
    assert describe(clips[25], cuts)["intonation"] == "expressive"
    rising = Clip(make_prosody(f0_range_st=15.0, f0_end_st=0.9), "a", "x")
    found = describe(rising, cuts)
    assert found["intonation"] == "rising" and found["intonation_to_rising"] is None
    assert found["intonation_to_falling"] == pytest.approx(0.2)
    assert found["intonation_to_flat"] == pytest.approx(5 / 80**0.5, abs=1e-3)


def test_changes_within_a_clip():
    def change(st: float, db: float) -> tuple[str, str]:
        prosody = make_prosody(f0_change_st=st, energy_change_db=db)
        found = describe(Clip(prosody, None, None), {})
        return found["pitch_change"], found["energy_change"]

    assert change(2.0, -3.0) == ("rising", "falling")
    assert change(-2.0, 3.0) == ("falling", "rising")
    assert change(1.9, -2.9) == ("steady", "steady")


def test_the_check_counts_and_ranks():
    """Two speakers an octave apart: only relative to them do the ranks agree."""
    rows = []
    for speaker, pitches in (("low", (90.0, 100.0, 110.0)), ("high", (178.0, 200.0, 222.0))):
        for level, pitch in zip(PITCH_LEVELS, pitches, strict=True):
            prosody = {"pitch": level, "pitch_to_below": 0.3, "pitch_to_above": None}
            setting = pitch / pitches[1]
            rows.append(
                {
                    "speaker": speaker,
                    "prosody": prosody | {"f0_median_hz": pitch},
                    "settings": {"pitch": setting, "levels": {"pitch": level}},
                }
            )
    assert rank_correlation(rows, "pitch", "f0_median_hz") == pytest.approx(1)
    rows[0]["prosody"] |= {"pitch": "normal", "pitch_to_below": 0.1}
    rows.append({"speaker": "low", "prosody": None, "settings": {}})
    assert confusion(rows, "pitch").tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 2]]
    assert confusion(rows, "pitch", clear_only=True).tolist() == [[1, 0, 0], [0, 2, 0], [0, 0, 2]]


def known_pitch(
    clip: FloatArray, draw: np.random.Generator, moving: bool
) -> tuple[FloatArray, float]:
    """The same speech on a contour that we draw, and the median of that contour in Hz.

    The clip's voiced frames, envelope and noise stay; only the pitch is replaced: by a level one,
    or one that moves by up to 3 semitones over the clip, and waves.
    """
    voice = analyse(clip)
    voiced = voice.f0_hz > 0
    place = np.linspace(0, 1, len(voice.f0_hz))
    height, tilt, wave = draw.uniform(90, 320), draw.uniform(-3, 3), draw.uniform(0, 2)
    shape = tilt * (place - 0.5) + wave * np.sin(9 * place) if moving else 0 * place
    contour = height * 2 ** (shape / 12)
    drawn = replace(voice, f0_hz=np.where(voiced, contour, 0.0))
    return render(drawn, Change()), float(np.median(contour[voiced]))


@pytest.mark.parametrize(("moving", "least"), [(False, 0.95), (True, 0.9)])
def test_median_pitch_of_speech_on_a_known_contour(moving: bool, least: float):
    """36 noisy clips of six voices: nearly all within 2 %, and no octave errors.

    On a moving contour the median also depends on which stretches the tracker finds voiced.
    """
    synthesizer, draw = Synthesizer(), np.random.default_rng(4)
    ratios = []
    for index in range(36):
        samples, rate_hz = synthesizer.say(
            SENTENCES[index % len(SENTENCES)] + ".",
            f"en-us+{('m1', 'm3', 'm7', 'f1', 'f2', 'f5')[index % 6]}",
            rate_wpm=draw.uniform(130, 210),
            pitch=50,
            pitch_range=draw.uniform(10, 90),
            volume=60,
        )
        clip, truth = known_pitch(soxr.resample(samples, rate_hz, RATE), draw, moving)
        noise = draw.normal(0, 10 ** (-25 / 20) * float(np.std(clip)), len(clip))
        found = measure((clip + noise).astype(np.float32), None).f0_median_hz
        ratios.append(np.nan if found is None else found / truth)
    off = np.abs(np.array(ratios) - 1)
    assert np.mean(off <= 0.02) >= least, np.sort(off)[-8:]
    assert off.max() < 0.1 and np.isfinite(ratios).all()


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("duration_s", [0.5, 2.0, 6.0])
def test_noise_without_speech_has_no_rate(colour: float, duration_s: float):
    """White, pink and brown: power falls with frequency to the power of `colour`."""
    num = int(duration_s * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(int(colour)).normal(size=num))
    frequency = np.maximum(np.fft.rfftfreq(num, 1 / RATE), 30.0)
    noise = np.fft.irfft(spectrum * frequency ** (-colour / 2), num)
    found = measure((0.05 * noise / noise.std()).astype(np.float32), "nobody speaks here")
    assert found.letters_per_s is None
    assert found.nuclei_per_s is None
    assert found.spoken_nuclei_per_s is None
    assert describe(Clip(found, None, None), calibrate([Clip(found, None, None)]))["rate"] is None


def test_a_whisper_has_syllables_but_no_pitch():
    time_s = np.arange(2 * RATE) / RATE
    level = 10 ** (-20 * (1 + np.cos(2 * np.pi * 4 * time_s)) / 2 / 20)
    hiss = np.random.default_rng(3).normal(0, 0.05, len(time_s)) * level
    found = measure(hiss.astype(np.float32), "hush now")
    assert found.f0_median_hz is None
    assert found.nuclei_per_s == pytest.approx(4, abs=1)
    assert found.letters_per_s is not None
