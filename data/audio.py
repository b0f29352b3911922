"""Clips from disk: header checks without decoding, and mono 16 kHz samples; and WAV files of them.

A clip is refused, never repaired: a cut, silent or mislabelled recording would train the policy on
something that nobody can hear. Length is decided from the header, so that a small file that unpacks
to hours costs nothing.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import wave
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from configs.errors import UserError
from data.progress import reported
from data.records import Example, FloatArray

SAMPLE_RATE_HZ = 16_000
"""Rate of every array that leaves this module; the model's audio encoder knows no other."""

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "NIST")
"""Container formats that are read; the decoder's rarer formats are refused."""

RATES_HZ = (4_000, 384_000)
"""Lowest and highest sample rate of a file."""

MAX_CHANNELS = 16
"""Most channels of a file; with the rate, it bounds what a clip of allowed length can unpack to."""

MAX_PEAK = 8.0
"""Largest absolute sample, where full scale is 1; a float file in 16-bit units is far above it."""

SILENCE_PEAK = 1e-4
"""A clip whose samples stay this close to their mean is silent: -80 dB of full scale."""

_MAX_CHUNKS = 1_000

_HEAD_BYTES = 4096
"""In which the header of a usual WAV file ends."""

_LOT = 16
"""Clips that a thread checks at a time."""


class AudioError(UserError):
    """A clip that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a clip's header says."""

    num_samples: int
    """Samples per channel, at the file's own rate."""
    sample_rate: int
    """The file's own rate, in Hz."""
    channels: int
    """Channels of the file."""

    @property
    def duration_s(self) -> float:
        """Length of the clip, in seconds."""
        return self.num_samples / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """Return what the header of a clip says, after checking the file without decoding it.

    Raises:
        AudioError: missing, not a regular file, empty, not audio, a format that is not read, no
            samples, an unusual rate or channel count, or a WAV file whose header and size disagree.
    """
    if (plain := _plain_wav(path)) is not None:
        return plain
    path = Path(path)
    try:
        _check_file(path)
    except OSError as error:
        raise AudioError(
            f"{path}: {error.strerror}; fix the path in the manifest or data.audio_root"
        ) from error
    try:
        header = sf.info(str(path))
    except sf.SoundFileError as error:
        raise AudioError(
            f"{path}: is not a readable audio file ({error}); export it again as WAV or FLAC"
        ) from error
    info = AudioInfo(header.frames, header.samplerate, header.channels)
    if header.format not in FORMATS:
        raise AudioError(f"{path}: format {header.format} is not read; convert it to WAV or FLAC")
    if info.num_samples <= 0:
        raise AudioError(f"{path}: has a header but no samples; export it again or drop the row")
    if not RATES_HZ[0] <= info.sample_rate <= RATES_HZ[1]:
        raise AudioError(
            f"{path}: sample rate {info.sample_rate} Hz is outside {RATES_HZ[0]} to {RATES_HZ[1]}; "
            "the header is wrong, export it again"
        )
    if info.channels > MAX_CHANNELS:
        raise AudioError(
            f"{path}: {info.channels} channels, at most {MAX_CHANNELS} are read; mix it down first"
        )
    return info


def read_audio(path: str | Path, *, min_duration_s: float, max_duration_s: float) -> FloatArray:
    """Return the samples of a clip as one channel at 16 kHz.

    Channels are averaged; other rates are resampled with soxr in its HQ setting.

    Args:
        max_duration_s: a longer clip is refused without decoding.

    Returns:
        [S] float32, full scale 1; S is within one sample of the duration times 16,000.

    Raises:
        AudioError: whatever `probe` refuses, a length outside the limits, damaged or missing data,
            samples that are not finite or far over full scale, or silence.
    """
    path = Path(path)
    info = probe(path)
    _check_duration(path, info, min_duration_s, max_duration_s)
    try:
        with sf.SoundFile(str(path)) as file:
            decoded = file.read(info.num_samples, dtype="float32", always_2d=True)
    except sf.SoundFileError as error:
        raise AudioError(
            f"{path}: cannot be decoded ({error}); the file is damaged, restore or re-export it"
        ) from error
    samples = np.asarray(decoded, dtype=np.float32)
    if len(samples) < info.num_samples:
        raise AudioError(
            f"{path}: holds {len(samples)} of the {info.num_samples} samples that its header "
            "promises; the file is cut, restore or re-export it"
        )
    if not np.isfinite(samples).all():
        raise AudioError(
            f"{path}: {int((~np.isfinite(samples)).sum())} samples are NaN or infinite; "
            "re-export the clip"
        )
    peak = float(np.abs(samples).max())
    if peak > MAX_PEAK:
        raise AudioError(
            f"{path}: samples reach {peak:g}, where full scale is 1; the float file is in other "
            "units, divide it by its full scale"
        )
    mono = samples.mean(axis=1, dtype=np.float32)
    if float(np.abs(mono - mono.mean()).max()) < SILENCE_PEAK:
        raise AudioError(f"{path}: is silent; drop the row or record the clip again")
    if info.sample_rate != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, info.sample_rate, SAMPLE_RATE_HZ, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32)


