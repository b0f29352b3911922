"""Ogg: whether its pages are all there.

Source: RFC 3533; RFC 7845 for Opus.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from data.containers.faults import CUT, NO_LENGTH, TAGS, Fault

_HEAD = 27
_FIRST, _LAST = 2, 4
_NONE = 2**64 - 1


def check_ogg(file: BinaryIO, size: int) -> None:
    """Refuse an Ogg file that is cut, lacks pages, or holds other than one stream.

    Raises:
        Fault: What is wrong.
    """
    place, sequence, serial, granule, flags = 0, -1, None, 0, 0
    while place < size:
        file.seek(place)
        head = file.read(_HEAD + 255)
        if len(head) < _HEAD or len(head) < _HEAD + head[26]:
            raise Fault(f"ends within a page; {CUT}")
        if head[:5] != b"OggS\0":
            if flags & _LAST and (head.startswith(TAGS) or not head.strip(b"\0")):
                break
            raise Fault(f"has no page at byte {place}, where one should be; it is damaged")
        flags = head[5]
        end, found, number = struct.unpack_from("<QII", head, 6)
        if serial is None:
            serial = found
        if found != serial or (flags & _FIRST and number and sequence >= 0):
            raise Fault(
                "holds more than one stream, and only the first would be heard; write them as one "
                "with: ffmpeg -i OLD NEW.wav"
            )
        if number != sequence + 1 and sequence >= 0:
            raise Fault(f"lacks pages between {sequence} and {number}; restore or re-export it")
        if end != _NONE:
            if end < granule:
                raise Fault(
                    f"its page {number} ends at sample {end}, before the one before it; the header "
                    "is damaged, re-export it"
                )
            granule = end
        sequence = number
        place += _HEAD + head[26] + sum(head[_HEAD : _HEAD + head[26]])
    if place > size:
        raise Fault(f"ends within a page; {CUT}")
    if not flags & _LAST:
        raise Fault(f"its last page is missing; {CUT}")
    if not granule:
        raise Fault(NO_LENGTH)
