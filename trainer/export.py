"""Writes trained weights into a copy of the checkpoint they started from."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from data.files import FULL, DiskFullError, full_disk, sync

if TYPE_CHECKING:  # a model card and a push, which name files here, need no model library
    from torch import Tensor

CARD, BASE_CARD = "README.md", "README.base.md"
"""Model card of a checkpoint folder, and the name under which an export keeps its start's."""


def export_checkpoint(start: Path, target: Path, weights: Mapping[str, Tensor]) -> None:
    """Write a Hugging Face folder: the start checkpoint with new weights.

    Whatever the run did not hold (vision tower, talker, tokenizer, processor) is taken over from
    the start checkpoint, in the same files, names and number formats. The folder appears under its
    name only when it is complete. Cards of the start checkpoint are about other weights: README.md
    becomes README.base.md, README.base.md becomes README.base.base.md, and so on.

    Args:
        target: folder to write; replaced if it exists.
        weights: full tensors under checkpoint names.

    Raises:
        DiskFullError: there is no room for it; nothing of it is left.
        ValueError: a weight has no place in the start checkpoint.
    """
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with _removed_if_full(partial):
        partial.mkdir(parents=True)
        _fill(partial, start, weights)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    sync(target.parent)


@contextmanager
def _removed_if_full(partial: Path) -> Iterator[None]:
    """Say it if the disk has no room for an export, whatever the error is, and remove its parts."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = error.errno if isinstance(error, OSError) else None
        full = DiskFullError.of(partial, number) if number in FULL else full_disk(partial)
        shutil.rmtree(partial, ignore_errors=True)
        if full is None:
            raise
        what_to_do = f"{full.strerror}; make room, then run the same command again"
        raise DiskFullError(full.errno, what_to_do, str(partial)) from error


def _fill(partial: Path, start: Path, weights: Mapping[str, Tensor]) -> None:
    """Write and sync all files of an export into an empty folder."""
    left = dict(weights)
    for source in sorted(start.iterdir()):
        if source.suffix == ".safetensors":
            _write_shard(source, partial / source.name, left)
        elif source.is_file():
            is_card = re.fullmatch(r"README(\.base)*\.md", source.name)
            name = source.name.replace("README", "README.base", 1) if is_card else source.name
            shutil.copy(source, partial / name)
    if left:
        raise ValueError(f"{start}: has no weight named {min(left)!r} ({len(left)} such weights)")
    for file in partial.iterdir():
        sync(file)


def _write_shard(source: Path, target: Path, weights: dict[str, Tensor]) -> None:
    """Copy one shard, taking the new weights it has a place for out of `weights`."""
    from safetensors.torch import save_file

    tensors = {}
    with safe_open(source, framework="pt") as shard:
        metadata = shard.metadata()
        for name in shard.keys():  # noqa: SIM118 (a safetensors handle does not iterate)
            tensor = shard.get_tensor(name)
            if name in weights:
                tensor = weights.pop(name).to(tensor.dtype).contiguous()
            tensors[name] = tensor
    save_file(tensors, target, metadata=metadata)
