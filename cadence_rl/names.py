"""Our packages have plain names (docs/install.md says why): others may stand in their place.

This package has a name of its own and imports none of them, so that it can look before anything of
theirs is loaded.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, packages_distributions
from pathlib import Path

DISTRIBUTION = "cadence-rl"
"""What pip calls us."""

PACKAGES = (
    "configs",
    "data",
    "rewards",
    "rollout",
    "trainer",
    "evaluation",
    "annotate",
    "report",
    "launch",
    "demo",
)
"""Our top-level packages, besides this one."""

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds them: the repository, or the `site-packages` that we are installed in."""


def installed() -> Distribution | None:
    """Return what pip knows of this copy; None if it was not installed, as a checkout."""
    try:
        distribution = Distribution.from_name(DISTRIBUTION)
    except PackageNotFoundError:
        return None
    # An older copy may be installed elsewhere on the path.
    return distribution if Path(str(distribution.locate_file(""))).resolve() == ROOT else None


def clashes() -> list[str]:
    """Return a text for each package that an import would not get as we wrote it.

    That is so where another module of the name comes first on Python's path, or where another
    distribution was installed over ours into the same folder.
    """
    return [*_shadowed(), *_overwritten()]


def _shadowed() -> Iterator[str]:
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
        place = next((place for place in places if place), "nowhere")
        if Path(place).resolve() not in (ROOT / name, ROOT / name / "__init__.py"):
            yield f"`{name}` is found in {place}, ours is {ROOT / name}"


def _overwritten() -> Iterator[str]:
    """Compare what makes each package one with what pip wrote down when it installed us."""
    distribution = installed()
    for file in (distribution.files if distribution else None) or ():
        is_ours = file.parts[0] in PACKAGES and file.parts[1:] == ("__init__.py",)
        if not is_ours or file.hash is None:
            continue
        path = ROOT / file
        content = path.read_bytes() if path.is_file() else b""
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest())
        if digest.rstrip(b"=").decode() != file.hash.value:
            owners = set(packages_distributions().get(file.parts[0], ())) - {DISTRIBUTION}
            who = f" (by {', '.join(sorted(owners))})" if owners else ""
            yield f"{path} is not the file that was installed with us: it was overwritten{who}"
