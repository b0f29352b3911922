"""Lets CUDA builds of torchvision, torchaudio and torchcodec lie beside a torch without CUDA.

The package index has only CUDA builds of these three for Linux. On CPU torch, importing any of
them fails, and both transformers and vLLM import them where they are installed:

- torchvision is needed (the Qwen2.5-Omni processor imports its image transforms, all pure Python),
  but `import torchvision` dies with "operator torchvision::nms does not exist": it describes to
  torch two operators that only its compiled half declares. Declaring them first is enough. They
  get no kernel: calling one still fails.
- torchaudio and torchcodec are not needed, but libraries that do without them when they are absent
  do not expect them to raise OSError. They are made to look absent.

This must also hold in Ray workers and in the subprocesses of vLLM. Therefore
`python -m demo.torchvision_hook` copies this file into the environment's site-packages, with a
`.pth` file that runs `activate` at the start of every Python process of the environment. That reads
four small files; neither torch nor any of the three is imported until something asks for it.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:  # every process of the environment pays for what is imported above
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

MODULE_NAME = "torchvision_cpu_hook"
"""Name of the installed copy of this file, and of the `.pth` file that activates it."""

UNNEEDED = ("torchaudio", "torchcodec")
"""Packages that are hidden where they could not load."""

OPERATORS = ("nms", "qnms")
"""The operators that torchvision describes on import, whether or not its compiled half loaded."""

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
"""Signature that both operators share."""


class TorchvisionLoader(SourceFileLoader):
    """Loads torchvision as usual, after declaring the operators that its compiled half would."""

    declared = False
    """Whether this process has declared them: torch refuses a second declaration."""

    def exec_module(self, module: ModuleType) -> None:
        """Declare the operators, then import."""
        import torch

        if not TorchvisionLoader.declared:
            for name in OPERATORS:
                torch.library.define(f"torchvision::{name}", SCHEMA)
            TorchvisionLoader.declared = True
        super().exec_module(module)


class TorchvisionFinder:
    """An import finder that answers for torchvision alone, and changes only how it is loaded."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of torchvision with the wrapped loader; None for any other module."""
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = TorchvisionLoader(spec.loader.name, spec.loader.path)
        return spec


def _version_file(site_packages: str, package: str) -> str:
    """What a package's version.py says; empty if it is not installed there."""
    try:
        with open(f"{site_packages}/{package}/version.py", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def activate() -> None:
    """Do what this module is for, if the torch beside it has no CUDA; twice is the same as once.

    Only CUDA builds (their version ends in `+cu` and a number) are touched.
    """
    site_packages = __file__.rpartition("/")[0]
    torch_facts = _version_file(site_packages, "torch").splitlines()
    if not any(line.startswith("cuda") and line.endswith("= None") for line in torch_facts):
        return
    for package in UNNEEDED:
        if "+cu" in _version_file(site_packages, package):
            sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # "not found", per import
    is_cuda_build = "+cu" in _version_file(site_packages, "torchvision")
    if is_cuda_build and TorchvisionFinder not in sys.meta_path:
        sys.meta_path.insert(0, TorchvisionFinder)


def install(site_packages: Path) -> None:
    """Write the hook into an environment; running it again renews it.

    Args:
        site_packages: the site-packages folder of the environment.

    Raises:
        ValueError: the folder does not exist.
    """
    from pathlib import Path

    if not site_packages.is_dir():
        raise ValueError(f"{site_packages} is not a folder: give the environment's site-packages")
    # The module goes first: a process that starts in between must not find the .pth file alone.
    files = {
        f"{MODULE_NAME}.py": Path(__file__).read_text(encoding="utf-8"),
        f"{MODULE_NAME}.pth": f"import {MODULE_NAME}; {MODULE_NAME}.activate()\n",
    }
    for name, text in files.items():
        unfinished = site_packages / f"{name}.tmp"
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(site_packages / name)


def main() -> None:
    """Install the hook into the environment of the running interpreter."""
    import sysconfig
    from pathlib import Path

    site_packages = Path(sysconfig.get_path("purelib"))
    install(site_packages)
    print(f"installed {MODULE_NAME} into {site_packages}")


if __name__ == "__main__":
    main()
