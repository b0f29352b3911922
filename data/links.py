"""Links below an audio root: how far they may lead, and why one of them leads nowhere.

Stores keep the bytes of a clip under a name of their own and leave a link in its place: git-annex
in `.git/annex/objects`, DVC in `.dvc/cache/files/md5` or a cache of that layout elsewhere, the hub
of Hugging Face in `datasets--OWNER--NAME/blobs`. What was never fetched is a link to nothing, or,
where a disk or a setting does without links, a small text.

Sources: "internals" and "git-annex pointer files" on git-annex.branchable.com; "Internal files" in
DVC's user guide; "Understand caching" of huggingface_hub; the specification of Git LFS.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

MAX_FOLDERS = 10_000
"""Folders whose real paths are remembered: to ask of each clip's anew would take most of the time
of reading a manifest."""

MAX_LINKS = 8
"""Links of one path that are followed by means of these; more are left to the system."""

POINTER_BYTES = 1024
"""Texts that stand for a file are shorter."""

_LET = (
    "say data.follow_links=true (launch/annotate.py: follow_links=true) if such links are to be "
    "followed, or copy the clip into the root"
)
_DVC = re.compile(r"/\.dvc/cache/|/files/md5/[0-9a-f]{2}/[0-9a-f]{30}")
_HUB = re.compile(r"/(dataset|model|space)s--([^/]+)/blobs/")
_POINTERS = {
    rb"version https://git-lfs": ("git-lfs", "git lfs pull"),
    rb"[./]*(?:\.git/)?annex/objects/": ("git-annex", "git annex get"),
}
"""How a text begins that stands for a file -> whose it is, and what fetches the file."""


class ClipRoot:
    """The folder that clips lie in, and whether links below it may lead out.

    The text of a path never may: callers refuse absolute paths and `..`.
    """

    def __init__(self, folder: str | Path, *, follow_links: bool = False) -> None:
        """Take a folder, which may be a link itself."""
        self.folder = os.path.realpath(folder)
        self.follow_links = follow_links
        self._real_folders: dict[str, str] = {}

    def is_clip(self, audio: str) -> bool:
        """Return whether a path is a file that may be read, by a look or two; False if unsure."""
        try:
            if self.follow_links:
                return stat.S_ISREG(os.stat(f"{self.folder}/{audio}").st_mode)
            folder, name = os.path.split(os.path.join(self.folder, audio))
            real = self._real_folder(folder)
            return self._holds(real) and stat.S_ISREG(os.lstat(f"{real}/{name}").st_mode)
        except (OSError, ValueError):
            return False

    def may_read(self, audio: str) -> bool:
        """Return whether a path, whatever its text, leads to no place that is not to be read.

        There need be nothing.

        Raises:
            ValueError: It is no path of any system: a NUL byte, or half a surrogate pair.
        """
        if self.follow_links:
            return not audio.startswith("/") and ".." not in audio.split("/")
        return self.is_clip(audio) or self._holds(self._real(os.path.join(self.folder, audio)))

    def leads_out(self, audio: str) -> str:
        """Return which link leads out of the folder, and what to do; empty if none does, or may."""
        if self.follow_links or self.is_clip(audio):
            return ""
        path = os.path.join(self.folder, audio)
        target = self._real(path)
        if self._holds(target):
            return ""
        link = path
        if not self._holds(self._real_folder(os.path.dirname(path))):
            links = ((head, self._real(head)) for head in _heads(path, self.folder))
            link, target = next((head, real) for head, real in links if not self._holds(real))
        lacks = "" if os.path.exists(target) else f" (not there: {_remedy(link, target)})"
        where = f"outside the audio root {self.folder}"
        return _printable(f"{_link_at(link, path)} to {target}, {where}{lacks}; {_LET}")

    def problem(self, audio: str) -> str:
        """Return why a path is no file that may be read, and what to do; empty if it is one."""
        problem = self.leads_out(audio)
        if problem:
            return problem
        path = os.path.join(self.folder, audio)
        try:
            status = os.stat(path)
        except OSError as error:
            return why_absent(path, self.folder) or (
                f"cannot be read: {error.strerror} below the audio root {self.folder}; add the "
                "clip or fix data.audio_root"
            )
        return "" if stat.S_ISREG(status.st_mode) else "is not a regular file; name a clip"

    def _holds(self, real: str) -> bool:
        return real == self.folder or real.startswith(self.folder.rstrip("/") + "/")

    def _real(self, path: str) -> str:
        """Return what `os.path.realpath` does, with the folders of what was asked before."""
        real = path
        for _ in range(MAX_LINKS):
            folder, name = os.path.split(real)
            if name in ("", ".", ".."):
                break
            real = os.path.join(self._real_folder(folder), name)
            try:
                real = os.path.join(os.path.dirname(real), os.readlink(real))
            except OSError:  # no link, or nothing
                return real
        return os.path.realpath(path)

    def _real_folder(self, folder: str) -> str:
        if folder not in self._real_folders:
            if len(self._real_folders) >= MAX_FOLDERS:
                self._real_folders.clear()
            self._real_folders[folder] = os.path.realpath(folder)
        return self._real_folders[folder]


def why_absent(path: str, below: str = "") -> str:
    """Return why there is no file, and what to do, where a link or a store tells; else empty.

    Args:
        path: Absolute, of what cannot be opened.
        below: Folder above it which is there, and no link.
    """
    for head in _heads(path, below):
        if os.path.islink(head):
            try:
                os.stat(head)
            except OSError as error:
                return _printable(_broken(head, path, error))
        elif not os.path.lexists(head):
            is_dvc = os.path.isfile(f"{head}.dvc")
            return _printable(f"is not there; {_dvc_pull(head)}") if is_dvc else ""
    return ""


def stand_in(head: bytes) -> str:
    """Return what a text is that stands for a file, and what fetches it; empty of anything else.

    Args:
        head: How a file of less than `POINTER_BYTES` begins.
    """
    for start, (tool, command) in _POINTERS.items():
        if re.match(start, head):
            return f"is a pointer of {tool} to a file that is not here; run `{command}` there"
    return ""


def _printable(message: str) -> str:
    """Return a message without what would move a terminal's cursor, or is no Unicode."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)


