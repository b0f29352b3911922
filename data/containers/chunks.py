"""Containers made of chunks: WAV in all its kinds (RIFF, RIFX, RF64, BW64, W64) and AIFF.

To the decoder a cut file is just a shorter one, and samples behind a data chunk that states too
little do not exist; here both are found. Chunks before and after the samples do no harm.

Sources: Microsoft, Multimedia Programming Interface and Data Specifications 1.0 (RIFF); EBU Tech
3306 (RF64); Sony Pictures Digital, Sony Wave64; Apple, AIFF-C draft of 1991.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from data.containers.faults import CUT, JOINED, NO_LENGTH, Fault, check_rest

MAX_CHUNKS = 1_000
"""Chunks of a file before its samples."""

MPEG_TAGS = (0x50, 0x55)
"""WAV format tags of MPEG audio, layers I and II, and layer III."""

_CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"riff")
_TWO = "has two chunks of samples, and one would be lost; export it again"
_UNKNOWN = 0xFFFFFFFF
_PCM_TAGS = (1, 3, 6, 7)  # integer, float, A-law, mu-law: a fixed number of bytes per sample
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_AIFF_BITS = {  # bits of a sample by AIFF-C's name of the coding; others are told by COMM
    b"ulaw": 8,
    b"ULAW": 8,
    b"alaw": 8,
    b"ALAW": 8,
    b"fl32": 32,
    b"FL32": 32,
    b"fl64": 64,
    b"FL64": 64,
    b"in24": 24,
    b"42ni": 24,
    b"in32": 32,
    b"23ni": 32,
}
_AIFF_PACKETS = {b"ima4": (34, 64), b"GSM ": (33, 160), b"agsm": (33, 160)}
"""Coding -> bytes and samples of a packet of one channel."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Where the samples of a file are, and how they are coded."""

    start: int
    """First byte."""
    end: int
    """Byte after the last."""
    tag: int
    """Format tag of a WAV file; 0 of others."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the chunks of a container are written."""

    header: str
    """`struct` format of name and size."""
    overhead: int
    """Bytes of its own header that a chunk's size counts."""
    align: int
    """Chunks start at a multiple of it, from the start of the file."""
    data: bytes
    """Name of the chunk of samples."""
    is_name: Callable[[bytes], bool]
    """Whether bytes may be the name of a chunk."""


