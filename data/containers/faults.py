"""What is wrong with a file, and what may follow its samples."""

from __future__ import annotations

from typing import BinaryIO

CUT = "the file is cut, restore or re-export it"

NO_LENGTH = (
    "its header has no length, as when a file is written to a pipe: whether it is whole cannot be "
    "told; write it anew with: ffmpeg -i OLD NEW.wav"
)

TAGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"3DI")
"""How the tags begin that players write behind the samples."""

_MAX_ZEROS = 2**20
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
    rest = size - start
    if rest <= _TINY:
        return
    file.seek(start)
    found = file.read(min(rest, _MAX_ZEROS))
    if found.startswith(TAGS) or (ends and not found.strip(b"\0")):
        return
    raise Fault(
        f"{rest} bytes follow the samples that its header counts; the header was never completed "
        "or is damaged, re-export the clip"
    )
