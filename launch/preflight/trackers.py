"""Checks of the experiment trackers: their packages and keys."""

from __future__ import annotations

import netrc
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from cadence_rl.names import DISTRIBUTION
from configs.schema import RunConfig
from launch.preflight import Problem

NEEDS_KEY = {
    "wandb": ("WANDB_API_KEY", "WANDB_MODE", "~/.netrc"),
    "swanlab": ("SWANLAB_API_KEY", "SWANLAB_MODE", "~/.swanlab/.netrc"),
}
"""Tracker -> the variable with its key, the one with its mode, the file that its login writes."""

WITHOUT_KEY = {"offline", "local", "disabled", "dryrun"}
"""Modes in which nothing is sent."""


def check_trackers(config: RunConfig) -> Iterator[Problem]:
    """Yield trackers of `log.trackers` that lack their package, their key or a project."""
    if config.log.trackers and not config.log.project:
        yield Problem("error", "log.project is empty", "name what the runs are filed under")
    for name in config.log.trackers:
        package = find_spec(name)
        # A folder of that name, which a tracker itself leaves, is no package.
        if package is None or package.origin is None:
            yield Problem(
                "error",
                f"log.trackers: {name} is not installed",
                f"pip install '{DISTRIBUTION}[{name}]', or add requirements/trackers.lock "
                "(docs/trackers.md), or leave it out",
            )
        elif name in NEEDS_KEY:
            key, mode, login = NEEDS_KEY[name]
            local = os.environ.get(mode, "").lower() in WITHOUT_KEY
            if not (local or os.environ.get(key) or _is_logged_in(Path(login).expanduser(), name)):
                yield Problem(
                    "error",
                    f"log.trackers: {name} has no key",
                    f"set {key}, run `{name} login`, or set {mode}=offline to write to the run "
                    "folder alone",
                )


def _is_logged_in(file: Path, name: str) -> bool:
    """Return whether a login has left a key of some server of the tracker."""
    try:
        return any(name in host for host in netrc.netrc(file).hosts)
    except (OSError, netrc.NetrcParseError):
        return False
