"""What is wrong with a file, and what may follow its samples."""

from __future__ import annotations

from typing import BinaryIO

CUT = "the file is cut, restore or re-export it"

NO_LENGTH = (
    "its header has no length, as when a file is written to a pipe: whether it is whole cannot be "
    "told; write it anew with: ffmpeg -i OLD NEW.wav"
)

JOINED = (
    "is followed by another recording, which would be lost: files were joined byte by byte; split "
    "them, or export the clip again"
)

_MAX_REST = 2**20
_TINY = 8


class Fault(Exception):
    """What is wrong with a file and what to do, without its name."""


def check_rest(file: BinaryIO, start: int, size: int, *, ends: bool) -> None:
    """Refuse what is neither tags nor zeros between the samples and the end of a file.

    Args:
        file: The file.
        start: Byte after all that the header knows of.
        size: Length of the file.
        ends: Whether the header says that the file ends there: then zeros are no samples.

    Raises:
        Fault: There are samples that the header does not count, it seems.
    """
    if size - start <= _TINY:
        return
    file.seek(start)
    tail = file.read(min(size - start, _MAX_REST))
    rest = tail[tags_length(tail) :]
    if (ends or len(rest) < len(tail)) and not rest.strip(b"\0"):
        return
    raise Fault(
        f"{size - start} bytes follow the samples that its header counts; the header was never "
        "completed or is damaged, re-export the clip"
    )


def tags_length(data: bytes) -> int:
    """Return how many bytes at the start of some are tags; a tag that is cut is one, too."""
    place = 0
    while place < len(data):
        head = data[place : place + 32]
        if head.startswith(b"TAG"):
            place += 128
        elif head.startswith(b"ID3") and len(head) > 9 and max(head[6:10]) < 128:
            place += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        elif head.startswith(b"APETAGEX") and len(head) == 32:
            # The first of its two 32 bytes is not in the size that it states.
            place += 32 + int.from_bytes(head[12:16], "little")
        elif head.startswith(b"LYRICSBEGIN") and (end := data.find(b"LYRICS200", place)) > 0:
            place = end + 9
        else:
            break
    return min(place, len(data))
