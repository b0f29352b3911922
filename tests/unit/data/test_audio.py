from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

import data.audio
from data.audio import AudioError, AudioInfo, probe, read_audio
from data.headers import read_headers
from data.records import FloatArray
from tests.fixtures import make_example, tone, write_tone


def read(path: Path) -> FloatArray:
    return read_audio(path, min_duration_s=0.1, max_duration_s=30.0)


def refused(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def peak_frequency_hz(samples: FloatArray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * 16_000 / len(samples))


@pytest.mark.parametrize("sample_rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_a_tone_keeps_its_frequency_level_and_length(tmp_path: Path, sample_rate: int) -> None:
    path = write_tone(tmp_path / "a.wav", frequency_hz=1_000, sample_rate=sample_rate)
    samples = read(path)
    assert (samples.dtype, samples.ndim) == (np.float32, 1)
    assert abs(len(samples) - 8_000) <= 1
    assert peak_frequency_hz(samples) == pytest.approx(1_000, abs=2.1)
    middle = samples[2_000:6_000]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=2e-3)


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("a.wav", "PCM_16"),
        ("a.wav", "PCM_24"),
        ("a.wav", "PCM_32"),
        ("a.wav", "FLOAT"),
        ("a.wav", "DOUBLE"),
        ("a.flac", "PCM_24"),
        ("a.aiff", "PCM_16"),
    ],
)
def test_sample_formats_give_the_same_samples(tmp_path: Path, name: str, subtype: str) -> None:
    path = write_tone(tmp_path / name, subtype=subtype)
    np.testing.assert_allclose(read(path), tone(440.0), atol=2**-15)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(300.0), tone(700.0)
    sf.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav"), (left + right) / 2, atol=1e-7)


