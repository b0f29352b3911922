"""What `ray job submit` would upload, against what Ray takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from launch.preflight import Problem

UPLOAD_LIMIT_BYTES = 100 * 2**20
"""Ray refuses a larger working directory (HTTP 413)."""

NEVER_UPLOADED = {".git", ".venv", "venv", "__pycache__"}
"""Folders, or links to some, that Ray leaves out of a working directory by itself."""


def check_upload(folder: Path) -> Iterator[Problem]:
    """Yield an upload that Ray would refuse, with its largest files."""
    sizes = upload_sizes(folder)
    total = sum(sizes.values())
    if total > UPLOAD_LIMIT_BYTES:
        largest = sorted(sizes, key=lambda name: sizes[name], reverse=True)[:3]
        listed = ", ".join(f"{name} ({sizes[name] / 2**20:.0f} MiB)" for name in largest)
        yield Problem(
            "error",
            f"{folder}: {total / 2**20:.0f} MiB to upload, Ray takes 100; largest: {listed}",
            "add them to .gitignore; audio, checkpoints and runs belong on a shared file system",
        )


def upload_sizes(folder: Path) -> dict[str, int]:
    """Return path below the folder -> bytes of every file that `ray job submit` uploads.

    Ignored files of a git repository are left out, as Ray does; links are followed.
    """
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed: list[Path]
    if (folder / ".git").exists() and shutil.which("git") is not None:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=30)
        listed = [folder / os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    else:
        listed = [folder]
    sent = [path for path in listed if not NEVER_UPLOADED & {*path.relative_to(folder).parts}]
    files = [file for path in sent for file in _files_below(path)]
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}


def _files_below(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for parent, folders, names in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if name not in NEVER_UPLOADED]
        files = (Path(parent) / name for name in names if name not in NEVER_UPLOADED)
        yield from (file for file in files if file.is_file())
