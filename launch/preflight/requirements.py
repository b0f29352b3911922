"""What this code needs: as setup.cfg says in a checkout, else as pip wrote it down."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cadence_rl.names import DISTRIBUTION, ROOT, installed


class Needs(NamedTuple):
    """The Python and the packages that a run of a kind needs."""

    source: str
    """Where they stand."""
    python: SpecifierSet
    packages: list[Requirement]
    command: str
    """Installs them."""


def needs(device: str, root: Path = ROOT) -> Needs:
    """Return what runs on a device need.

    Args:
        device: `cpu` or `cuda`.
        root: Folder of our packages.
    """
    extra = "gpu" if device == "cuda" else "cpu"
    setup = ConfigParser()
    if setup.read(root / "setup.cfg", encoding="utf-8"):
        options = setup["options"]
        lines = options["install_requires"] + "\n" + setup["options.extras_require"][extra]
        packages = [Requirement(line) for line in lines.splitlines() if line.strip()]
        command = f"pip install -r requirements/{extra}.lock"
        return Needs("setup.cfg", SpecifierSet(options["python_requires"]), packages, command)
    command = f"pip install '{DISTRIBUTION}[{extra}]'"
    distribution = installed()
    if distribution is None:  # a copy of the packages alone, which nothing is known of
        return Needs(str(root), SpecifierSet(), [], command)
    listed = map(Requirement, distribution.requires or ())
    return Needs(
        f"the metadata of {DISTRIBUTION}",
        SpecifierSet(distribution.metadata["Requires-Python"] or ""),
        [r for r in listed if r.marker is None or r.marker.evaluate({"extra": extra})],
        command,
    )
