"""One learner rank: a DeepSpeed engine over packed rows.

A plain class; `trainer.learner_group` runs one per GPU (or CPU process) as a Ray actor.
"""

from __future__ import annotations

import copy
import gc
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist

from data.files import DiskFullError, full_disk
from data.records import FloatArray, Microbatch
from rollout.actors import Failure
from trainer.adapters import adapter_weights, fill_adapters, holds_to_adapter, write_adapter
from trainer.learner_spec import LearnerSpec, accumulate
from trainer.logprobs import PackedPolicy, PackedRow, sampling_options, to_device
from trainer.losses import FrozenScores, policy_terms, sft_loss
from trainer.offload import OptimizerOffload
from trainer.policy import as_reference, layer_pieces, load_thinker, prepare_thinker
from trainer.resharding import load_state
from trainer.snapshot import SnapshotWriter
from trainer.weight_sync import EngineClient, Sender, open_sender
from trainer.weights import WeightSource
from trainer.zero import adamw, deepspeed_config

CHECKPOINT_TAG = "learner"


def meet(spec: LearnerSpec, address: str, port: int, meeting: socket.socket | None) -> None:
    """Join the process group of the ranks; `meeting` is taken over."""
    timeout = timedelta(seconds=spec.config.learner.timeout_s)
    store = dist.TCPStore(
        address,
        port,
        spec.num_ranks,
        is_master=meeting is not None,
        timeout=timeout,
        master_listen_fd=None if meeting is None else meeting.detach(),
    )
    backend = "nccl" if spec.config.device == "cuda" else "gloo"
    dist.init_process_group(
        backend, store=store, rank=spec.rank, world_size=spec.num_ranks, timeout=timeout
    )
    deepspeed.init_distributed(backend, timeout=timeout, verbose=False)


