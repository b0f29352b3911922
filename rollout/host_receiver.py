"""The engine's side of the `host` transport: new weights out of the node's shared memory.

The learner's side is `trainer.weight_sync`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class WeightInfo(NamedTuple):
    """Name, format and full shape of one weight."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


def register_host_receiver() -> None:
    """Make the `host` transport known to vLLM in this process; call once, before the engine."""
    from vllm.distributed.weight_transfer.base import (
        WeightTransferEngine,
        WeightTransferInitInfo,
        WeightTransferUpdateInfo,
    )
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
    from vllm.model_executor.model_loader.reload import (
        finalize_layerwise_reload,
        initialize_layerwise_reload,
    )

    @dataclass
    class HostInitInfo(WeightTransferInitInfo):
        """Nothing to agree on: buckets describe themselves."""

    @dataclass
    class HostUpdateInfo(WeightTransferUpdateInfo):
        """One bucket."""

        bucket: list[tuple[WeightInfo, np.ndarray]]

    class HostReceiver(WeightTransferEngine[HostInitInfo, HostUpdateInfo]):
        """Loads buckets from shared memory.

        Weights go through vLLM's layerwise reload: on a CPU it repacks them at load time, and
        parameters that were repacked once cannot be loaded directly again.
        """

        init_info_cls = HostInitInfo
        update_info_cls = HostUpdateInfo

        def init_transfer_engine(self, init_info: HostInitInfo) -> None:
            """Nothing to open."""

        def start_weight_update(self) -> None:
            """Prepare every layer for its new weights."""
            initialize_layerwise_reload(self.model)

        def update_weights(self, update_info: dict[str, Any]) -> None:
            """Load one bucket; nothing runs asynchronously here."""
            self.receive_weights(self.parse_update_info(update_info))

        def receive_weights(self, update_info: HostUpdateInfo) -> None:
            """Load the tensors of one bucket, straight from shared memory."""
            self.model.load_weights(_tensors(update_info.bucket))

        def finish_weight_update(self) -> None:
            """Put the loaded layers in service."""
            finalize_layerwise_reload(self.model, self.model_config)

        def shutdown(self) -> None:
            """Nothing to close."""

    WeightTransferEngineFactory.register_engine("host", HostReceiver)


def _tensors(bucket: Sequence[tuple[WeightInfo, np.ndarray]]) -> Iterator[tuple[str, Tensor]]:
    """Views of a bucket's bytes; the shared memory lives as long as any view of it."""
    for info, data in bucket:
        with warnings.catch_warnings():
            # Shared memory is read-only, and loading only reads it.
            warnings.filterwarnings("ignore", message=".*not writable")
            flat = torch.from_numpy(data)
        yield info.name, flat.view(info.dtype).view(info.shape)
