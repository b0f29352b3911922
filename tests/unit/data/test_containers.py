"""Files whose header and content disagree: read to their true length, or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from data.audio import AudioError, probe, read_audio
from data.records import FloatArray

RATE = 16_000
MP3_FRAME = 576
DELAY = 529
ID3V1 = b"TAG".ljust(128, b"\0")
ID3V2 = b"ID3\4\0\0\0\0\0\x20" + bytes(32)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32, 0, 0) + bytes(8)


def clip(duration_s: float = 1.0, channels: int = 1) -> FloatArray:
    time_s = np.arange(int(RATE * duration_s)) / RATE
    wave = 0.3 * np.sin(2 * np.pi * 200 * time_s) * (1 + np.sin(2 * np.pi * 3 * time_s)) / 2
    noise = np.random.default_rng(0).normal(0, 0.01, len(wave))
    return np.stack([wave + noise] * channels, axis=1).astype(np.float32)


def encoded(folder: Path, name: str, samples: FloatArray | None = None, **how: object) -> bytes:
    path = folder / f"whole-{name}"
    sf.write(path, clip() if samples is None else samples, RATE, **how)
    return path.read_bytes()


def num_read(path: Path) -> int:
    return len(read_audio(path, min_duration_s=1e-4, max_duration_s=60))


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        num_read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def stream(folder: Path, mode: str = "VARIABLE") -> bytes:
    """An MP3 without its info frame, as an encoder leaves it that cannot go back to the start."""
    content = encoded(folder, "a.mp3", bitrate_mode=mode, compression_level=0.5)
    assert content.startswith(b"\xff\xf3") and (b"Xing" in content[:40] or b"Info" in content[:40])
    return content[content.index(b"\xff\xf3", 40) :]


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
def test_an_mp3_without_an_info_header_is_read_whole(tmp_path: Path, mode: str) -> None:
    content = stream(tmp_path, mode)
    path = tmp_path / "a.mp3"
    for before, behind in ((b"", b""), (ID3V2, ID3V1), (b"", APE), (ID3V2, APE + ID3V1)):
        path.write_bytes(before + content + behind)
        assert RATE - DELAY <= num_read(path) == probe(path).num_samples <= RATE + 3 * MP3_FRAME
    half = tmp_path / "half.wav"
    sf.write(half, clip()[: RATE // 2], RATE)
    assert num_read(half) == RATE // 2  # the same ruler


def test_an_mp3_stream_sounds_as_the_one_with_its_header(tmp_path: Path) -> None:
    content = stream(tmp_path)
    (tmp_path / "a.mp3").write_bytes(content)
    with_header = read_audio(tmp_path / "whole-a.mp3", min_duration_s=0.1, max_duration_s=9)
    without = read_audio(tmp_path / "a.mp3", min_duration_s=0.1, max_duration_s=9)
    assert len(with_header) == RATE
    lag = np.correlate(without[: RATE // 2], with_header[: RATE // 4], "valid").argmax()
    assert 0 < lag < 2 * MP3_FRAME  # the encoder's delay, which nothing states
    np.testing.assert_allclose(without[lag + 2000 : lag + 9000], with_header[2000:9000], atol=1e-3)


def test_a_cut_mp3_is_refused_with_what_to_run(tmp_path: Path) -> None:
    content = stream(tmp_path)
    last = content.rindex(b"\xff\xf3")
    message = refused(tmp_path / "a.mp3", content[: last + 20])
    assert "ends within a frame" in message
    assert "ffmpeg -i OLD NEW.wav" in message
    whole = (tmp_path / "whole-a.mp3").read_bytes()
    assert "frames and" in refused(tmp_path / "a.mp3", whole[: whole.index(b"\xff\xf3", 2_000)])


@pytest.mark.parametrize("share", [0.5, 2.0])
def test_an_info_header_with_a_wrong_count_is_refused(tmp_path: Path, share: float) -> None:
    content = bytearray(encoded(tmp_path, "a.mp3"))
    place = (content.find(b"Xing") if b"Xing" in content else content.find(b"Info")) + 8
    count = int.from_bytes(content[place : place + 4], "big")
    content[place : place + 4] = int(count * share).to_bytes(4, "big")
    assert f"counts {int(count * share)} frames" in refused(tmp_path / "a.mp3", bytes(content))


def test_joined_damaged_and_free_format_mp3_are_refused(tmp_path: Path) -> None:
    whole = encoded(tmp_path, "a.mp3")
    assert "header counts" in refused(tmp_path / "a.mp3", whole + whole)
    content = stream(tmp_path)
    middle = content.index(b"\xff\xf3", 2_000)
    assert "no MPEG frame" in refused(tmp_path / "a.mp3", content[:middle] + content[middle + 9 :])
    assert "no MPEG frame" in refused(tmp_path / "a.mp3", content + ID3V2 + content)
    free = bytearray(content)
    free[2] &= 0x0F
    free[24:28] = free[:4]
    assert "bitrate is free" in refused(tmp_path / "a.mp3", bytes(free))


KINDS = [
    ("a.wav", {"subtype": "PCM_16"}),
    ("a.wav", {"subtype": "FLOAT"}),
    ("a.wav", {"subtype": "PCM_16", "endian": "BIG"}),
    ("a.wav", {"subtype": "IMA_ADPCM"}),
    ("a.wav", {"format": "RF64", "subtype": "PCM_16"}),
    ("a.w64", {"subtype": "PCM_16"}),
    ("a.aiff", {"subtype": "PCM_16"}),
    ("a.aiff", {"subtype": "FLOAT"}),
    ("a.aiff", {"subtype": "IMA_ADPCM"}),
    ("a.au", {"subtype": "PCM_16"}),
    ("a.au", {"subtype": "ULAW", "endian": "LITTLE"}),
    ("a.nist", {"format": "NIST", "subtype": "PCM_16"}),
    ("a.flac", {"subtype": "PCM_16"}),
    ("a.flac", {"subtype": "PCM_24"}),
    ("a.ogg", {"subtype": "VORBIS"}),
    ("a.ogg", {"format": "OGG", "subtype": "OPUS"}),
    ("a.mp3", {}),
]


@pytest.mark.parametrize(("name", "how"), KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_container_is_read_whole_and_refused_when_cut_or_joined(
    tmp_path: Path, name: str, how: dict[str, object], channels: int
) -> None:
    content = encoded(tmp_path, name, clip(channels=channels), **how)
    path = tmp_path / name
    path.write_bytes(content)
    assert abs(num_read(path) - RATE) <= 1024
    for share in (0.3, 0.6, 0.95):
        refused(path, content[: int(share * len(content))])
    refused(path, content + content)
    path.write_bytes(content + np.random.default_rng(1).bytes(3_000))
    try:
        assert abs(num_read(path) - RATE) <= 1024  # FLAC's frames are numbered
    except AudioError as error:
        assert str(error).startswith(f"{path}: ")


@pytest.mark.parametrize("share", [0.8, 1.2, 1e5])
@pytest.mark.parametrize(
    ("name", "how", "mark", "offset", "width", "order"),
    [
        ("a.wav", {"subtype": "PCM_16"}, b"data", 4, 4, "little"),
        ("a.wav", {"format": "RF64", "subtype": "PCM_16"}, b"ds64", 16, 8, "little"),
        ("a.w64", {"subtype": "PCM_16"}, b"data", 16, 8, "little"),
        ("a.aiff", {"subtype": "PCM_16"}, b"SSND", 4, 4, "big"),
        ("a.aiff", {"subtype": "PCM_16"}, b"COMM", 10, 4, "big"),
        ("a.au", {"subtype": "PCM_16"}, b".snd", 8, 4, "big"),
        ("a.flac", {"subtype": "PCM_16"}, b"fLaC", 22, 4, "big"),
    ],
)
def test_a_header_that_states_another_size_is_refused(
    tmp_path: Path,
    name: str,
    how: dict[str, object],
    mark: bytes,
    offset: int,
    width: int,
    order: str,
    share: float,
) -> None:
    content = bytearray(encoded(tmp_path, name, **how))
    place = content.index(mark) + offset
    little = order == "little"
    value = int.from_bytes(content[place : place + width], "little" if little else "big")
    value = min(int(value * share), 2 ** (8 * width) - 2)
    content[place : place + width] = value.to_bytes(width, "little" if little else "big")
    refused(tmp_path / name, bytes(content))


def with_checksum(page: bytes) -> bytes:
    """An Ogg page with its own checksum, bit by bit as RFC 3533 has it."""
    page = page[:22] + bytes(4) + page[26:]
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return page[:22] + struct.pack("<I", crc) + page[26:]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("share", [0.5, 1.5, 1e9])
def test_an_ogg_whose_last_page_states_another_end_is_refused(
    tmp_path: Path, subtype: str, share: float
) -> None:
    content = encoded(tmp_path, "a.ogg", clip(0.6), format="OGG", subtype=subtype)
    last = content.rindex(b"OggS")
    page = bytearray(content[last:])
    assert with_checksum(bytes(page)) == bytes(page)
    assert zlib.crc32(b"") == 0
    end = int(int.from_bytes(page[6:14], "little") * share)
    page[6:14] = end.to_bytes(8, "little")
    message = refused(tmp_path / "a.ogg", content[:last] + with_checksum(bytes(page)))
    assert "page" in message
    page[6:14] = content[last + 6 : last + 14]
    page[-5] ^= 1
    assert "wrong checksum" in refused(tmp_path / "a.ogg", content[:last] + bytes(page))


def test_headers_without_a_length_say_so(tmp_path: Path) -> None:
    flac = bytearray(encoded(tmp_path, "a.flac"))
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    assert "has no length" in refused(tmp_path / "a.flac", bytes(flac))
    au = bytearray(encoded(tmp_path, "a.au"))
    au[8:12] = b"\xff" * 4
    assert "has no length" in refused(tmp_path / "a.au", bytes(au))
    nist = encoded(tmp_path, "a.nist", format="NIST", subtype="PCM_16")
    nist = nist.replace(b"sample_count", b"simple_count")
    assert "has no length" in refused(tmp_path / "a.nist", nist)


def test_what_follows_the_stated_end_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    content = encoded(tmp_path, "a.wav")
    for behind in (bytes(700), ID3V1, b"LIST" + struct.pack("<I", 4) + b"INFO"):
        path.write_bytes(content + behind)
        assert num_read(path) == RATE