class Learner:
    """Holds the policy's shard, its optimizer, and the frozen reference policy.

    Building one is collective over the ranks.

    Args:
        address: of rank 0, as is `port`.
        meeting: rank 0's socket, bound to the port and taken over; None on other ranks.
    """

    def __init__(
        self, spec: LearnerSpec, address: str, port: int, meeting: socket.socket | None
    ) -> None:
        config = spec.config
        self._config = config
        self._spec = spec
        os.environ.update(
            RANK=str(spec.rank),
            LOCAL_RANK="0",
            WORLD_SIZE=str(spec.num_ranks),
            MASTER_ADDR=address,
            MASTER_PORT=str(port),
        )
        cuda = config.device == "cuda"
        self._device = torch.device("cuda", 0) if cuda else torch.device("cpu")
        if not cuda:
            torch.set_num_threads(config.learner.cpu_threads)
        # DeepSpeed would compile an operator for inference on CPUs here; training never calls it.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        meet(spec, address, port, meeting)
        torch.manual_seed(config.seed)
        thinker = load_thinker(config.model.path, config.model.dtype, self._device)
        self._reference = self._build_reference(thinker)
        prepare_thinker(thinker, config.model, keeps_start=holds_to_adapter(config))
        if config.model.adapter:
            fill_adapters(thinker, Path(config.model.adapter), config.model.lora)
        self._thinker = thinker
        optimizer = adamw(thinker, config.optim, fused=cuda)
        self._engine = deepspeed.initialize(
            model=self._packed(thinker), optimizer=optimizer, config=deepspeed_config(config)
        )[0]
        self._writer = SnapshotWriter() if config.checkpoint.background else None
        if self._writer is not None:
            self._engine.checkpoint_engine = self._writer
        self._source = WeightSource(thinker, skip=config.model.freeze, changed_only=True)
        self._sender: Sender | None = None
        self._client: EngineClient | None = None
        self._offload: OptimizerOffload | None = None
        if config.rollout.colocate and config.loss.kind == "policy":
            self._offload = OptimizerOffload(self._engine, config.learner.zero_stage)
            self._offload.move_out()

    def _packed(self, thinker: Any, *, reference: bool = False) -> PackedPolicy:
        model = self._config.model
        if self._device.type == "cuda" and self._config.learner.zero_stage < 3:
            # The gathers of ZeRO-3 would cut what is compiled into pieces.
            for piece in layer_pieces(thinker):
                piece.compile(dynamic=True)
        return PackedPolicy(
            thinker,
            attention=model.attention,
            temperature=self._config.rollout.temperature,
            forbidden_token_ids=self._spec.forbidden_token_ids,
            chunk_tokens=model.logits_chunk_tokens,
            float32_head=model.float32_head,
            **{} if reference else sampling_options(self._config),
        )

    def _build_reference(self, thinker: Any) -> Any:
        """The frozen start policy, if the loss needs one and no adapters can stand in for it."""
        config = self._config
        if config.loss.kind != "policy" or config.loss.kl_coef == 0 or config.model.lora.rank:
            return None
        reference = copy.deepcopy(thinker).requires_grad_(False)
        if "audio_tower" in config.model.freeze:
            # The policy's own tower never changes, so its embeddings serve both.
            reference.audio_tower = None
        packed = self._packed(reference, reference=True)
        if config.learner.zero_stage < 3:
            return packed
        settings = deepspeed_config(config)
        return deepspeed.initialize(model=packed, config=settings)[0]

    def update(self, minibatches: Sequence[Sequence[Microbatch]], lr: float) -> dict[str, float]:
        """Run one step: `epochs` passes over the minibatches, one optimizer update each.

        Args:
            minibatches: this rank's rows; features as arrays. The loss weights of each minibatch
                sum to 1 over all ranks, and all ranks have equally many rows.

        Returns:
            This rank's share of the step's metrics: summed over ranks they are means over tokens,
            weighted like the loss and averaged over updates; keys that end in `_max` are maxima.
        """
        with self._optimizer_on_device():
            return self._update(minibatches, lr)

    @contextmanager
    def _optimizer_on_device(self) -> Iterator[None]:
        """Bring optimizer state to the GPU for a while, if it waits in host memory."""
        if self._offload is None:
            yield
            return
        self._offload.move_in()
        try:
            yield
        finally:
            self._offload.move_out()

    def _update(self, minibatches: Sequence[Sequence[Microbatch]], lr: float) -> dict[str, float]:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = lr
        loss = self._config.loss
        batches = [[self._to_device(row) for row in rows] for rows in minibatches]
        num_updates = loss.epochs * len(batches)
        frozen: list[list[FrozenScores]] | None = None
        if num_updates > 1 and loss.kind == "policy":
            # The first update changes the policy, so what must stay fixed is computed before it.
            frozen = [[self._frozen_scores(row) for row in batch] for batch in batches]
        totals: dict[str, float] = {}
        norms: list[float] = []
        skipped = 0
        for _ in range(loss.epochs):
            for b, (batch, rows) in enumerate(zip(batches, minibatches, strict=True)):
                for r, (tensors, row) in enumerate(zip(batch, rows, strict=True)):
                    stats = self._backward(tensors, row, frozen[b][r] if frozen else None)
                    accumulate(totals, stats, 1.0 / num_updates)
                self._engine.step()
                # DeepSpeed leaves weights and optimizer alone where the gradient is not finite.
                skipped += not self._engine.was_step_applied()
                norms.append(float(self._engine.get_global_grad_norm()))
        # Equal on all ranks: a share each, so that the sum over ranks is the metric itself.
        share = 1.0 / self._spec.num_ranks
        totals["optim/grad_norm"] = share * sum(norms) / num_updates
        totals["optim/skipped"] = totals["optim/nonfinite"] = share * skipped
        return totals

    def trial(self, row: Microbatch) -> float:
        """Run an update of one row that changes nothing; collective over the ranks.

        Args:
            row: as large as any of the run will be, with weights of 0, so that gradient and moments
                stay 0. Call it before `load`, and before the first update.

        Returns:
            Most memory that was taken on the GPU, in bytes; 0 on a CPU.
        """
        assert not row.loss_weights.any(), "the row of a trial weighs nothing"
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            self.update([[row]], lr=0.0)
        # Adam corrects its moments by the number of steps.
        for state in self._engine.optimizer.optimizer.state.values():
            state["step"].zero_()
        return float(torch.cuda.max_memory_reserved()) if self._device.type == "cuda" else 0.0

    def _to_device(self, row: Microbatch) -> PackedRow:
        model = self._config.model
        dtype = getattr(torch, model.dtype)
        return to_device(row, row.features, self._device, model.attention, dtype)

    def _backward(
        self, tensors: PackedRow, row: Microbatch, frozen: FrozenScores | None
    ) -> dict[str, float]:
        """Loss, gradient and metrics of one row."""
        weights = torch.from_numpy(row.loss_weights).to(self._device)
        scores = self._engine(tensors)
        if self._config.loss.kind == "sft":
            credits = torch.from_numpy(row.advantages).to(self._device)
            per_token = sft_loss(scores.logprobs, credits)
            metrics = {"sft/nll": per_token.detach()}
        else:
            if frozen is None:
                reference = self._reference_logprobs(tensors, scores.audio)
                frozen = FrozenScores(scores.logprobs.detach(), reference)
            per_token, metrics = policy_terms(
                scores.logprobs,
                row,
                frozen,
                self._config.loss,
                entropy=scores.entropy,
                whole=scores.whole,
                packages=self._config.rewards.packages,
            )
        loss = (per_token * weights).sum()
        # DeepSpeed averages gradients over ranks, but the weights sum to 1 over all of them.
        self._engine.backward(loss * self._spec.num_ranks)
        metrics |= {"policy/loss": per_token.detach(), "policy/entropy": scores.entropy.detach()}
        stats = {name: float((value * weights).sum()) for name, value in metrics.items()}
        if frozen is not None:
            gap = (frozen.old.cpu() - torch.from_numpy(row.rollout_logprobs)).abs()
            stats["policy/logprob_gap_max"] = float((gap * (weights.cpu() > 0)).max())
        return stats

    @torch.no_grad()
    def _frozen_scores(self, tensors: PackedRow) -> FrozenScores:
        scores = self._engine(tensors)
        reference = self._reference_logprobs(tensors, scores.audio)
        return FrozenScores(scores.logprobs, reference)

    @torch.no_grad()
    def _reference_logprobs(self, tensors: PackedRow, audio: torch.Tensor) -> torch.Tensor | None:
        """Log-probs [N] under the start policy; `audio` is used where its tower is the same."""
        loss = self._config.loss
        if loss.kl_coef == 0:
            return None
        if self._reference is None:
            with as_reference(self._thinker):
                scores = self._engine(tensors)
                return scores.logprobs if scores.whole is None else scores.whole
        shared = audio if "audio_tower" in self._config.model.freeze else None
        return self._reference(tensors, shared).logprobs

    @torch.no_grad()
    def logprobs(self, rows: Sequence[Microbatch]) -> list[FloatArray]:
        """Return the current policy's log-probs [N] of each row, in nats."""
        return [self._engine(self._to_device(row)).logprobs.cpu().numpy() for row in rows]

    def connect(self, engines: Sequence[Any], address: str, port: int) -> dict[int, Failure]:
        """Open the weight transport to the engines; collective over the ranks.

        Returns:
            Position of an engine that could not be reached -> why; on rank 0 alone.
        """
        sync = self._config.sync
        self._client = EngineClient(
            engines,
            self._config.rollout.tensor_parallel,
            sync.timeout_s,
            goes_on=sync.transport != "nccl",
        )
        self._sender = open_sender(
            sync,
            self._source,
            rank=self._spec.rank,
            client=self._client,
            address=address,
            port=port,
        )
        if self._offload is not None:
            # DeepSpeed collects garbage whenever it moves optimizer state, twice a step. What the
            # libraries have loaded stays for good, and to look through it takes 0.4 s each time.
            gc.freeze()
        return self._client.lost

    @torch.no_grad()
    def send_weights(self) -> dict[int, Failure]:
        """Bring all engines to the current weights; collective over the ranks.

        Returns:
            Position of an engine that failed since `connect` -> why; on rank 0 alone.
        """
        assert self._sender is not None and self._client is not None, "connect() comes first"
        self._sender.send_weights()
        return self._client.lost

    def save(self, folder: str) -> None:
        """Begin this rank's part of a checkpoint: weights, optimizer state and RNG.

        With `checkpoint.background` what is saved is this moment's state, whatever comes before
        `saved_files` returns.
        """
        random_state = {"torch_rng": torch.get_rng_state()}
        if self._device.type == "cuda":
            random_state["cuda_rng"] = torch.cuda.get_rng_state(self._device)
        with self._optimizer_on_device():
            self._engine.save_checkpoint(
                folder,
                tag=CHECKPOINT_TAG,
                client_state=random_state,
                exclude_frozen_parameters=True,
            )

    def saved_files(self, folder: str) -> dict[str, int] | DiskFullError:
        """Wait until what `save` began is written; updates may go on meanwhile.

        Returns:
            Path below the folder -> bytes of every file that this rank's node sees there. If there
            is no room, what is to be raised: looked for here, as the limit may be this process's.
        """
        try:
            if self._writer is not None:
                self._writer.written()
        except (OSError, RuntimeError):
            if full := full_disk(Path(folder)):
                return full
            raise
        files = (path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}

    def load(self, folder: str) -> None:
        """Read a checkpoint that `CheckpointStore` has verified; DeepSpeed itself unpickles.

        Another number of ranks may have written it; collective over the ranks.

        Raises:
            ValueError: the folder holds no learner state.
        """
        with self._optimizer_on_device():
            state = load_state(
                self._engine, Path(folder), CHECKPOINT_TAG, self._spec.rank, self._spec.num_ranks
            )
        torch.set_rng_state(state["torch_rng"])
        if "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self._device)

    @torch.no_grad()
    def full_weights(self) -> dict[str, torch.Tensor]:
        """Return copies of all weights under checkpoint names on rank 0, nothing elsewhere."""
        weights = {}
        for name, weight in WeightSource(self._thinker):
            if self._spec.rank == 0:
                weights[name] = weight.cpu().clone()
        return weights

    def export(self, folder: str) -> DiskFullError | None:
        """Write the weights into a copy of the start checkpoint; adapters beside it as `adapter`.

        Collective; rank 0 writes.

        Returns:
            What is to be raised if there is no room: a person can mend that, and raised here it
            would reach the driver as an error of the learner.
        """
        from trainer.export import export_checkpoint

        weights, model = self.full_weights(), self._config.model
        adapter = {name: w.cpu().clone() for name, w in adapter_weights(self._thinker)}
        if self._spec.rank == 0:
            try:
                export_checkpoint(Path(model.path), Path(folder), weights)
                if adapter:
                    write_adapter(Path(folder).with_name("adapter"), adapter, model.lora)
            except DiskFullError as full:
                return full
        return None

    def close(self) -> None:
        """Leave the process group; without it a good run can end in an abort."""
        torch.distributed.barrier()
        self._engine.destroy()
        torch.distributed.destroy_process_group()
