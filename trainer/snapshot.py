"""A learner's state, copied to host memory and written to the disk while training goes on."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine
from torch.utils._pytree import tree_map_only

State = tuple[Any, str]
"""What is saved, and the path of its file."""


class SnapshotWriter(TorchCheckpointEngine):
    """DeepSpeed's writer of checkpoint files; `save` copies, and a thread writes after `commit`.

    The copies are kept and used again: fresh memory would cost more than what is copied into it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.zipfile_serialization = True
        self._buffers: dict[str, list[torch.Tensor]] = {}
        self._states: list[State] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def create(self, info: Any) -> None:
        """Begin a checkpoint; the last one must have been written."""
        assert self._writing is None, "written() comes before the next checkpoint"
        self._states = []

    def save(self, state_dict: Any, path: str) -> None:
        """Copy what is to be written to a file."""
        name = path.rpartition("/")[2]
        old, new = iter(self._buffers.get(name, ())), list[torch.Tensor]()

        def copied(tensor: torch.Tensor) -> torch.Tensor:
            """Return a copy in host memory, in the next buffer if that is alike."""
            buffer = next(old, None)
            if buffer is None or (buffer.shape, buffer.dtype) != (tensor.shape, tensor.dtype):
                # Copies out of a GPU are several times faster into pinned memory.
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            new.append(buffer.copy_(tensor.detach(), non_blocking=True))
            return new[-1]

        self._states.append((tree_map_only(torch.Tensor, copied, state_dict), path))
        self._buffers[name] = new

    def commit(self, info: Any) -> bool:
        """Write the files of this checkpoint in the background."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._writing = self._pool.submit(self._write, self._states)
        return True

    def _write(self, states: list[State]) -> None:
        for state, path in states:
            super().save(state, path)

    def written(self) -> None:
        """Wait for the files.

        Raises:
            OSError: one could not be written; torch may raise its own error in its place.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def preserves_storage_sharing(self) -> bool:
        """The copies have storages of their own: DeepSpeed need not make others before."""
        return False
