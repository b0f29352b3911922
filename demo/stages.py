"""Commands of the repository as stages of something longer; one that is finished is skipped."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from trainer.run_folder import RunFolder

RUNS = Path("runs")
"""`output_dir` of all configurations that the demo uses."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of one command."""

    title: str
    command: str
    """Script in `launch/`."""
    config: str
    """YAML file."""
    folder: Path
    """Of the run, below `RUNS`."""
    overrides: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the command line after the interpreter."""
        name = f"name={self.folder.relative_to(RUNS)}"
        return [f"launch/{self.command}.py", "--config", self.config, name, *self.overrides]

    def is_finished(self) -> bool:
        """Return whether its run came to its end."""
        folder = RunFolder(self.folder)
        return folder.status_path.is_file() and folder.read_status()["state"] == "finished"

    def run(self) -> None:
        """Run it, unless it is finished; see `run`."""
        if self.is_finished():
            print(f"\n== {self.title}: done before ({self.folder})", flush=True)
        else:
            run(self.title, *self.arguments())


def run(title: str, *arguments: str) -> None:
    """Run a command of the repository.

    Raises:
        SystemExit: It failed; the code is the command's own.
    """
    print(f"\n== {title}\n   {shlex.join(['python', *arguments])}", flush=True)
    start = time.monotonic()
    done = subprocess.run([sys.executable, *arguments])
    if done.returncode:
        raise SystemExit(done.returncode)
    print(f"   {time.monotonic() - start:.0f} s", flush=True)
