"""MPEG audio (MP3 and its older layers): its true length, from the headers of all its frames.

A stream has no header of its own. Encoders may put one into the first frame (Xing, Info, VBRI);
what most upload servers and speech services write has none, and a decoder that estimates the length
from the first frame's bitrate reads a part of a file of variable bitrate. So all frames are walked,
and the decoder is given the stream behind a header with their true number.

Sources: ISO/IEC 11172-3 and 13818-3; the Xing header by its SDK, its extension by LAME's
documentation; VBRI by Fraunhofer IIS; ID3v2.4, section 3; APEv2.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO

from data.containers.faults import Fault, tags_length

_RATES = (44_100, 48_000, 32_000)
_KBPS = {  # (MPEG-1, layer) -> kbit/s by index
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_CONVERT = "write it anew with: ffmpeg -i OLD NEW.wav"
_MAX_STREAM = 2**29  # bytes: 37 h at 32 kbit/s
_INFO_BYTES = 200  # an info frame of our own fits into a frame of this size
_DELAY = 529
"""Samples by which any decoder of layer III lags. Behind an info header they are left out."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """What four bytes say of a frame."""

    length: int
    """Bytes, these four included; 0 if the bitrate is free."""
    samples: int
    rate: int
    layer: int
    channels: int
    side: int
    """Bytes between the header and an info header, in layer III."""
    same: int
    """The bits that all frames of a stream share."""


@dataclass(frozen=True, slots=True)
class Mpeg:
    """A stream of MPEG audio, all of whose frames are there."""

    start: int
    """First byte of the first frame with sound."""
    end: int
    """Byte after the last one."""
    num_frames: int
    """Frames with sound."""
    num_samples: int
    """Samples per channel that the decoder gives: those of all frames, less what an info header
    says that the encoder added, and less the decoder's own delay in layer III."""
    rate: int
    """Sample rate in Hz."""
    channels: int
    """1 or 2."""
    info: bytes
    """A frame to put before the first: its info header counts `num_frames`. Empty in layers I and
    II, which have none."""
    first_length: int
    """Bytes of the first frame of the stream."""

    def as_file(self, file: BinaryIO) -> io.BytesIO:
        """Return the stream as a file that a decoder takes to be as long as it is, or longer."""
        file.seek(self.start)
        stream = file.read(self.end - self.start)
        if not self.info:
            # The length is estimated from the first frame: more frames make it long enough.
            missing = self.num_frames * (self.first_length + 1) - len(stream)
            stream += stream[: self.first_length] * (missing // self.first_length + 2)
        return io.BytesIO(self.info + stream)


def _frame(head: bytes) -> _Frame | None:
    """Return what the header of a frame says; None if these bytes are none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or bitrate == 15 or rate == 3:
        return None
    one = version == 3
    hz = _RATES[rate] >> (0 if one else 1 if version == 2 else 2)
    bits = _KBPS[one, layer][bitrate] * 1000
    samples = 384 if layer == 1 else 1152 if layer == 2 or one else 576
    padding = head[2] >> 1 & 1
    slots = (12 * bits // hz + padding) * 4 if layer == 1 else samples // 8 * bits // hz + padding
    mono = head[3] >> 6 == 3
    side = (17 if mono else 32) if one else (9 if mono else 17)
    same = (head[1] & 0xFE) << 16 | (head[2] & 0x0C) << 8 | mono
    return _Frame(slots if bits else 0, samples, hz, layer, 1 if mono else 2, side, same)


def skip_id3(file: BinaryIO, start: int, end: int) -> int:
    """Return the first byte behind ID3v2 tags, and behind zeros that follow one."""
    place = start
    while place + 10 <= end:
        file.seek(place)
        head = file.read(10)
        if head[:3] != b"ID3" or max(head[6:10], default=128) > 127:
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        place += 10 + size + (10 if head[5] & 0x10 else 0)
    if start < place < end:
        file.seek(place)
        padding = file.read(65_536)
        place += len(padding) - len(padding.lstrip(b"\0"))
    return place


def is_mpeg(file: BinaryIO, size: int) -> bool:
    """Return whether a file is a stream of MPEG audio, behind tags or not: two frames in a row."""
    start = skip_id3(file, 0, size)
    file.seek(start)
    data = file.read(4096)
    first = _frame(data[:4])
    if first is None:
        return False
    if not first.length:
        return any((f := _frame(data[n : n + 4])) and f.same == first.same for n in range(24, 4000))
    second = _frame(data[first.length : first.length + 4])
    alone = start + first.length + 4 > size
    return start > 0 or alone or (second is not None and second.same == first.same)


def walk(file: BinaryIO, start: int, end: int) -> Mpeg:
    """Return the stream of MPEG audio between two bytes of a file, tags around it left out.

    About 0.5 us a frame, which is 26 ms at 44.1 kHz.

    Raises:
        Fault: A cut or damaged stream, one whose frames differ in rate or channels, or an info
            header that counts other frames than there are.
    """
    start = skip_id3(file, start, end)
    if end - start > _MAX_STREAM:
        raise Fault(f"is larger than {_MAX_STREAM >> 20} MiB, and no clip is; cut it first")
    file.seek(start)
    data = file.read(end - start)
    data = data[: _end_of_sound(data)]
    first = _frame(data[:4])
    if first is None:
        raise Fault(f"has no MPEG frame behind its tags; it is damaged, or not MP3: {_CONVERT}")
    places = _places(data, first)
    stop = places.pop()
    counted, delay, padding, info = _info_header(data[: first.length], first)
    if info:
        del places[:1]
    num = len(places)
    if not num:
        raise Fault("has a header but no samples; export it again or drop the row")
    # Some encoders count the frame of the header as well.
    if counted is not None and counted not in (num, num + 1):
        less = counted > num
        raise Fault(
            f"its header counts {counted} frames and {num} are there; "
            + ("the file is cut, restore it or " if less else "the header is wrong, ")
            + _CONVERT
        )
    begin = places[0]
    if first.layer < 3:
        info, num_samples = b"", num * first.samples
    else:
        if counted is None or not info or info[36:40] == b"VBRI" or counted != num:
            info, delay, padding = _own_info(data[begin : begin + 4], num), 0, 0
        all_samples = num * first.samples
        num_samples = min(all_samples, all_samples - padding + _DELAY) - delay - _DELAY
    if num_samples <= 0:
        raise Fault("has a header but no samples; export it again or drop the row")
    return Mpeg(
        start + begin,
        start + stop,
        num,
        num_samples,
        first.rate,
        first.channels,
        info,
        first.length,
    )


def _places(data: bytes, first: _Frame) -> list[int]:
    """Return where the frames of a stream begin, and last where it ends."""
    lengths: dict[bytes, int] = {}
    places: list[int] = []
    place, size = 0, len(data)
    while place < size:
        head = data[place : place + 4]
        # Bits that say nothing of the length are left in: there are few headers.
        length = lengths.get(head)
        if length is None:
            frame = _frame(head)
            if frame is None:
                _check_tail(data, place)
                break
            if not frame.length:
                raise Fault(f"its bitrate is free, so that its length cannot be told; {_CONVERT}")
            if frame.same != first.same:
                raise Fault(
                    f"changes its rate, layer or channels at byte {place}; it is damaged or joined "
                    f"from several files, {_CONVERT}"
                )
            length = lengths[head] = frame.length
        if place + length > size:
            raise Fault(
                f"ends within a frame of sound ({size - place} of {length} bytes); the file is "
                f"cut, restore it, or keep what is there with: ffmpeg -i OLD NEW.wav"
            )
        places.append(place)
        place += length
    return [*places, place]


def _end_of_sound(data: bytes) -> int:
    """Return where the tags at the end of a stream begin, and zeros before them."""
    end = len(data)
    for _ in range(8):
        before = end
        if data[:end][-128:].startswith(b"TAG") and end >= 128:
            end -= 128
        foot = data[max(0, end - 32) : end]
        if foot.startswith(b"APETAGEX") and len(foot) == 32:
            size, _, flags = struct.unpack_from("<III", foot, 12)
            end -= size + (32 if flags >> 31 else 0)
        elif foot.endswith(b"LYRICS200") and foot[-15:-9].isdigit():
            end -= int(foot[-15:-9]) + 15
        elif foot[-10:].startswith(b"3DI"):
            end -= 20 + (foot[-4] << 21 | foot[-3] << 14 | foot[-2] << 7 | foot[-1])
        if end == before or end <= 0:
            break
    return max(end, 0)


def _check_tail(data: bytes, place: int) -> None:
    """Refuse what is neither a tag nor zeros behind the last frame."""
    rest = data[place:]
    if rest[tags_length(rest) :].strip(b"\0"):
        raise Fault(
            f"has no MPEG frame at byte {place} of its stream, where one should be; the file "
            f"is damaged, restore it, or keep what can be read with: ffmpeg -i OLD NEW.wav"
        )


def _info_header(frame: bytes, first: _Frame) -> tuple[int | None, int, int, bytes]:
    """Return what an info header says, and its frame; empty if there is none.

    That is its count of frames, and the samples that the encoder added before and behind the sound.
    """
    if first.layer != 3:
        return None, 0, 0, b""
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return int.from_bytes(frame[50:54], "big"), 0, 0, frame
    for place in (4 + first.side, 6 + first.side):  # behind a checksum in some
        if frame[place : place + 4] in (b"Xing", b"Info"):
            break
    else:
        return None, 0, 0, b""
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    count = int.from_bytes(frame[place + 8 : place + 12], "big") if flags & 1 else None
    place += 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    both = 0
    if frame[place : place + 1] not in (b"", b"\0") and len(frame) >= place + 24:
        both = int.from_bytes(frame[place + 21 : place + 24], "big")
    return count, both >> 12, both & 0xFFF, frame


def _own_info(head: bytes, num_frames: int) -> bytes:
    """Return a silent frame with an info header, for a stream whose frames begin like `head`."""
    heads = (bytes([0xFF, head[1] | 1, n << 4 | head[2] & 0x0C, head[3]]) for n in range(1, 15))
    start = next(h for h in heads if (f := _frame(h)) and f.length >= _INFO_BYTES)
    frame = _frame(start)
    assert frame is not None
    content = b"Info" + struct.pack(">II", 1, num_frames)
    return (start + bytes(frame.side) + content).ljust(frame.length, b"\0")
