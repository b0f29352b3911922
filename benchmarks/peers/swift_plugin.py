"""What ms-swift loads for the benchmark: drawn rewards, full-length completions, a clock.

Runs inside ms-swift's own process (`--external_plugins`), never in ours. Rewards and lengths are
those of our side: `with_drawn_advantages` and `endless` in benchmarks/setup.py.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import defaultdict
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

from swift.callbacks import TrainerCallback, callbacks_map
from swift.infer_engine import GRPOVllmEngine
from swift.rewards import ORM, orms
from swift.rlhf_trainers import grpo_trainer, rollout_mixin, utils
from transformers import GenerationConfig

FORBIDDEN_LOGIT = -100.0
"""As in data/prompts.py."""

PARTS = defaultdict(float)
"""Function of ms-swift -> seconds in the current step: those it profiles itself, and
`encode_sample`, which makes the features of a completion's clip."""


class DrawnReward(ORM):
    """Normal rewards: a model with random weights answers nothing right."""

    clip_s = None
    """Clip length of the step's prompts."""

    def __init__(self, args=None, **kwargs):
        super().__init__(args, **kwargs)
        self._draw = random.Random(0)

    def __call__(self, completions, clip_s, **kwargs):
        """Return a reward per completion."""
        (DrawnReward.clip_s,) = set(clip_s)
        return [self._draw.gauss(0.0, 1.0) for _ in completions]


class StepClock(TrainerCallback):
    """Notes the seconds from one step's end to the next, and what the trainer logged of it."""

    def __init__(self, args, trainer):
        super().__init__(args, trainer)
        self._last = time.perf_counter()
        self._steps = []

    def on_step_end(self, args, state, control, **kwargs):
        """Note the time since the end of the step before."""
        now = time.perf_counter()
        figures = {"seconds": now - self._last, "clip_s": DrawnReward.clip_s, "parts": dict(PARTS)}
        self._steps.append(figures)
        self._last = now
        PARTS.clear()

    def on_log(self, args, state, control, logs=None, **kwargs):
        """Keep the figures of the step that just ended."""
        self._steps[-1].update(logs or {})

    def on_train_end(self, args, state, control, **kwargs):
        """Write all steps."""
        if os.environ.get("RANK", "0") == "0":
            Path(os.environ["PEERS_RESULT"]).write_text(json.dumps(self._steps), encoding="utf-8")


def forbid(token_ids):
    """Keep tokens out of what vLLM samples; transformers reads them from the checkpoint."""
    prepare = GRPOVllmEngine._prepare_generation_config

    def prepare_without(self, request_config):
        params = prepare(self, request_config)
        params.logit_bias = dict.fromkeys(token_ids, FORBIDDEN_LOGIT)
        return params

    GRPOVllmEngine._prepare_generation_config = prepare_without


def load_weights(self, state_dict):
    """Send weights through vLLM's layerwise reload.

    On a CPU vLLM repacks weights when it loads them, and the `model.load_weights` of ms-swift then
    fails the second time: "'Parameter' object has no attribute 'weight_loader'". On Ascend ms-swift
    itself reloads so.
    """
    runner = self.engine.inner_model_executor.driver_worker.worker.model_runner
    runner.reload_weights(weights_iterator=iter(state_dict.items()))


@contextmanager
def note_time(trainer, name):
    """Stand in for ms-swift's own profiling, which reports to wandb or swanlab alone."""
    start = time.perf_counter()
    yield
    PARTS[name] += time.perf_counter() - start


def noted(function):
    """Return the function, its time noted."""

    @wraps(function)
    def run(*args, **kwargs):
        with note_time(None, function.__name__):
            return function(*args, **kwargs)

    return run


orms["drawn"] = DrawnReward
callbacks_map["step_clock"] = StepClock
forbid(GenerationConfig.from_pretrained(os.environ["PEERS_MODEL"]).suppress_tokens)
utils.profiling_context = note_time
grpo_trainer.encode_sample = noted(grpo_trainer.encode_sample)
rollout_mixin.RolloutTrainerMixin._load_state_dict_to_vllm = load_weights
rollout_mixin.finish_vllm_weight_reload = lambda *args, **kwargs: None
