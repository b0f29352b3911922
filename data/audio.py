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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from configs.errors import UserError
from data.channels import to_mono
from data.containers.extent import check_extent
from data.containers.faults import Fault
from data.containers.flac import check_flac_alone
from data.containers.mpeg import Mpeg
from data.links import POINTER_BYTES, stand_in, why_absent
from data.records import FloatArray

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

MAX_SAMPLES_PER_BYTE = 8_192
"""Most samples per channel that a byte of a file can stand for: a FLAC frame of 65,535 equal ones
takes 11."""

_HEAD_BYTES = 4096
"""In which the header of a usual WAV file ends."""


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
    return _plain_wav(path) or _examine(Path(path))[0]


def _examine(path: Path) -> tuple[AudioInfo, Mpeg | None]:
    """Return what a file's header says, checked, and its stream if it is one of MPEG audio."""
    try:
        stream = _check_file(path)
        if stream is not None:
            info = AudioInfo(stream.num_samples, stream.rate, stream.channels)
        else:
            header = sf.info(str(path))
            if header.subtype.startswith("MPEG"):
                raise AudioError(f"{path}: its first frame of sound is damaged; restore the file")
            if header.format not in FORMATS:
                raise AudioError(
                    f"{path}: format {header.format} is not read; convert it to WAV or FLAC"
                )
            info = AudioInfo(header.frames, header.samplerate, header.channels)
    except Fault as error:
        raise AudioError(f"{path}: {error}") from error
    except OSError as error:
        why = why_absent(os.path.abspath(path))
        otherwise = f"{error.strerror}; fix the path in the manifest or data.audio_root"
        raise AudioError(f"{path}: {why or otherwise}") from error
    # The last is what the binding makes of a header whose numbers are impossible.
    except (sf.SoundFileError, ValueError, TypeError) as error:
        raise AudioError(
            f"{path}: is not a readable audio file ({error}); export it again as WAV or FLAC"
        ) from error
    if info.num_samples <= 0:
        raise AudioError(f"{path}: has a header but no samples; export it again or drop the row")
    if info.num_samples > MAX_SAMPLES_PER_BYTE * path.stat().st_size:
        raise AudioError(
            f"{path}: its header promises {info.num_samples} samples, more than a file of its size "
            "can hold; the header is damaged, export it again"
        )
    if not RATES_HZ[0] <= info.sample_rate <= RATES_HZ[1]:
        raise AudioError(
            f"{path}: sample rate {info.sample_rate} Hz is outside {RATES_HZ[0]} to {RATES_HZ[1]}; "
            "the header is wrong, export it again"
        )
    if info.channels > MAX_CHANNELS:
        raise AudioError(
            f"{path}: {info.channels} channels, at most {MAX_CHANNELS} are read; mix it down first"
        )
    return info, stream


def read_audio(path: str | Path, *, min_duration_s: float, max_duration_s: float) -> FloatArray:
    """Return the samples of a clip as one channel at 16 kHz.

    Channels are averaged, silent ones left out (`data.channels`); other rates are resampled with
    soxr in its HQ setting.

    Args:
        max_duration_s: a longer clip is refused without decoding.

    Returns:
        [S] float32, full scale 1; S is within one sample of the duration times 16,000.

    Raises:
        AudioError: whatever `probe` refuses, a length outside the limits, damaged or missing data,
            samples that are not finite or far over full scale, or silence.
    """
    return read_with_note(path, min_duration_s=min_duration_s, max_duration_s=max_duration_s)[0]


def read_with_note(
    path: str | Path, *, min_duration_s: float, max_duration_s: float
) -> tuple[FloatArray, str]:
    """Return what `read_audio` does, and what is odd about the clip's channels; empty if nothing.

    Raises:
        AudioError: as `read_audio`.
    """
    path = Path(path)
    plain, stream = _plain_wav(path), None
    info = plain
    if info is None:
        info, stream = _examine(path)
    check_duration(path, info, min_duration_s, max_duration_s)
    samples = _decoded(path, info, stream)
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
    mono, note = to_mono(samples)
    if float(np.abs(mono - mono.mean()).max()) < SILENCE_PEAK:
        why = f": {note}" if note else "; drop the row or record the clip again"
        raise AudioError(f"{path}: is silent{why}")
    if info.sample_rate != SAMPLE_RATE_HZ:
        mono = soxr.resample(mono, info.sample_rate, SAMPLE_RATE_HZ, quality="HQ")
    return np.ascontiguousarray(mono, dtype=np.float32), note