def _is_code(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def _is_guid(name: bytes) -> bool:
    # Names of Sony's own chunks differ from four letters to four letters only.
    return _is_code(name[:4]) and name[6:8] in (b"\xd3\x11", b"\xcf\x11", b"\xd2\x11")


_RIFF = _Kind("<4sI", 0, 2, b"data", _is_code)
_RIFX = _Kind(">4sI", 0, 2, b"data", _is_code)
_AIFF = _Kind(">4sI", 0, 2, b"SSND", _is_code)
_W64 = _Kind("<16sQ", 24, 8, b"data" + _W64_TAIL, _is_guid)


def find_samples(file: BinaryIO, size: int, head: bytes) -> Samples | None:
    """Return where the samples of a WAV or AIFF file are; None if it is another container.

    Args:
        file: The file; it is left anywhere.
        size: Its length in bytes.
        head: Its first 64 bytes.

    Raises:
        Fault: The header states other than the file holds, or nothing.
    """
    if head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE":
        kind = _RIFF if head[:4] == b"RIFF" else _RIFX
        outer = 8 + int(struct.unpack_from(f"{kind.header[0]}I", head, 4)[0])
        return _wav(file, size, kind, 12, outer)
    if head[:4] in (b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _wav(file, size, _RIFF, 12, None)
    if head[:4] == b"riff" and len(head) >= 40:
        return _wav(file, size, _W64, 40, int(struct.unpack_from("<Q", head, 16)[0]))
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, size, 8 + int(struct.unpack_from(">I", head, 4)[0]))
    return None


def _wav(file: BinaryIO, size: int, kind: _Kind, start: int, outer: int | None) -> Samples | None:
    """Find the samples of a file of the WAV family; `outer` is where it says that it ends."""
    form, wide = b"", (0, 0)
    width = struct.calcsize(kind.header)
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        head = file.read(width)
        if len(head) < width:
            return None
        name, length = struct.unpack(kind.header, head)
        length -= kind.overhead
        if length < 0:
            raise Fault("has a chunk of less than no bytes; export it again")
        if name == kind.data:
            break
        if name[:4] == b"fmt ":
            form = file.read(min(length, 40))
        elif name == b"ds64" and length >= 24:
            wide = struct.unpack("<QQ", file.read(16))
        start += _padded(width + length, kind.align)
    else:
        raise Fault(f"has no data in its first {MAX_CHUNKS} chunks; export it again")
    if outer is None:  # RF64: sizes of 64 bits stand in a chunk of their own
        outer = 8 + wide[0]
        length = wide[1] if length == _UNKNOWN else length
    start += width
    rest = size - start
    if length > rest:
        raise Fault(
            f"its header promises {length} bytes of samples and {rest} are there; the file "
            "is cut or was written to a pipe, restore or re-export it"
        )
    check_behind(file, size, start + length, outer, kind.header, kind.align, kind.data)
    order = kind.header[0]
    tag = struct.unpack_from(f"{order}H", form)[0] if len(form) >= 16 else 0
    tag = struct.unpack_from(f"{order}H", form, 24)[0] if tag == 0xFFFE and len(form) > 25 else tag
    if tag in _PCM_TAGS:
        _check_block(form, order)
    return Samples(start, start + length, tag)


def _check_block(form: bytes, order: str) -> None:
    """Refuse a header whose sizes of a sample differ: which one is true is a guess."""
    _, channels, _, _, block, bits = struct.unpack_from(f"{order}HHIIHH", form)
    if block and channels and block != channels * -(-bits // 8):
        raise Fault(
            f"its header states {block} bytes for {channels} samples of {bits} bits; the header "
            "is damaged, export it again"
        )


def check_behind(
    file: BinaryIO, size: int, end: int, outer: int, header: str, align: int, data: bytes
) -> None:
    """Refuse what follows the samples, unless it is chunks, tags, or zeros behind the stated end.

    Args:
        file: The file.
        size: Its length.
        end: Byte after the samples.
        outer: Where the file says that it ends.
        header: `struct` format of a chunk's name and size.
        align: As of `_Kind`.
        data: Name of the chunk of samples: a second one is refused.

    Raises:
        Fault: Samples that the header does not count, it seems.
    """
    width, overhead = struct.calcsize(header), 24 if header == _W64.header else 0
    is_name = _is_guid if overhead else _is_code
    # Some writers leave out the byte after an odd number of them.
    for start in dict.fromkeys((end + -end % align, end)):
        stop = start
        for _ in range(MAX_CHUNKS):
            file.seek(stop)
            head = file.read(width)
            if len(head) < width:
                return
            name, length = struct.unpack(header, head)
            length -= overhead
            if not is_name(name) or length < 0 or stop + width + length > size:
                break
            if name == data or name[:4] in _CONTAINERS:
                raise Fault(_TWO if name == data else JOINED)
            stop += _padded(width + length, align)
        if stop > start:
            break
    if overhead and size - stop > align:  # of W64, the decoder would take it for samples
        raise Fault(f"{size - stop} bytes follow its chunks; the file is damaged, re-export it")
    check_rest(file, stop, size, ends=stop >= min(outer, size) - 1)


def _padded(length: int, align: int) -> int:
    return length + -length % align


def _aiff(file: BinaryIO, size: int, outer: int) -> Samples | None:
    start, common, samples = 12, b"", None
    for _ in range(MAX_CHUNKS):
        file.seek(start)
        head = file.read(8)
        if len(head) < 8:
            break
        name, length = struct.unpack(_AIFF.header, head)
        if name == b"COMM":
            common = file.read(min(length, 22))
        elif name == b"SSND":
            if samples is not None:
                raise Fault(_TWO)
            offset = int.from_bytes(file.read(8)[:4], "big")
            samples = Samples(start + 16 + offset, start + 8 + length, 0)
            if samples.end > size:
                raise Fault(
                    f"its header promises {length - 8} bytes of samples and "
                    f"{max(0, size - start - 16)} are there; {CUT}"
                )
        elif samples is not None and name in _CONTAINERS:
            raise Fault(JOINED)
        elif samples is not None and (not _is_code(name) or start + 8 + length > size):
            check_rest(file, start, size, ends=start >= min(outer, size) - 1)
            break
        start += 8 + _padded(length, 2)
    if samples is not None and len(common) >= 18:
        _check_aiff_count(samples, common)
    return samples


def _check_aiff_count(samples: Samples, common: bytes) -> None:
    channels, count, bits = struct.unpack_from(">HIH", common)
    coding = common[18:22]
    held = samples.end - samples.start
    if coding in _AIFF_PACKETS:
        num_bytes, num_samples = _AIFF_PACKETS[coding]
        packets = held // (num_bytes * max(1, channels))
        # Some writers count packets, of one channel or as if there were fewer; some samples.
        sound = (
            count in (packets, packets // max(1, channels))
            or -num_samples < packets * num_samples - count < num_samples
        )
    else:
        block = channels * -(-_AIFF_BITS.get(coding, bits) // 8)
        # A padding byte may be counted as data.
        sound = not block or -1 < held - count * block < max(2, block)
    if not sound:
        raise Fault(
            f"its header counts {count} samples, which is not what its {held} bytes of samples "
            "hold; the header is damaged or the file is cut, restore or re-export it"
        )


def check_au(size: int, head: bytes) -> None:
    """Refuse an AU file whose header states other than the file holds, or nothing.

    Source: Sun Microsystems, audio file format: magic, offset, size, coding, rate, channels.

    Raises:
        Fault: What is wrong.
    """
    order = ">" if head[:4] == b".snd" else "<"
    offset, length = struct.unpack_from(f"{order}II", head, 4)
    if length == _UNKNOWN:
        raise Fault(NO_LENGTH)
    _check_count(size, offset, length)


def check_nist(file: BinaryIO, size: int) -> None:
    """Refuse a NIST SPHERE file whose header states other than the file holds, or nothing.

    Source: NIST, SPHERE 2.6: a line with the header's length, then `name -type value` lines.

    Raises:
        Fault: What is wrong.
    """
    file.seek(0)
    text = file.read(65_536)
    lines = [line.split(None, 2) for line in text.split(b"end_head")[0].split(b"\n")]
    fields = {line[0]: line[2].strip() for line in lines if len(line) == 3}
    try:
        offset = int(text[8:16])
        count, channels, width = (
            int(fields[name]) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
        )
    except (KeyError, ValueError) as error:
        raise Fault(NO_LENGTH) from error
    _check_count(size, offset, count * channels * width)


def _check_count(size: int, offset: int, length: int) -> None:
    rest = size - offset
    if length > rest:
        raise Fault(
            f"its header promises {length} bytes of samples and {max(0, rest)} are there; {CUT}"
        )
    if rest - length > 1:  # the decoder would take it for samples
        raise Fault(
            f"{rest - length} bytes follow the samples that its header counts; the header was "
            "never completed or is damaged, re-export the clip"
        )