def _heads(path: str, below: str = "") -> Iterator[str]:
    """Yield the folders on the way to a path, from the top, and the path."""
    head = below.rstrip("/")
    for part in path[len(head) :].split("/"):
        if part:
            head = f"{head}/{part}"
            yield head


def _link_at(link: str, path: str) -> str:
    return "is a link" if link == path else f"lies below {link}, a link"


def _broken(link: str, path: str, error: OSError) -> str:
    where, target = _link_at(link, path), os.path.realpath(link)
    if error.errno == errno.ELOOP:
        return f"{where} among symbolic links in a circle ({_circle(link)}); mend them"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"{where} to {target}, which is not there; {_remedy(link, target)}"
    return f"{where} to {target}: {error.strerror}; make it readable"


def _circle(link: str) -> str:
    """Return `a -> b -> a` for links that lead to each other, as seen from the first's folder."""
    folder, names = os.path.dirname(link), [link]
    while names[-1] not in names[:-1] and os.path.islink(names[-1]):
        target = os.path.join(os.path.dirname(names[-1]), os.readlink(names[-1]))
        names.append(os.path.normpath(target))
    return " -> ".join(os.path.relpath(name, folder) for name in names)


def _remedy(link: str, target: str) -> str:
    """Return what fetches the file that a link waits for."""
    folder, name = map(shlex.quote, os.path.split(link))
    if "/annex/objects/" in target:
        return f"git-annex fetches it: `git -C {folder} annex get {name}`"
    if _DVC.search(target):
        return _dvc_pull(link)
    if hub := _HUB.search(target):
        repository = shlex.quote(hub[2].replace("--", "/", 1))
        return f"the hub has it: `hf download {repository} --repo-type {hub[1]}`"
    return "restore it or mend the link"


def _dvc_pull(path: str) -> str:
    folder, name = map(shlex.quote, os.path.split(path))
    return f"DVC fetches it: `dvc --cd {folder} pull {name}`"
