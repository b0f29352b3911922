"""Whether a file holds what its header says, for all containers that are read."""

from __future__ import annotations

from typing import BinaryIO

from data.containers.chunks import MPEG_TAGS, check_au, check_nist, find_samples
from data.containers.flac import check_flac
from data.containers.mpeg import Mpeg, is_mpeg, skip_id3, walk
from data.containers.ogg import check_ogg

_HEAD_BYTES = 64


def check_extent(file: BinaryIO, size: int) -> Mpeg | None:
    """Compare a file with its own header, without decoding.

    Args:
        file: The file; it is left anywhere.
        size: Its length in bytes.

    Returns:
        The stream, if it is one of MPEG audio; None for any other container, known or not.

    Raises:
        Fault: The header states more or less than the file holds, or no length.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES).ljust(_HEAD_BYTES, b"\0")
    samples = find_samples(file, size, head)
    if samples is not None:
        return walk(file, samples.start, samples.end) if samples.tag in MPEG_TAGS else None
    if head[:4] in (b".snd", b"dns."):
        check_au(size, head)
    elif head[:7] == b"NIST_1A":
        check_nist(file, size)
    elif head[:4] == b"OggS":
        check_ogg(file, size)
    elif head[:4] == b"fLaC":
        check_flac(file, size)
    elif head[:3] == b"ID3":
        file.seek(skip_id3(file, 0, size))
        if file.read(4) == b"fLaC":
            check_flac(file, size)
            return None
    return walk(file, 0, size) if is_mpeg(file, size) else None
