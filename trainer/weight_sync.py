"""New weights from the learner to the engines, over vLLM's native weight-transfer API.

Three transports behind one protocol (init, start, update, finish):

- `nccl`: engines on their own GPUs; vLLM's broadcast in packed buckets.
- `ipc`: engines that share the learners' GPUs; vLLM's CUDA memory handles.
- `host`: CPU; ours. Rank 0 puts buckets into the node's shared memory, engines map and load them.

All start with `open_sender` on every learner rank and go through `Sender.send_weights`; rank 0
talks to the engines, the others only take part in the gathering.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import ray
import torch

from configs.schema import SyncConfig
from rollout.actors import Failure, LostActorError, gather
from rollout.host_receiver import WeightInfo
from trainer.weights import WeightSource

MEGABYTE = 1 << 20


class Sender(Protocol):
    """The learner's side of one transport."""

    def send_weights(self) -> None:
        """Bring every engine to the learner's current weights. Collective over the ranks."""
        ...


class EngineCallError(RuntimeError):
    """An engine did not take its weights; the message says which, why and in which call."""


class LostEngineError(EngineCallError, LostActorError):
    """It died or gave no answer."""


class EngineClient:
    """Drives the weight-transfer calls of all engines from learner rank 0.

    Args:
        workers_per_engine: GPUs per engine; places engines in the transfer group.
        timeout_s: longest wait for the engines' answers to one call.
        goes_on: whether the others get their weights if an engine dies, hangs or raises; a
            transport that is one group of processes cannot do without one.
    """

    def __init__(
        self, engines: Sequence[Any], workers_per_engine: int, timeout_s: float, *, goes_on: bool
    ) -> None:
        self.num_workers = len(engines) * workers_per_engine
        """GPUs of all engines."""
        self._engines = dict(enumerate(engines))
        self._workers = workers_per_engine
        self._timeout_s = timeout_s
        self._goes_on = goes_on
        self.lost: dict[int, Failure] = {}
        """Position of an engine -> what became of it; it takes no further part."""

    def _all(self, method: str, arguments: Mapping[int, Any] | None = None) -> None:
        """Call a method of all engines that are left, and wait for their answers.

        Raises:
            EngineCallError: no engine is left, or one failed and the transport needs all.
        """
        arguments = arguments or {}
        calls = {
            number: getattr(engine, method).remote(
                *([arguments[number]] if number in arguments else [])
            )
            for number, engine in self._engines.items()
        }
        _, failures = gather(calls, self._timeout_s, method)
        for number in failures:
            del self._engines[number]
        self.lost |= failures
        # What all of them raise lies in what they were sent.
        raised = failures and not self._engines and not any(f.is_lost for f in failures.values())
        if raised or (failures and not self._goes_on):
            number, failure = min(failures.items())
            kind = LostEngineError if failure.is_lost else EngineCallError
            raise kind(f"engine {number}{failure.reason} ({method})")

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Open the receiving side; every engine gets its own ranks in the transfer group."""
        infos = {}
        for index in self._engines:
            infos[index] = dict(init_info)
            if "rank_offset" in init_info:
                infos[index]["rank_offset"] += index * self._workers
        self._all("init_weight_transfer", infos)

    def start_weight_update(self) -> None:
        """Prepare every engine for new weights."""
        self._all("start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        """Hand one bucket to every engine and wait until all have loaded it."""
        self._all("update_weights", dict.fromkeys(self._engines, update_info))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """Put the new weights in service."""
        self._all("finish_weight_update")


def open_sender(
    config: SyncConfig,
    source: WeightSource,
    *,
    rank: int,
    client: EngineClient,
    address: str,
    port: int,
) -> Sender:
    """Open the learner's side of the configured transport.

    Args:
        rank: this learner rank; rank 0 sends.
        client: of the engines that receive.
        address: address of rank 0, for the `nccl` rendezvous.
        port: free port there.

    Returns:
        The sender; collective over all ranks.
    """
    # vLLM refuses a tensor that is larger than its buffer.
    bucket_bytes = max(config.bucket_mb * MEGABYTE, largest_bytes(source.metadata()))
    if config.transport == "host":
        return HostSender(source, client, rank == 0, bucket_bytes)
    # vLLM's trainer side needs CUDA, so it is imported only where it is used.
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

    if config.transport == "nccl":
        info = NCCLTrainerInitInfo(
            master_address=address,
            master_port=port,
            world_size=1 + client.num_workers,
            packed_buffer_size_bytes=bucket_bytes,
            rank=rank,
        )
    else:
        info = IPCTrainerInitInfo(packed=True, packed_buffer_size_bytes=bucket_bytes, rank=rank)
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)


def largest_bytes(weights: Sequence[WeightInfo]) -> int:
    """Return the size of the largest weight."""
    return max(math.prod(weight.shape) * weight.dtype.itemsize for weight in weights)


class HostSender:
    """Sends weights through the shared memory of the node: one copy in, mapped by every engine."""

    def __init__(
        self, source: WeightSource, client: EngineClient, is_sender: bool, bucket_bytes: int
    ) -> None:
        self._source = source
        self._client = client
        self._is_sender = is_sender
        self._bucket_bytes = bucket_bytes
        if is_sender:
            client.init_weight_transfer_engine({})

    def send_weights(self) -> None:
        """Send every weight in buckets; see `Sender`."""
        if not self._is_sender:
            for _ in self._source:
                pass
            return
        self._client.start_weight_update()
        for bucket in self._buckets():
            self._client.update_weights({"bucket": bucket})
        self._client.finish_weight_update()

    def _buckets(self) -> Iterator[ray.ObjectRef]:
        """Stored lists of (WeightInfo, bytes)."""
        bucket: list[tuple[WeightInfo, np.ndarray]] = []
        size = 0
        for name, weight in self._source:
            info = WeightInfo(name, weight.dtype, tuple(weight.shape))
            weight = weight.cpu().contiguous()
            bucket.append((info, weight.reshape(-1).view(torch.uint8).numpy()))
            size += weight.nbytes
            if size >= self._bucket_bytes:
                yield ray.put(bucket)
                bucket, size = [], 0
        if bucket:
            yield ray.put(bucket)
