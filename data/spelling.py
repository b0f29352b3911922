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
    paths = [""]
    for part in path.split("/"):
        wanted = unicodedata.normalize("NFC", part)
        paths = [
            os.path.join(folder, name)
            for folder in paths
            for name in _names(os.path.join(root, folder))
            if unicodedata.normalize("NFC", name) == wanted
        ]
    return paths[0] if len(paths) == 1 else path


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