def wav_bytes(samples: NDArray[np.floating[Any]]) -> bytes:
    """Return a WAV file of one channel with 16 bits at 16 kHz.

    Args:
        samples: [S], full scale 1; what is louder is cut.
    """
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def read_headers(
    examples: Sequence[Example],
    audio_root: str | Path,
    *,
    min_duration_s: float,
    max_duration_s: float,
    num_workers: int,
    deep: bool = False,
) -> dict[str, AudioInfo | str]:
    """Return clip -> what its header says, or why it cannot be used; a shared clip is read once.

    Args:
        examples: rows of the manifest; a row without a clip has nothing to check.
        deep: decode every sample as well, which also finds damaged FLAC data, samples that are not
            finite, and silence; takes milliseconds instead of microseconds per clip.
    """
    root = Path(audio_root)

    def check(audio: str) -> AudioInfo | str:
        path = os.path.join(root, audio)
        try:
            info = probe(path)
            _check_duration(path, info, min_duration_s, max_duration_s)
            if deep:
                read_audio(path, min_duration_s=min_duration_s, max_duration_s=max_duration_s)
        except AudioError as error:
            return str(error)
        return info

    clips = list(dict.fromkeys(example.audio for example in examples if example.audio))
    what = "decoded {} of {} clips" if deep else "read the headers of {} of {} clips"
    # A million clips as a future each would take a gigabyte.
    lots = [clips[i : i + _LOT] for i in range(0, len(clips), _LOT)]
    with ThreadPoolExecutor(num_workers) as pool:
        found = chain.from_iterable(pool.map(lambda lot: list(map(check, lot)), lots))
        return dict(zip(clips, reported(found, len(clips), what), strict=True))


def _plain_wav(path: str | Path) -> AudioInfo | None:
    """Return the header of a sound WAV file of 16-bit PCM in its usual form, else None.

    What most corpora are made of, at a fifth of the time that the decoder and its checks take.
    """
    try:
        # A pipe without a writer would be waited for.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    try:
        status = os.fstat(file)
        size, head = status.st_size, b""
        if stat.S_ISREG(status.st_mode):
            head = os.read(file, _HEAD_BYTES)
    except OSError:
        return None
    finally:
        os.close(file)
    if len(head) < 44 or head[:4] != b"RIFF" or head[8:20] != b"WAVEfmt \x10\0\0\0":
        return None
    tag, channels, rate, bytes_per_s, block, bits = struct.unpack_from("<HHIIHH", head, 20)
    start, num_bytes = 36, -1
    while start + 8 <= len(head) and num_bytes < 0:
        name, length = struct.unpack_from("<4sI", head, start)
        num_bytes = length if name == b"data" else -1
        start += 8 if name == b"data" else 8 + length + length % 2
    sound = (
        (tag, bits, block, bytes_per_s) == (1, 16, 2 * channels, rate * block)
        and 1 <= channels <= MAX_CHANNELS
        and RATES_HZ[0] <= rate <= RATES_HZ[1]
        # The end of the file is that of the samples and of what the outer header counts.
        and block <= num_bytes <= size - start
        and size - max(8 + struct.unpack_from("<I", head, 4)[0], start + num_bytes) <= num_bytes
        and not str(path).lower().endswith(".raw")
    )
    return AudioInfo(num_bytes // block, rate, channels) if sound else None


def _check_file(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: is not a regular file; name an audio file in the manifest")
    if status.st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); copy or export it again")
    if path.suffix.lower() == ".raw":
        raise AudioError(f"{path}: headerless audio is not read; convert it to WAV or FLAC")
    _check_wav_size(path, status.st_size)


def _check_wav_size(path: Path, file_size: int) -> None:
    """Compare a WAV file with its header: to the decoder, a cut file is just a shorter one."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        riff_end = 8 + struct.unpack("<I", head[4:8])[0]
        for _ in range(_MAX_CHUNKS):
            chunk = file.read(8)
            if len(chunk) < 8:
                return
            name, size = struct.unpack("<4sI", chunk)
            if name == b"data":
                break
            file.seek(size + size % 2, 1)
        else:
            raise AudioError(
                f"{path}: has no data in its first {_MAX_CHUNKS} chunks; export it again"
            )
        start = file.tell()
    rest = file_size - start
    if size > rest:
        raise AudioError(
            f"{path}: its header promises {size} bytes of samples and {rest} are there; the file "
            "is cut or was written to a pipe, restore or re-export it"
        )
    if file_size - max(riff_end, start + size) > size:
        raise AudioError(
            f"{path}: its header promises {size} bytes of samples and {rest} follow; the header "
            "was never completed, re-export the clip"
        )


def _check_duration(
    path: str | Path, info: AudioInfo, min_duration_s: float, max_duration_s: float
) -> None:
    if info.duration_s < min_duration_s:
        raise AudioError(
            f"{path}: lasts {info.duration_s:.3f} s, shorter than data.min_duration_s = "
            f"{min_duration_s:g}; drop the row or lower the limit"
        )
    if info.duration_s > max_duration_s:
        raise AudioError(
            f"{path}: lasts {info.duration_s:.1f} s, longer than data.max_duration_s = "
            f"{max_duration_s:g}; cut the clip or raise the limit"
        )
