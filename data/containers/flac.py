"""FLAC: the length that the header states, against the last frame of the file.

Source: RFC 9639.
"""

from __future__ import annotations

import re
from typing import BinaryIO

from data.containers.faults import CUT, JOINED, NO_LENGTH, Fault
from data.containers.mpeg import skip_id3

_MAGIC = re.compile(rb"fLaC[\x00\x80]\0\0\x22")
_MAGIC_BYTES = 8
_TAIL = 65_536  # bytes in which the last frame begins: the first look
_CRC8 = bytearray(256)
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = (_crc << 1 ^ 0x07) & 0xFF if _crc & 0x80 else _crc << 1
    _CRC8[_byte] = _crc


def check_flac(file: BinaryIO, size: int) -> None:
    """Refuse a FLAC file whose header has no length, or one that its last frame does not end at.

    Frames carry their number, so that one look at the end of the file tells; nothing is decoded.

    Raises:
        Fault: What is wrong.
    """
    start = skip_id3(file, 0, size)
    file.seek(start)
    head = file.read(4 + 4 + 34)
    if head[:4] != b"fLaC" or len(head) < 42 or head[4] & 0x7F:
        return  # the decoder says what it is
    info = head[8:]
    total = int.from_bytes(info[13:18], "big") & 0xFFFFFFFFF
    if not total:
        raise Fault(NO_LENGTH)
    fixed = int.from_bytes(info[:2], "big")
    first = start + 4
    while first + 4 <= size:
        file.seek(first)
        block = file.read(4)
        first += 4 + int.from_bytes(block[1:], "big")
        if len(block) < 4 or block[0] & 0x80:
            break
    ends = 0
    for tail in (_TAIL, 256 * _TAIL):
        begin = max(first, size - tail)
        file.seek(begin)
        ends = _last_end(file.read(tail), fixed, total)
        if ends == total:
            return
        if begin == first or ends:
            break
    raise Fault(
        f"its header promises {total} samples and its last frame ends at sample {ends}; "
        + (CUT if ends < total else "the header is damaged, re-export the clip")
    )


def check_flac_alone(file: BinaryIO, size: int) -> None:
    """Refuse a FLAC file that another follows: its last frame may be that of an equal length.

    All of the file is looked through, which only who decodes it has a reason to do.

    Raises:
        Fault: It holds two.
    """
    place, kept, start = 0, b"", skip_id3(file, 0, size)
    while place < size:
        file.seek(place)
        part = file.read(2**20)
        if not part:
            return
        for match in _MAGIC.finditer(kept + part):
            if place - len(kept) + match.start() > start:
                raise Fault(JOINED)
        place, kept = place + len(part), part[1 - _MAGIC_BYTES :]


def _last_end(data: bytes, fixed: int, total: int) -> int:
    """Return the sample that the last frame ends at, `total` if any frame does; 0 without one."""
    last, place = 0, len(data)
    while (place := data.rfind(b"\xff", 0, place)) >= 0:
        end = _frame_end(data[place : place + 16], fixed)
        if end == total:
            return total
        # Chance finds a header in one of 256 x 16 places that look like one.
        last = last or end
    return last


def _frame_end(head: bytes, fixed: int) -> int:
    """Return the sample that a frame ends at, by its header; 0 if these bytes are none."""
    if len(head) < 6 or head[1] not in (0xF8, 0xF9) or head[3] & 1:
        return 0
    size_code, rate_code = head[2] >> 4, head[2] & 15
    if not size_code or rate_code == 15 or head[3] >> 4 > 10:
        return 0
    length = 1
    lead = head[4]
    while length < 7 and lead & (0x80 >> length) and lead & 0x80:
        length += 1
    num = lead if lead < 0x80 else lead & (0x7F >> length)
    for byte in head[5 : 4 + length]:
        num = num << 6 | byte & 0x3F
    place = 4 + length
    num_extra = {6: 1, 7: 2}.get(size_code, 0)
    extra = int.from_bytes(head[place : place + num_extra], "big")
    place += num_extra + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    crc = 0
    for byte in head[:place]:
        crc = _CRC8[crc ^ byte]
    if place >= len(head) or head[place] != crc:
        return 0
    if size_code == 1:
        samples = 192
    elif size_code < 6:
        samples = 576 << (size_code - 2)
    else:
        samples = extra + 1 if size_code < 8 else 256 << (size_code - 8)
    # A number of 0xF9 is that of a sample, of 0xF8 that of a frame.
    return (num if head[1] & 1 else num * fixed) + samples
