#!/usr/bin/env python
"""Damaged, cut, re-muxed and odd clips: each read to its true length, or refused by its name.

python benchmarks/audio_fuzz.py [--quick] [--files 2000] [--start 0] [--seed 0] [--keep FOLDER]

Needs `ffmpeg`. The same seed makes the same files. Each is read in a process of its own kind, which
may take 20 s and 600 MB more than before. A file is *wrong* if it is read more than two frames of
its codec shorter or longer than what was recorded, if it is sound and of a supported kind and is
refused, or if it ends in anything but an AudioError that begins with its path.
"""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Instead of this folder, whose modules are named like our packages.
sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from benchmarks.options import Option, parse_options
from benchmarks.timing import print_machine, print_table
from data.audio import AudioError, probe, read_audio

OPTIONS = {
    "files": Option(2000, "files to make and read", quick=120),
    "start": Option(0, "number of the first file: a run in parts makes the same files"),
    "seed": Option(0, "draws the sounds and the damage"),
    "keep": Option("", "folder that wrong files are copied into; empty = none is kept"),
}
TIMEOUT_S, MEMORY_MB = 20, 600


@dataclass(frozen=True, slots=True)
class Kind:
    """A container with a codec."""

    suffix: str
    arguments: str
    """Of ffmpeg, between input and output; {} is where a pipe stands for the output."""
    frame: int = 1
    """Samples of a frame of the codec; what it adds as delay and padding counts as one more."""
    supported: bool = True
    """Whether a sound file is read."""
    piped: bool = False
    """Written to a pipe: its header cannot state a length."""
    rate: int = 0
    """Sample rate in Hz; 0 = drawn."""
    channels: int = 0
    """Channels; 0 = drawn."""


_WAVS = ("u8", "s16le", "s24le", "s32le", "f32le", "f64le", "alaw", "mulaw")
KINDS: dict[str, Kind] = {
    **{f"wav {codec}": Kind("wav", f"-c:a pcm_{codec}") for codec in _WAVS},
    "wav extensible": Kind("wav", "-c:a pcm_s24le", channels=4),
    "wav ima adpcm": Kind("wav", "-c:a adpcm_ima_wav", 2048),
    "wav ms adpcm": Kind("wav", "-c:a adpcm_ms", 2048),
    "wav mp3": Kind("wav", "-c:a libmp3lame -b:a 64k", 1152),
    "wav mp2": Kind("wav", "-c:a mp2 -b:a 64k", 1152, rate=16_000),
    "wav to a pipe": Kind("wav", "-f wav", supported=False, piped=True),
    "rf64 s16": Kind("wav", "-rf64 always"),
    "w64 s16": Kind("w64", "-f w64"),
    "w64 f32": Kind("w64", "-c:a pcm_f32le -f w64"),
    "aiff s16be": Kind("aiff", "-f aiff"),
    "aiff s24be": Kind("aif", "-c:a pcm_s24be -f aiff"),
    "aifc sowt": Kind("aifc", "-c:a pcm_s16le -f aiff"),
    "aifc f32": Kind("aiff", "-c:a pcm_f32be -f aiff"),
    "aifc mulaw": Kind("aiff", "-c:a pcm_mulaw -f aiff"),
    "aifc ima4": Kind("aiff", "-c:a adpcm_ima_qt -f aiff", 64),
    "au s16be": Kind("au", "-f au"),
    "au mulaw": Kind("au", "-c:a pcm_mulaw -f au"),
    "au to a pipe": Kind("au", "-f au", supported=False, piped=True),
    "caf": Kind("caf", "-f caf", supported=False),
    "flac": Kind("flac", "-f flac", 4608),
    "flac to a pipe": Kind("flac", "-f flac", 4608, supported=False, piped=True),
    "flac in ogg": Kind("oga", "-c:a flac -f ogg", 4608, supported=False),
    "ogg vorbis": Kind("ogg", "-c:a libvorbis", 2048),
    "ogg opus": Kind("opus", "-c:a libopus", 960, rate=48_000),
    "ogg opus 16k": Kind("ogg", "-c:a libopus", 960, rate=16_000),
    "mp3 xing vbr": Kind("mp3", "-q:a 5", 1152),
    "mp3 info cbr": Kind("mp3", "-b:a 64k", 1152),
    "mp3 vbr to a pipe": Kind("mp3", "-q:a 5 -f mp3", 1152, piped=True),
    "mp3 cbr to a pipe": Kind("mp3", "-b:a 48k -f mp3", 1152, piped=True),
    "mp3 no xing": Kind("mp3", "-q:a 3 -write_xing 0 -id3v2_version 0", 1152),
    "mp3 abr id3v1": Kind("mp3", "-abr 1 -b:a 56k -write_id3v1 1 -metadata title=a", 1152),
    "mp2": Kind("mp2", "-c:a mp2 -b:a 64k", 1152, rate=16_000),
    "mp2 44.1k": Kind("mp2", "-c:a mp2 -b:a 192k", 1152, rate=44_100),
    "aac adts": Kind("aac", "-c:a aac", 1024, supported=False),
    "aac m4a": Kind("m4a", "-c:a aac", 1024, supported=False),
    "alac m4a": Kind("m4a", "-c:a alac", 4096, supported=False),
    "opus webm": Kind("webm", "-c:a libopus", 960, supported=False, rate=48_000),
    "vorbis mkv": Kind("mka", "-c:a libvorbis -f matroska", 2048, supported=False),
    "wma": Kind("wma", "-c:a wmav2", 2048, supported=False, rate=44_100),
    "ac3": Kind("ac3", "-c:a ac3", 1536, supported=False, rate=48_000),
    "wavpack": Kind("wv", "-c:a wavpack", 4096, supported=False),
    "tta": Kind("tta", "-c:a tta", 4096, supported=False),
    "avi pcm": Kind("avi", "-c:a pcm_s16le", supported=False),
    "voc": Kind("voc", "-f voc", supported=False, rate=16_000),
    # Through soundfile: FORMAT/SUBTYPE/ENDIAN.
    "nist s16": Kind("sph", "=NIST/PCM_16/FILE"),
    "nist ulaw": Kind("nist", "=NIST/ULAW/FILE"),
    "rifx s16": Kind("wav", "=WAV/PCM_16/BIG"),
    "wav gsm": Kind("wav", "=WAV/GSM610/FILE", 320, rate=8_000, channels=1),
    "wav g721": Kind("wav", "=WAV/G721_32/FILE", 120, rate=8_000, channels=1),
    "w64 ima adpcm": Kind("w64", "=W64/IMA_ADPCM/FILE", 2048),
    "aiff gsm": Kind("aiff", "=AIFF/GSM610/FILE", 320, rate=8_000, channels=1),
    "au f32 little": Kind("au", "=AU/FLOAT/LITTLE"),
    "flac s24": Kind("flac", "=FLAC/PCM_24/FILE", 4608),
    "mp3 by lame": Kind("mp3", "=MP3/MPEG_LAYER_III/FILE", 1152),
}
"""Name -> container and codec."""


