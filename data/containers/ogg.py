"""Ogg: whether its pages are all there and whole, and hold as much as the last one says.

A decoder drops pages whose checksum is wrong and ends where the last page says, without a word.

Sources: RFC 3533 (Ogg), RFC 7845 and RFC 6716 (Opus), Vorbis I specification (Xiph.Org).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from data.containers.faults import CUT, NO_LENGTH, Fault, check_rest

_HEAD = 27
_FIRST, _LAST = 2, 4
_NONE = 2**64 - 1
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MODE_BITS = 41
_OPUS_SAMPLES = [  # of a frame at 48 kHz, by the first five bits of a packet
    *(480, 960, 1920, 2880) * 3,
    *(480, 960) * 2,
    *(120, 240, 480, 960) * 4,
]


@dataclass(slots=True)
class _Packets:
    """How many samples the packets of a stream hold, as far as the codec is known."""

    headers: list[bytes] = field(default_factory=list[bytes])
    """The first packets, whole."""
    num_samples: int = 0
    longest: int = 0
    """Samples of the longest packet."""
    _blocks: tuple[int, ...] = ()
    """Block size of each of Vorbis' modes."""
    _last_block: int = 0

    @property
    def codec(self) -> str:
        """`opus`, `vorbis`, or empty for any other."""
        start = self.headers[0][:8] if self.headers else b""
        return "opus" if start == b"OpusHead" else "vorbis" if start[1:7] == b"vorbis" else ""

    def add(self, packet: bytes) -> None:
        """Count a packet; it may be cut after its second byte, unless it is a header."""
        codec = self.codec
        if len(self.headers) < (2 if codec == "opus" else 3):
            self.headers.append(packet)
            if codec == "vorbis" and len(self.headers) == 3:
                self._blocks = _vorbis_blocks(self.headers[0], packet)
        elif codec == "opus" and packet:
            frames = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[packet[0] & 3]
            self._count(frames * _OPUS_SAMPLES[packet[0] >> 3])
        elif codec == "vorbis" and packet and self._blocks:
            mode = packet[0] >> 1 & (1 << (len(self._blocks) - 1).bit_length()) - 1
            block = self._blocks[min(mode, len(self._blocks) - 1)]
            self._count((self._last_block + block) // 4 if self._last_block else 0)
            self._last_block = block

    def _count(self, samples: int) -> None:
        self.num_samples += samples
        self.longest = max(self.longest, samples)


def _vorbis_blocks(first: bytes, setup: bytes) -> tuple[int, ...]:
    """Return the block size of each mode; empty if the headers cannot be understood.

    Modes end the setup header, 41 bits each behind a count of six, and a bit that is 1.
    """
    if len(first) < 29:
        return ()
    sizes = 1 << (first[28] & 15), 1 << (first[28] >> 4)
    bits = int.from_bytes(setup, "little")
    end = bits.bit_length() - 1
    blocks: list[int] = []
    mode_blocks: tuple[int, ...] = ()
    for place in range(end - _MODE_BITS, max(6, end - 64 * _MODE_BITS) - 1, -_MODE_BITS):
        mode = bits >> place & (1 << _MODE_BITS) - 1
        if mode >> 1 & 0xFFFFFFFF:  # windows and transforms, of which there is one each
            break
        blocks.insert(0, sizes[mode & 1])
        if bits >> (place - 6) & 63 == len(blocks) - 1:
            mode_blocks = tuple(blocks)
    return mode_blocks


def check_ogg(file: BinaryIO, size: int) -> None:
    """Refuse an Ogg file that is cut or damaged, or holds other than one stream.

    Raises:
        Fault: What is wrong.
    """
    place, sequence, serial, granule, flags = 0, -1, None, 0, 0
    packets, packet = _Packets(), b""
    first: tuple[int, int] | None = None
    while place < size:
        file.seek(place)
        head = file.read(_HEAD)
        if head[:5] != b"OggS\0" and flags & _LAST:
            check_rest(file, place, size, ends=True)
            break
        if head[:5] != b"OggS\0":
            raise Fault(f"has no page at byte {place}, where one should be; it is damaged or cut")
        sizes = file.read(head[26]) if len(head) == _HEAD else b""
        body = file.read(sum(sizes))
        place += _HEAD + len(sizes) + len(body)
        if len(head) < _HEAD or len(sizes) < head[26] or len(body) < sum(sizes):
            raise Fault(f"ends within a page; {CUT}")
        flags = head[5]
        end, page_serial, number = struct.unpack_from("<QII", head, 6)
        if serial is None:
            serial = page_serial
        if page_serial != serial or (flags & _FIRST and sequence >= 0):
            raise Fault(
                "holds more than one stream, and only the first would be heard; write them as one "
                "with: ffmpeg -i OLD NEW.wav"
            )
        if number != sequence + 1 and sequence >= 0:
            raise Fault(f"lacks pages between {sequence} and {number}; restore or re-export it")
        if not _is_whole(head, sizes + body):
            raise Fault(f"its page {number} is damaged (wrong checksum); restore or re-export it")
        sequence = number
        packet = _add_packets(packets, packet, sizes, body)
        if end != _NONE and packets.num_samples:
            if end < granule:
                raise Fault(f"its page {number} ends before the one before it; re-export it")
            granule = end
            first = first or (end, packets.num_samples)
    if not flags & _LAST:
        raise Fault(f"its last page is missing; {CUT}")
    if packets.codec and first is not None:
        _check_end(granule, first, packets)
    elif packets.codec:
        raise Fault(NO_LENGTH)


def _is_whole(head: bytes, rest: bytes) -> bool:
    """Return whether the checksum of a page is right."""
    # Ogg's is that of zlib on mirrored bytes, started and ended with other bits.
    page = (head[:22] + bytes(4) + head[26:] + rest).translate(_MIRRORED)
    checksum = zlib.crc32(page, 0xFFFFFFFF) ^ 0xFFFFFFFF
    return checksum.to_bytes(4, "big").translate(_MIRRORED) == head[22:26]


def _add_packets(packets: _Packets, packet: bytes, sizes: bytes, body: bytes) -> bytes:
    """Count the packets that end on a page; return what is begun of the next."""
    place = 0
    for size in sizes:
        packet += body[place : place + size]
        place += size
        if size < 255:
            packets.add(packet)
            packet = b""
    return packet


def _check_end(end: int, first: tuple[int, int], packets: _Packets) -> None:
    """Compare the end that the last page states with what the packets hold.

    Args:
        end: Stated by the last page.
        first: Stated by the first page with sound, and samples held up to there.
        packets: All of them.
    """
    start = first[0] - first[1] if (end, packets.num_samples) != first else 0
    held = start + packets.num_samples
    # Encoders fill their last packet up, and may add one more.
    if not 0 <= held - end <= 2 * packets.longest:
        raise Fault(
            f"its last page promises an end at sample {end} and its packets end at {held}; it is "
            "damaged or cut, restore or re-export it"
        )