def test_the_header_is_reported_as_it_is(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", sample_rate=44_100, duration_s=2.0, channels=2)
    info = probe(path)
    assert info == AudioInfo(num_samples=88_200, sample_rate=44_100, channels=2)
    assert info.duration_s == 2.0


def test_files_that_are_no_clip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    assert "No such file" in refused(path)
    path.write_bytes(b"")
    assert "is empty" in refused(path)
    path.write_text("<html>404 not found</html>" * 20)
    assert "not a readable audio file" in refused(path)
    sf.write(path, np.zeros(0, np.float32), 16_000)
    assert "no samples" in refused(path)
    path.unlink()
    path.mkdir()
    assert "not a regular file" in refused(path)
    path.rmdir()
    os.mkfifo(path)
    assert "not a regular file" in refused(path)


def test_headerless_and_rare_formats_are_refused(tmp_path: Path) -> None:
    raw = tmp_path / "a.raw"
    raw.write_bytes(bytes(1_000))
    assert "headerless" in refused(raw)
    rare = tmp_path / "a.voc"
    sf.write(rare, tone(440.0), 16_000)
    assert "format VOC is not read" in refused(rare)


def test_impossible_rates_and_channel_counts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    sf.write(path, tone(440.0), 100)
    assert "sample rate 100 Hz" in refused(path)
    sf.write(path, np.stack([tone(440.0)] * 17, axis=1), 16_000)
    assert "17 channels" in refused(path)


@settings(max_examples=60, database=None)
@given(share=st.floats(0.0, 0.999))
def test_a_cut_wav_file_is_never_read(
    tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    path = write_tone(tmp_path_factory.getbasetemp() / "whole.wav")
    content = path.read_bytes()
    cut = path.with_name("cut.wav")
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(AudioError):
        read(cut)


def test_a_header_that_lies_about_the_size_is_refused(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav")
    content = path.read_bytes()
    place = content.index(b"data") + 4
    for size in (len(content) * 4, 0xFFFFFFFF):
        path.write_bytes(content[:place] + struct.pack("<I", size) + content[place + 4 :])
        assert f"promises {size} bytes of samples and 16000 are there" in refused(path)
    unfinished = content[:4] + struct.pack("<I", 36) + content[8:place] + bytes(4)
    path.write_bytes(unfinished + content[place + 4 :])
    assert "never completed" in refused(path)


def test_chunks_around_the_samples_and_a_sloppy_outer_size_do_no_harm(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav")
    content = path.read_bytes()
    extra = b"LIST" + struct.pack("<I", 5) + b"abcde\0"
    body = (
        content[8:36] + extra + content[36:] + b"junk" + struct.pack("<I", 40_000) + bytes(40_000)
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 8) + body)
    np.testing.assert_allclose(read(path), tone(440.0), atol=2**-15)


def test_a_file_of_endless_empty_chunks_is_refused_quickly(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", 4_000_000) + b"WAVE" + bytes(4_000_000))
    assert "no data in its first" in refused(path)


def test_damaged_flac_data_is_found_when_read_but_not_by_the_header(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    path = tmp_path / "a.flac"
    sf.write(path, noise, 16_000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(content)
    assert probe(path).num_samples == 16_000
    assert "cannot be decoded" in refused(path)


def test_lengths_outside_the_limits_are_refused(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", duration_s=0.05)
    assert "lasts 0.050 s, shorter than data.min_duration_s = 0.1" in refused(path)
    path = write_tone(tmp_path / "b.wav", duration_s=31.0, sample_rate=8_000)
    assert "lasts 31.0 s, longer than data.max_duration_s = 30" in refused(path)
    assert len(read(write_tone(tmp_path / "c.wav", duration_s=30.0))) == 480_000


def test_a_small_file_that_unpacks_to_hours_is_refused_without_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.flac"
    with sf.SoundFile(path, "w", samplerate=16_000, channels=1, subtype="PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros(16_000 * 60, np.int16))
    assert path.stat().st_size < 300_000
    tracemalloc.start()
    assert "lasts 3600.0 s" in refused(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    samples = tone(440.0)
    samples[7] = value
    sf.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    assert "1 samples are NaN or infinite" in refused(tmp_path / "a.wav")


def test_a_float_file_in_integer_units_is_refused(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(440.0) * 32_768, 16_000, subtype="FLOAT")
    assert "full scale is 1" in refused(tmp_path / "a.wav")


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_silence_is_refused_with_or_without_an_offset(tmp_path: Path, level: float) -> None:
    sf.write(tmp_path / "a.wav", np.full(8_000, level, np.float32), 16_000)
    assert "is silent" in refused(tmp_path / "a.wav")


def test_a_whisper_far_below_full_scale_is_not_silence(tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", tone(440.0, peak=0.001), 16_000)
    assert len(read(tmp_path / "a.wav")) == 8_000


def test_every_clip_has_a_header_or_a_problem(tmp_path: Path) -> None:
    write_tone(tmp_path / "good.wav")
    write_tone(tmp_path / "short.wav", duration_s=0.02)
    sf.write(tmp_path / "silent.wav", np.zeros(8_000), 16_000)
    names = ("gone.wav", "good.wav", "short.wav", "silent.wav", "gone.wav", "")
    examples = [make_example(n, audio=name) for n, name in enumerate(names)]

    def bad(*, deep: bool) -> list[str]:
        found = read_headers(
            examples, tmp_path, min_duration_s=0.1, max_duration_s=30, num_workers=2, deep=deep
        )
        assert found["good.wav"] == AudioInfo(8_000, 16_000, 1)
        problems = {audio: problem for audio, problem in found.items() if isinstance(problem, str)}
        assert all(str(tmp_path / audio) in problem for audio, problem in problems.items())
        return list(problems)

    assert bad(deep=False) == ["gone.wav", "short.wav"]
    assert bad(deep=True) == ["gone.wav", "short.wav", "silent.wav"]


@settings(deadline=None)
@given(st.integers(0, 47), st.integers(0, 255), st.integers(1, 2), st.integers(0, 3))
def test_the_short_look_at_a_wav_header_sees_what_the_decoder_sees(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, channels: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    write_tone(path, duration_s=0.01, channels=channels)
    content = bytearray(path.read_bytes())
    content[place] = byte
    path.write_bytes(content[: len(content) - cut])
    short = data.audio._plain_wav(path)
    if short is not None:
        data.audio._check_file(path)
        header = sf.info(str(path))
        assert short == AudioInfo(header.frames, header.samplerate, header.channels)
        assert header.format in data.audio.FORMATS


def test_an_ordinary_wav_file_needs_no_decoder(tmp_path: Path) -> None:
    path = write_tone(tmp_path / "a.wav", sample_rate=44_100, duration_s=0.5, channels=2)
    assert data.audio._plain_wav(path) == probe(path) == AudioInfo(22_050, 44_100, 2)
    os.mkfifo(tmp_path / "pipe.wav")
    assert data.audio._plain_wav(tmp_path / "pipe.wav") is None