@dataclass(frozen=True, slots=True)
class Case:
    """A file and what is true of it."""

    kind: str
    damage: str
    path: Path
    num_samples: int
    """Per channel, as recorded."""
    is_sound: bool
    """Nothing that is heard was touched."""


def sound(draw: random.Random, kind: Kind) -> tuple[np.ndarray, int]:
    """Return [S, C] of something like speech, and its rate."""
    rate = kind.rate or draw.choice((8_000, 16_000, 22_050, 44_100, 48_000))
    channels = kind.channels or draw.choice((1, 1, 2))
    noise = np.random.default_rng(draw.getrandbits(32))
    time_s = np.arange(int(rate * draw.uniform(0.4, 3.0))) / rate
    level = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time_s + noise.uniform(0, 6))
    wave = sum(np.sin(2 * np.pi * 130 * n * time_s) / n for n in range(1, 9))
    mixed = 0.2 * level * wave + 0.02 * noise.normal(size=len(time_s))
    return np.stack([mixed * (1 - 0.2 * n) for n in range(channels)], axis=1), rate


def encode(kind: Kind, samples: np.ndarray, rate: int, folder: Path) -> bytes:
    """Return a sound file of a kind."""
    import soundfile as sf

    source, made = folder / "source.wav", folder / f"made.{kind.suffix}"
    if kind.arguments.startswith("="):
        container, subtype, endian = kind.arguments[1:].split("/")
        sf.write(made, samples, rate, format=container, subtype=subtype, endian=endian)
        return made.read_bytes()
    sf.write(source, samples, rate, subtype="FLOAT")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(source), "-fflags", "+bitexact"]
    command += ["-flags:a", "+bitexact", *kind.arguments.split()]
    command += ["-"] if kind.piped else [str(made)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return done.stdout if kind.piped else made.read_bytes()


Damage = Callable[[bytes, random.Random], bytes]


def _cut(content: bytes, draw: random.Random) -> bytes:
    place = int(len(content) * draw.uniform(0.1, 0.97))
    # Of a stream without any header, a cut between two frames leaves a shorter, whole stream.
    while content[place : place + 1] == b"\xff":
        place += 1
    return content[:place]


def _cut_end(content: bytes, draw: random.Random) -> bytes:
    return content[: -draw.randint(9, 300)]


def _hole(content: bytes, draw: random.Random) -> bytes:
    place = int(len(content) * draw.uniform(0.3, 0.8))
    return content[:place] + content[place + draw.randint(5, max(6, len(content) // 6)) :]


def _twice_within(content: bytes, draw: random.Random) -> bytes:
    place = int(len(content) * draw.uniform(0.3, 0.6))
    return content[: place + draw.randint(400, 2000)] + content[place:]


def _zeroed(content: bytes, draw: random.Random) -> bytes:
    place, size = int(len(content) * draw.uniform(0.3, 0.8)), draw.randint(1, 2000)
    size = max(0, min(size, len(content) - place - 300))
    return content[:place] + bytes(size) + content[place + size :]


def _flipped(content: bytes, draw: random.Random) -> bytes:
    flipped = bytearray(content)
    for _ in range(draw.randint(1, 20)):
        flipped[draw.randrange(len(content) // 8 + 200, len(content) - 1)] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def _size_field(content: bytes, draw: random.Random) -> bytes:
    """Change a number in the header that says how many bytes or samples there are."""
    patched = bytearray(content)
    share = draw.choice((0.8, 0.8, 0.5, 1.2, 2.0, 1e6))
    for name, offset, width, order in _FIELDS:
        place = content[: 1 << 16].find(name)
        if place >= 0 and len(content) > place + offset + width:
            place += offset
            value = int.from_bytes(content[place : place + width], order)
            keep = value & ~0xFFFFFFFFF if name == b"fLaC" else 0  # 36 of its 40 bits
            value = min(int((value - keep) * share), 2 ** (36 if keep else 8 * width) - 2)
            patched[place : place + width] = (keep + value).to_bytes(width, order)
            return bytes(patched)
    if content[:4] == b"OggS":
        place = content.rfind(b"OggS") + 6
        value = int(int.from_bytes(content[place : place + 8], "little") * share)
        patched[place : place + 8] = value.to_bytes(8, "little")
        patched[place + 16 : place + 20] = bytes(4)
        crc = 0
        for byte in patched[place - 6 :]:
            crc ^= byte << 24
            for _ in range(8):
                crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
        patched[place + 16 : place + 20] = crc.to_bytes(4, "little")
        return bytes(patched)
    if content[:7] == b"NIST_1A":
        place = content.index(b"sample_count -i ") + 16
        end = content.index(b"\n", place)
        value = str(int(int(content[place:end]) * min(share, 2))).encode()
        patched[place:end] = value.ljust(end - place)[: end - place] if share < 1 else value
        return bytes(patched)
    return content


_FIELDS: tuple[tuple[bytes, int, int, Literal["little", "big"]], ...] = (
    (b"data\xf3\xac\xd3\x11", 16, 8, "little"),
    (b"ds64", 16, 8, "little"),
    (b"SSND", 4, 4, "big"),
    (b".snd", 8, 4, "big"),
    (b"fLaC", 4 + 4 + 13, 5, "big"),
    (b"Xing", 8, 4, "big"),
    (b"Info", 8, 4, "big"),
    (b"data", 4, 4, "little"),
)


_COUNTS: tuple[tuple[bytes, int, Literal["little", "big"]], ...] = (
    (b"COMM", 10, "big"),
    (b"fact", 8, "little"),
)


def _sample_count(content: bytes, draw: random.Random) -> bytes:
    """Change the other count, where a container has two."""
    patched = bytearray(content)
    for name, offset, order in _COUNTS:
        place = content[:4096].find(name)
        if place >= 0:
            value = int.from_bytes(content[place + offset : place + offset + 4], order)
            value = min(int(value * draw.choice((0.6, 1.4))), 2**32 - 1)
            patched[place + offset : place + offset + 4] = value.to_bytes(4, order)
    return bytes(patched)


_ID3V1 = b"TAG" + b"title".ljust(125, b"\0")
_APE_ITEM = (3).to_bytes(4, "little") + bytes(4) + b"Title\0abc"
_APE_END = (2000).to_bytes(4, "little") + (32 + len(_APE_ITEM)).to_bytes(4, "little") + b"\1\0\0\0"
_APE = b"APETAGEX" + _APE_END + b"\0\0\0\xa0" + bytes(8) + _APE_ITEM
_APE += b"APETAGEX" + _APE_END + b"\0\0\0\x80" + bytes(8)
_ID3V2 = b"ID3\4\0\0\0\0\x01\x00" + b"TIT2\0\0\0\6\0\0\3title".ljust(128, b"\0")

HARMLESS: Mapping[str, Damage] = {
    "as it is": lambda content, draw: content,
    "ID3v1 behind": lambda content, draw: content + _ID3V1,
    "APE behind": lambda content, draw: content + _APE,
    "ID3v2 before": lambda content, draw: _ID3V2 + content,
    "zeros behind": lambda content, draw: content + bytes(draw.randint(1, 5000)),
}
"""What leaves all that is heard in place."""

DAMAGES: Mapping[str, Damage] = {
    "cut": _cut,
    "cut at the end": _cut_end,
    "a hole": _hole,
    "a part twice": _twice_within,
    "zeros within": _zeroed,
    "bits flipped": _flipped,
    "size field": _size_field,
    "sample count": _sample_count,
    "junk behind": lambda content, draw: content + draw.randbytes(draw.randint(9, 9000)),
    "junk before": lambda content, draw: draw.randbytes(draw.randint(1, 900)) + content,
    "joined": lambda content, draw: content + content,
}
"""What does not."""


def make_cases(numbers: range, seed: int, folder: Path) -> list[Case]:
    """Write the files: each kind is as frequent as the next."""
    cases: list[Case] = []
    for number in numbers:
        draw = random.Random(f"{seed}/{number}")
        name = list(KINDS)[number % len(KINDS)]
        kind = KINDS[name]
        samples, rate = sound(draw, kind)
        content = encode(kind, samples, rate, folder)
        damage = draw.choice([*DAMAGES, *DAMAGES, *HARMLESS])
        damaged = {**DAMAGES, **HARMLESS}[damage](content, draw)
        if damaged == content:
            damage = "as it is"
        suffix = draw.choice(("wav", "mp3", "flac")) if draw.random() < 0.1 else kind.suffix
        path = folder / f"{number:05d}.{suffix}"
        path.write_bytes(damaged)
        cases.append(Case(name, damage, path, len(samples), damage in HARMLESS))
    return cases


def read_case(path: str) -> tuple[str, float, int]:
    """Return what became of a file, its length in samples of its own rate, and MB it took.

    The first is `read`, `refused`, or what went wrong.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    num = 0.0
    try:
        samples = read_audio(path, min_duration_s=1e-6, max_duration_s=300.0)
        outcome, num = "read", len(samples) / 16_000 * probe(path).sample_rate
    except AudioError as error:
        outcome = "refused" if str(error).startswith(f"{path}: ") else f"not by name: {error}"
    except Exception as error:  # whatever else is raised is what this program looks for
        outcome = f"{type(error).__name__}: {error}"
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return outcome, num, (after - before) // 1024


def judged(case: Case, outcome: str, num: float, megabytes: int) -> str:
    """Return `read`, `refused`, or what is wrong."""
    kind = KINDS[case.kind]
    if outcome == "read":
        truth = case.num_samples * (2 if case.damage == "joined" else 1)
        # Two frames, and two of delay and padding that a codec without a header cannot tell.
        room = 2 * kind.frame + (2 * kind.frame if kind.frame > 1 else 0)
        if abs(num - truth) > room + 2:
            outcome = f"read {num:.0f} of {truth} samples"
    elif outcome == "refused" and kind.supported:
        tagged = case.is_sound and case.kind.startswith(("mp3", "mp2"))
        outcome = "sound, and refused" if case.damage == "as it is" or tagged else outcome
    return f"took {megabytes} MB" if megabytes > MEMORY_MB else outcome


def run(cases: list[Case]) -> list[str]:
    """Read all files, in another process; one that it does not survive, or that hangs, is named."""
    outcomes: list[str] = []
    pool = ProcessPoolExecutor(1)
    for case in cases:
        try:
            result = pool.submit(read_case, str(case.path)).result(timeout=TIMEOUT_S)
            outcomes.append(judged(case, *result))
        except (BrokenProcessPool, TimeoutError) as error:
            outcomes.append(f"{type(error).__name__}: crashed or hung")
            pool.shutdown(wait=False, cancel_futures=True)
            pool = ProcessPoolExecutor(1)
    pool.shutdown()
    return outcomes


def main() -> None:
    """Make the files, read them, print the table by kind, and what was wrong."""
    options = parse_options(__doc__, OPTIONS, takes_settings=False)
    print_machine()
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    wrong: list[str] = []
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    numbers = range(options.start, options.start + options.files)
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(numbers, options.seed, Path(folder))
        for case, outcome in zip(cases, run(cases), strict=True):
            verdict = outcome if outcome in ("read", "refused") else "wrong"
            for key in (case.kind, f"damage: {case.damage}", "all"):
                counts[key][verdict] += 1
            if verdict == "wrong":
                wrong.append(f"{case.path.name} ({case.kind}, {case.damage}): {outcome}")
                if options.keep:
                    shutil.copy(case.path, options.keep)
    names = [*KINDS, *(f"damage: {name}" for name in (*HARMLESS, *DAMAGES)), "all"]
    columns = ("read", "refused", "wrong")
    rows = [[name, *(str(counts[name][column]) for column in columns)] for name in names]
    print_table(["kind", *columns], rows)
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
