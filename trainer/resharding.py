"""Reads a learner's state, also another number of ranks': by DeepSpeed's universal format."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

NUM_WORKERS = 4
"""Processes that cut the shards, and that join their pieces."""


def load_state(
    engine: Any, checkpoint: Path, tag: str, rank: int, num_ranks: int
) -> Mapping[str, Any]:
    """Read a verified checkpoint into a DeepSpeed engine; collective over the ranks.

    Args:
        tag: name of DeepSpeed's folder in it.

    Returns:
        What was saved beside weights and optimizer state.

    Raises:
        ValueError: there is nothing that can be read.
    """
    num_saved = len(list((checkpoint / tag).glob("*_optim_states.pt")))
    if num_saved in (0, num_ranks):
        path, state = engine.load_checkpoint(checkpoint, tag=tag, load_module_strict=False)
        if path is None:
            raise ValueError(f"{checkpoint}: no learner state for {num_ranks} ranks")
        return state
    # A name that the store takes for a leftover, should the process be killed.
    folder = checkpoint.parent / f".{checkpoint.name}.tmp-universal"
    with ExitStack() as stack:
        if rank == 0:
            stack.enter_context(_universal(checkpoint / tag, folder / tag))
        torch.distributed.barrier()
        engine._config.load_universal_checkpoint = True
        _, state = engine.load_checkpoint(folder, tag=tag)
        engine._config.load_universal_checkpoint = False
        # Before the first rank removes it.
        torch.distributed.barrier()
    return state


@contextmanager
def _universal(shards: Path, folder: Path) -> Iterator[None]:
    """Have the state of all ranks in a folder, a file a weight; nothing is rounded.

    It takes up to twice the size of the shards on their disk until the block ends.
    """
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.parent.mkdir(mode=0o755)
    try:
        # In a process of its own: it forks, which a process with a GPU and collectives must not.
        done = subprocess.run(
            [
                *(sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"),
                *("--input_folder", shards, "--output_folder", folder),
                *("--num_extract_workers", str(NUM_WORKERS)),
                *("--num_merge_workers", str(NUM_WORKERS)),
                "--inject_missing_state",  # a description of splits that are not used here
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise ValueError(f"{shards}: not converted for another number of ranks: {reason}")
        yield
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
