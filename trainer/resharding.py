"""Learner state for another number of ranks, by way of DeepSpeed's universal checkpoints."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

NUM_WORKERS = 4
"""Processes that cut the shards, and that join their pieces."""


def num_saved_ranks(state: Path) -> int:
    """Return for how many ranks DeepSpeed's folder holds optimizer shards."""
    return len(list(state.glob("*_optim_states.pt")))


def resharded_folder(checkpoint: Path) -> Path:
    """Return where `resharded` puts what it makes of a checkpoint."""
    # A name that the store takes for a leftover, should the process be killed.
    return checkpoint.parent / f".{checkpoint.name}.tmp-universal"


@contextmanager
def resharded(checkpoint: Path, tag: str) -> Iterator[None]:
    """Have the state of a verified checkpoint in a form that any number of ranks can load.

    Weights and moments are cut out of the shards and joined into a file each; nothing is rounded.
    It takes up to twice the checkpoint's size on its disk until the block ends.

    Args:
        tag: name of DeepSpeed's folder in both.

    Raises:
        ValueError: DeepSpeed cannot convert it; with the last line that it said.
    """
    folder = resharded_folder(checkpoint)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    try:
        # In a process of its own: it forks, which a process with a GPU and collectives must not.
        done = subprocess.run(
            [
                *(sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"),
                *("--input_folder", checkpoint / tag, "--output_folder", folder / tag),
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
            raise ValueError(f"{checkpoint}: not converted for another number of ranks: {reason}")
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
