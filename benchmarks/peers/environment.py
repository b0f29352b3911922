"""An environment of its own for each peer, on top of ours: same torch, vLLM and transformers."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

PACKAGES = {
    # The second brings ms-swift's reader of clips.
    "ms-swift": ("ms-swift==4.6.0", "qwen-omni-utils==0.0.9"),
    "trl": ("trl==1.16.0",),
}
"""Peer -> what is installed. Two environments: ms-swift 4.6.0 needs trl < 1.0."""


def python_of(peer: str, folder: Path) -> Path:
    """Return the interpreter of a peer's environment, which is made if it is missing.

    It sees the packages of the running interpreter, and those that pip adds come first. Ours are
    never changed.

    Args:
        peer: a key of `PACKAGES`.
        folder: where environments lie; each takes up to 0.5 GB.

    Raises:
        subprocess.CalledProcessError: pip failed; the next call tries again.
    """
    home = folder.absolute() / peer
    python, finished = home / "bin" / "python", home / "finished"
    if finished.exists():
        return python
    print(f"making {home}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
    ours = sysconfig.get_path("purelib")
    theirs = sysconfig.get_path("purelib", vars={"base": str(home)})
    Path(theirs, "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([python, "-m", "pip", "install", *quiet, *PACKAGES[peer]], check=True)
    finished.touch()
    return python
