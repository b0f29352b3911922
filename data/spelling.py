"""Paths with letters that are composed otherwise: an accent may be a code point of its own."""

from __future__ import annotations

import os
import unicodedata


def spelled_on_disk(root: str, path: str) -> str:
    """Return a path below a folder as it is spelled there; as it is given if that is not one way.

    Only the composition of letters may differ (Unicode NFC against NFD), in every part on its own:
    a manifest made on macOS and folders unpacked on Linux are such a pair. Nothing is found where
    two spellings exist, and case is never changed.

    Args:
        root: The folder.
        path: Relative to it, without `..`.
    """
    if path.isascii() or os.path.lexists(os.path.join(root, path)):
        return path
    found = ""
    for part in path.split("/"):
        here = os.path.join(found, part)
        if not os.path.lexists(os.path.join(root, here)):
            wanted = unicodedata.normalize("NFC", part)
            try:
                names = os.listdir(os.path.join(root, found))
            except OSError:
                return path
            alike = [name for name in names if unicodedata.normalize("NFC", name) == wanted]
            if len(alike) != 1:
                return path
            here = os.path.join(found, alike[0])
        found = here
    return found
