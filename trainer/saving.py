"""How a loop writes a checkpoint, and what it does when the disk has no room for one."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from configs.schema import CheckpointConfig, RunConfig
from trainer.checkpoint import Best, CheckpointStore
from trainer.learner_group import LearnerGroup
from trainer.sealed import CheckpointFullError

logger = logging.getLogger(__name__)


def best_of(config: CheckpointConfig) -> Best | None:
    """Return by what the best checkpoint is kept; None if it is not."""
    return Best(config.best_metric, config.best_is == "higher") if config.best_metric else None


def score_of(config: CheckpointConfig, metrics: Mapping[str, float]) -> dict[str, Any] | None:
    """Return what a checkpoint holds of `checkpoint.best_metric`; None without a finite value."""
    value = metrics.get(config.best_metric)
    if value is None or not math.isfinite(value):
        return None
    return {"metric": config.best_metric, "value": float(value)}


def pack_row(metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return metrics as JSON data; a value that is not finite as a text."""
    return {key: v if math.isfinite(v) else str(v) for key, v in metrics.items()}


def unpack_row(row: Mapping[str, Any] | None) -> dict[str, float] | None:
    """Return what `pack_row` was given; None for none."""
    return None if row is None else {key: float(value) for key, value in row.items()}


def save_checkpoint(
    store: CheckpointStore, learner: LearnerGroup, step: int, state: Mapping[str, Any]
) -> None:
    """Publish a checkpoint from which the run goes on as if it had never stopped.

    Raises:
        CheckpointError: it cannot be written; older ones are kept.
        LearnerError: a rank failed to write its part.
    """
    with store.writing(step) as folder:
        files = learner.save(folder)
        store.publish(step, state, files)


def save_if_room(
    config: RunConfig,
    store: CheckpointStore,
    learner: LearnerGroup,
    step: int,
    state: Mapping[str, Any],
) -> bool:
    """Save a step in the middle of a run; a full disk costs the checkpoint, not the run.

    A later checkpoint may find room. The last one of a run has no later one, and ranks that wait
    for one that has failed cannot go on: then the error is raised.

    Returns:
        Whether the checkpoint is there.
    """
    try:
        save_checkpoint(store, learner, step, state)
    except CheckpointFullError as error:
        if step == config.train.num_steps or (error.begun and config.learner.num_ranks > 1):
            raise
        logger.warning(f"alarm: no checkpoint of step {step}, the run goes on: {error}")
        return False
    return True