def _decoded(path: Path, info: AudioInfo, stream: Mpeg | None) -> FloatArray:
    """Return all samples of a clip, [S, C] float32."""
    try:
        source: Any = str(path)
        with path.open("rb") as raw:
            if stream is not None:
                source = stream.as_file(raw)
            elif raw.read(4) in (b"fLaC", b"ID3\3", b"ID3\4"):
                check_flac_alone(raw, path.stat().st_size)
        with sf.SoundFile(source) as file:
            decoded = file.read(info.num_samples, dtype="float32", always_2d=True)
    except Fault as error:
        raise AudioError(f"{path}: {error}") from error
    except (sf.SoundFileError, OSError, ValueError, TypeError) as error:
        raise AudioError(
            f"{path}: cannot be decoded ({error}); the file is damaged, restore or re-export it"
        ) from error
    if len(decoded) < info.num_samples:
        raise AudioError(
            f"{path}: holds {len(decoded)} of the {info.num_samples} samples that its header "
            "promises; the file is cut, restore or re-export it"
        )
    return np.asarray(decoded, dtype=np.float32)


def read_part(path: str | Path, start_s: float, end_s: float) -> bytes:
    """Return a part of a clip as a WAV file of its own rate, channels and sample values.

    Args:
        start_s: where it begins, in seconds.
        end_s: where it ends, in seconds.

    Raises:
        AudioError: whatever `probe` refuses, damaged data, or a part that is not in the clip.
    """
    path = Path(path)
    info, stream = _examine(path)
    first, last = round(start_s * info.sample_rate), round(end_s * info.sample_rate)
    if not 0 <= first < last <= info.num_samples:
        raise AudioError(f"{path}: has no part from {start_s:g} to {end_s:g} s; mend the times")
    buffer = io.BytesIO()
    try:
        source: Any = str(path)
        if stream is not None:
            with path.open("rb") as raw:
                source = stream.as_file(raw)
        with sf.SoundFile(source) as file:
            # Whole numbers stay what they are; all else fits into single precision.
            is_whole = file.subtype in ("PCM_16", "PCM_24", "PCM_32")
            if stream is None:
                file.seek(first)
            else:
                file.read(first, always_2d=True)
            samples = file.read(last - first, "int32" if is_whole else "float32", always_2d=True)
            subtype = file.subtype if is_whole else "FLOAT"
    except (sf.SoundFileError, OSError, ValueError, TypeError) as error:
        raise AudioError(
            f"{path}: cannot be decoded ({error}); the file is damaged, restore or re-export it"
        ) from error
    if len(samples) < last - first:
        raise AudioError(f"{path}: is cut before {end_s:g} s; restore or re-export it")
    sf.write(buffer, samples, info.sample_rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


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
        if len(head) < 44 or head[:4] != b"RIFF" or head[8:20] != b"WAVEfmt \x10\0\0\0":
            return None
        tag, channels, rate, bytes_per_s, block, bits = struct.unpack_from("<HHIIHH", head, 20)
        start, num_bytes = 36, -1
        while start + 8 <= len(head) and num_bytes < 0:
            name, length = struct.unpack_from("<4sI", head, start)
            num_bytes = length if name == b"data" else -1
            start += 8 if name == b"data" else 8 + length + length % 2
        end = start + num_bytes
        sound = (
            (tag, bits, block, bytes_per_s) == (1, 16, 2 * channels, rate * block)
            and 1 <= channels <= MAX_CHANNELS
            and RATES_HZ[0] <= rate <= RATES_HZ[1]
            and block <= num_bytes <= size - start
            # Behind the samples is nothing, or one chunk of text up to the end of the file.
            and (end == size or _ends_with_list(os.pread(file, 8, end), size - end))
            and not str(path).lower().endswith(".raw")
        )
    except OSError:
        return None
    finally:
        os.close(file)
    return AudioInfo(num_bytes // block, rate, channels) if sound else None


def _ends_with_list(head: bytes, rest: int) -> bool:
    return head[:4] == b"LIST" and len(head) == 8 and struct.unpack("<I", head[4:])[0] == rest - 8


def _check_file(path: Path) -> Mpeg | None:
    """Compare a file with its own header, and return its stream if it is one of MPEG audio."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(f"{path}: is not a regular file; name an audio file in the manifest")
    if status.st_size == 0:
        raise AudioError(f"{path}: is empty (0 bytes); copy or export it again")
    if path.suffix.lower() == ".raw":
        raise AudioError(f"{path}: headerless audio is not read; convert it to WAV or FLAC")
    with path.open("rb") as file:
        if status.st_size < POINTER_BYTES and (what := stand_in(file.read(POINTER_BYTES))):
            raise AudioError(f"{path}: {what}")
        file.seek(0)
        return check_extent(file, status.st_size)


def check_duration(
    path: str | Path, info: AudioInfo, min_duration_s: float, max_duration_s: float
) -> None:
    """Refuse a clip that is too short or too long.

    Raises:
        AudioError: Its header says so.
    """
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
