"""What a resumed run may change: every key of the schema is in exactly one of three classes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

KeyClass = Literal["free", "path", "method"]
"""`free`: speed, endpoints, what is written and how bad data is met: may differ. `path`: may differ
if the content is the same. `method`: decides what is learned: refused unless `resume.allow` names
it."""


def _keys(section: str, names: str) -> set[str]:
    return {f"{section}.{name}" for name in names.split()}


FREE = {
    "name",
    "output_dir",
    *_keys("model", "attention gradient_checkpointing logits_chunk_tokens"),
    *_keys("data", "min_duration_s max_duration_s bad_clips feature_cache_mb num_workers"),
    "data.follow_links",
    *_keys("rollout", "num_engines tensor_parallel colocate gpu_memory_frac kv_cache_gib"),
    *_keys("rollout", "cpu_threads enforce_eager max_model_len max_num_seqs timeout_s"),
    *_keys("rollout", "progress_timeout_s max_engine_restarts"),
    *_keys("sync", "transport bucket_mb timeout_s"),
    *_keys("rewards.terms.0", "shadow workers concurrency gpus timeout_s on_error"),
    *_keys("rewards", "max_missing_frac on_missing packages"),
    *_keys("learner", "num_ranks tokens_per_microbatch cpu_threads timeout_s"),
    *_keys("train", "num_steps stop_grace_s trial_step max_restarts"),
    *_keys("eval", "split every_steps max_examples test_split judged other_clips mode samples"),
    *_keys("eval", "latency_clips controls control_samples benchmarks"),
    *_keys("eval.benchmarks.0", "name manifest audio_root split choices"),
    *_keys("judge", "options target target_options concurrency gpus"),
    *_keys("checkpoint", "every_steps background keep_last best_metric best_is export"),
    *_keys("log", "samples_every trackers project clips report stall_s"),
    *_keys("log", "class_window alarm_steps alarm_growth alarm_stop"),
    *_keys("early_stop", "metric better patience min_delta"),
    "checkpoint.push_to_hub",
    *_keys("parity", "num_clips max_gap mean_gap p99_gap min_correlation"),
    "resume.allow",
}
"""Keys that may differ; an entry of a list of sections is 0."""

GONE = {"log.tensorboard"}
"""Keys of older versions, in config.yaml of their runs, that decide nothing of what is learned."""

PATHS = {"model.path", "model.adapter", "data.manifest", "data.audio_root", "judge.prompt_file"}
"""Keys that may differ if what they lead to is the same."""

METHOD = {
    "seed",
    "device",
    *_keys("model", "dtype freeze float32_head"),
    *_keys("model.lora", "rank alpha dropout targets"),
    *_keys("data", "train_split tasks system_prompt question choices balance"),
    *_keys("rollout", "group_size temperature top_p top_k max_completion_tokens allow_truncated"),
    *_keys("rollout.counterfactual", "moves pitch_st rate energy_db"),
    *_keys("rewards.terms.0", "name target weight judged options"),
    *_keys("rewards.terms.0.schedule", "kind begin_step num_steps start_frac end_frac"),
    *_keys("rewards.terms.0.schedule", "threshold ema_decay window flatness min_steps"),
    *_keys("rewards.terms.0.schedule", "ramp_steps"),
    *_keys("rewards", "terms outcome aliases"),
    *_keys("rewards.trust", "enabled one_sided min_judged"),
    *_keys("advantage", "normalize tolerance flat_groups refill_rounds refill_by"),
    "advantage.mask_truncated",
    *_keys("loss", "kind policy clip_low clip_high kl_coef reference kl_estimator entropy_coef"),
    *_keys("loss", "aggregation importance_cap epochs minibatches"),
    *_keys("optim", "lr beta1 beta2 eps weight_decay warmup_steps schedule min_lr_frac"),
    *_keys("optim", "grad_clip"),
    *_keys("async", "max_staleness in_flight"),
    # The saved optimizer state is laid out for it.
    "learner.zero_stage",
    "train.prompts_per_step",
}
"""Keys that may not differ."""

FREE_OPTIONS = frozenset(
    [
        "url",
        "api_key_env",
        "max_concurrent_calls",
        "timeout_s",
        "deadline_s",
        "max_attempts",
        "max_reply_bytes",
        "breaker_failures",
        "breaker_cooldown_s",
        "cache_size",
        "max_model_len",
        "max_num_seqs",
        "gpu_memory_frac",
        "kv_cache_gib",
        "cpu_threads",
    ]
)
"""Options of a reward or judge that are endpoints or speed, by name; all others are method."""

PATH_OPTIONS = frozenset({"model_path", "prompt_file"})
"""Options of a reward or judge that are paths."""


def class_of(key: str) -> KeyClass:
    """Return the class of a dotted key as `config_differences` names it.

    What lies below a key that holds a mapping (`rewards.aliases.joy`) has the key's class; options
    of a reward term have one by their own name.

    Raises:
        KeyError: The schema has no such key, or nobody has given it a class.
    """
    neutral = re.sub(r"(?<=\.)\d+(?=\.|$)", "0", key)
    if option := re.fullmatch(r"rewards\.terms\.0\.options\.([^.]+)(\..*)?", neutral):
        if option[1] in FREE_OPTIONS:
            return "free"
        return "path" if option[1] in PATH_OPTIONS else "method"
    parts = neutral.split(".")
    for end in range(len(parts), 0, -1):
        head = ".".join(parts[:end])
        if head in FREE | GONE:
            return "free"
        if head in PATHS:
            return "path"
        if head in METHOD:
            return "method"
    raise KeyError(key)


def is_named(key: str, allowed: Iterable[str]) -> bool:
    """Return whether a key, or a section that it lies in, is in a list such as `resume.allow`."""
    return any(key == name or key.startswith(f"{name}.") for name in allowed)
