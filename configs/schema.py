"""The schema of a run: every knob once, with its unit, range and default.

`knob(default, ...)` carries the range that the loader checks and that docs/configuration.md prints.
Rewards and evaluation have files of their own, `configs/reward_schema.py` and
`configs/eval_schema.py`; cross-field rules are in `configs/rules.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from configs.eval_schema import CONTROL_NAMES, BenchmarkConfig, EvalConfig
from configs.judge_schema import JudgeConfig
from configs.knob import knob
from configs.reward_schema import RewardsConfig, RewardTermConfig, TermScheduleConfig, TrustConfig

__all__ = [
    "CONTROL_NAMES",
    "NINE_LABELS",
    "AdvantageConfig",
    "BenchmarkConfig",
    "CheckpointConfig",
    "DataConfig",
    "EvalConfig",
    "JudgeConfig",
    "LearnerConfig",
    "LogConfig",
    "LoraConfig",
    "LossConfig",
    "ModelConfig",
    "OptimConfig",
    "ParityConfig",
    "RewardTermConfig",
    "RewardsConfig",
    "RolloutConfig",
    "RunConfig",
    "SyncConfig",
    "TermScheduleConfig",
    "TrainConfig",
    "TrustConfig",
]


NINE_LABELS = [
    "neutral",
    "happy",
    "sad",
    "angry",
    "contempt or disgust",
    "confused",
    "whisper",
    "surprise",
    "fear",
]
"""The paper's label set, in the order of its public prompt."""


@dataclass
class LoraConfig:
    """Low-rank adapters on the language model (peft); rank 0 trains full parameters."""

    rank: int = knob(0, ge=0)
    """Rank of the adapters; 0 = no adapters."""
    alpha: float = knob(32.0, gt=0)
    """Scale of the adapters: their output is multiplied by alpha / rank."""
    dropout: float = knob(0.0, ge=0, le=0.9)
    """Dropout on the adapters' input. Above 0 the learner's log-probs are noisy."""
    targets: list[str] = knob(["q_proj", "k_proj", "v_proj", "o_proj"])
    """Names of the language model's linear layers that get an adapter."""


@dataclass
class ModelConfig:
    """The policy and how the learner holds it."""

    path: str = "runs/demo/sft/export"
    """Folder of a Qwen2.5-Omni checkpoint in Hugging Face layout (safetensors)."""
    dtype: str = knob("bfloat16", choices=["float32", "bfloat16"])
    """Number format of weights and activations, in learner and engines."""
    attention: str = knob("flex", choices=["sdpa", "flex"])
    """Attention over packed rows: `sdpa` with a dense [T, T] mask (CPU, short rows), or `flex`
    (FlexAttention with a block mask; the GPU default). Same numbers."""
    freeze: list[str] = knob(["audio_tower"])
    """Parts that are not trained: parameter-name prefixes below `thinker.`, such as `audio_tower`,
    `model.embed_tokens`."""
    gradient_checkpointing: bool = True
    """Recompute activations layer by layer in the backward pass: less memory, about a third more
    time."""
    logits_chunk_tokens: int = knob(1024, ge=1)
    """Completion tokens per chunk of the vocabulary projection; bounds the [chunk, V] logits."""
    float32_head: bool = False
    """Project to the vocabulary in float32, in learner and engines, whatever `dtype` is: bfloat16
    logits between 16 and 32 come in steps of 0.125."""
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass
class DataConfig:
    """Clips, prompts and their order."""

    manifest: str = "runs/demo/material/corpus/manifest.jsonl"
    """JSON Lines manifest; see docs/data.md."""
    audio_root: str = "runs/demo/material/corpus"
    """Folder that every `audio` path of the manifest is relative to and may not leave."""
    train_split: str = "train"
    """Value of `split` in the manifest's training rows."""
    tasks: list[str] = field(default_factory=list[str])
    """Values of `task` in the training rows that are used, such as `pitch`; empty = all rows."""
    system_prompt: str = (
        "You listen to speech. First reason about how it is said inside <think> </think>, "
        "then give one emotion inside <answer> </answer>."
    )
    """System message of every prompt; empty for none."""
    question: str = "Which emotion does the speaker express? Choose from: {choices}."
    """User message after the clip; `{choices}` is replaced by the labels. A manifest row may carry
    its own."""
    choices: list[str] = knob(NINE_LABELS)
    """Labels that are offered, and the only ones a manifest may contain."""
    min_duration_s: float = knob(0.1, gt=0)
    """Shortest clip, in seconds."""
    max_duration_s: float = knob(30.0, gt=0, le=300)
    """Longest clip, in seconds. The audio encoder's own limit is 300."""
    bad_clips: str = knob("error", choices=["error", "skip"])
    """What a clip that fails its check does: stop the run with a list of all, or be left out and
    counted."""
    feature_cache_mb: int = knob(512, ge=1)
    """Mel features kept in memory per node, in MB (a 10 s clip takes 0.5)."""
    num_workers: int = knob(2, ge=1)
    """Threads that decode clips and compute features ahead of the loop."""


@dataclass
class RolloutConfig:
    """The vLLM engines."""

    num_engines: int = knob(1, ge=1)
    """Engines, each a Ray actor with its own copy of the weights."""
    tensor_parallel: int = knob(1, ge=1)
    """GPUs per engine."""
    colocate: bool = False
    """Engines share the learners' GPUs and sleep during updates; otherwise they have their own."""
    gpu_memory_frac: float = knob(0.85, gt=0, le=0.98)
    """Share of a GPU's memory that an engine on a GPU of its own takes."""
    kv_cache_gib: float = knob(1.0, gt=0)
    """Key-value cache of an engine on a CPU, or colocated with a learner, in GiB; an engine on a
    GPU of its own fills `gpu_memory_frac` instead."""
    cpu_threads: int = knob(2, ge=1)
    """Threads of an engine on a CPU."""
    enforce_eager: bool = False
    """Do not compile or capture graphs; always so on a CPU."""
    group_size: int = knob(8, ge=2)
    """G, completions per prompt."""
    temperature: float = knob(1.0, gt=0)
    """Sampling temperature of training rollouts; the learner divides its logits by the same
    number."""
    max_completion_tokens: int = knob(512, ge=1)
    """Completions are cut here, end token included."""
    max_model_len: int = knob(4096, ge=16)
    """Longest prompt plus completion, in tokens."""
    max_num_seqs: int = knob(256, ge=1)
    """Completions that one engine decodes at a time."""
    timeout_s: float = knob(600.0, gt=0)
    """Longest wait for the next finished group, and for an engine to start."""


@dataclass
class SyncConfig:
    """Weights from the learner to the engines."""

    transport: str = knob("nccl", choices=["host", "nccl", "ipc"])
    """`host`: shared memory of the node (CPU); `nccl`: engines on their own GPUs; `ipc`:
    colocated."""
    bucket_mb: int = knob(512, ge=1)
    """Size of one packed transfer, in MB; bounds the extra memory on both sides."""
    timeout_s: float = knob(300.0, gt=0)
    """Deadline of one whole sync, in seconds."""


@dataclass
class AdvantageConfig:
    """From rewards to advantages, within a group."""

    normalize: str = knob("std", choices=["std", "mean", "per_term"])
    """`std`: (R - mean) / (std + 1e-4) (GRPO); `mean`: R - mean (Dr. GRPO); `per_term`: every
    reward term by itself as in `std`, then their weighted sum, scaled over the step (GDPO)."""
    tolerance: float = knob(1e-6, ge=0)
    """A group whose rewards differ by no more than this is flat: no gradient, not normalized."""
    mask_truncated: bool = False
    """Completions cut at the token limit count for the group's baseline, but are not trained on."""


@dataclass
class LossConfig:
    """What the learner minimizes."""

    kind: str = knob("policy", choices=["policy", "sft"])
    """`policy`: policy loss plus KL; `sft`: negative log-likelihood of the reference answer."""
    policy: str = knob("clip", choices=["clip", "gspo", "cispo"])
    """`clip`: ratio of each token, clipped (PPO, GRPO, DAPO); `gspo`: one ratio per completion,
    which wants clips of about 3e-4; `cispo`: clipped ratio as a fixed weight, so that no token
    loses its gradient. All the same with one update per step."""
    clip_low: float = knob(0.2, ge=0, le=1)
    """The probability ratio is clipped below 1 - clip_low."""
    clip_high: float = knob(0.2, ge=0)
    """The probability ratio is clipped above 1 + clip_high."""
    kl_coef: float = knob(0.04, ge=0)
    """Weight of the KL term against the frozen start policy; 0 = no reference model at all."""
    kl_estimator: str = knob("k3", choices=["k1", "k2", "k3"])
    """Per-token estimator of the KL divergence, as a loss term."""
    aggregation: str = knob("token_mean", choices=["token_mean", "sequence_mean"])
    """Mean over all tokens of an update on all ranks, or over completions of their token means."""
    importance_cap: float = knob(2.0, ge=0)
    """Truncated importance weight of learner over engine probabilities; 0 = off."""
    epochs: int = knob(1, ge=1)
    """Passes over a step's samples."""
    minibatches: int = knob(1, ge=1)
    """Optimizer updates per pass."""


@dataclass
class OptimConfig:
    """AdamW."""

    lr: float = knob(1e-6, gt=0)
    """Peak learning rate."""
    beta1: float = knob(0.9, ge=0, le=1)
    """Decay of the first moment."""
    beta2: float = knob(0.95, ge=0, le=1)
    """Decay of the second moment."""
    eps: float = knob(1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = knob(0.0, ge=0)
    """Decoupled weight decay."""
    warmup_steps: int = knob(0, ge=0)
    """Loop steps over which the rate rises linearly from 0."""
    schedule: str = knob("constant", choices=["constant", "linear", "cosine"])
    """Course of the rate after the warm-up, down to `min_lr_frac` at the last step."""
    min_lr_frac: float = knob(0.0, ge=0, le=1)
    """Final rate as a share of `lr`."""
    grad_clip: float = knob(1.0, gt=0)
    """Largest global gradient norm."""


@dataclass
class LearnerConfig:
    """The DeepSpeed ranks."""

    num_ranks: int = knob(1, ge=1)
    """Ranks, one GPU each (or one CPU process)."""
    zero_stage: int = knob(2, ge=1, le=3)
    """ZeRO: 1 shards optimizer state, 2 gradients as well, 3 parameters as well."""
    tokens_per_microbatch: int = knob(8192, ge=64)
    """T, token budget of one packed row; a larger single group still gets a row of its own."""
    cpu_threads: int = knob(2, ge=1)
    """Threads of a rank on a CPU."""
    timeout_s: float = knob(1800.0, gt=0)
    """Longest wait for an update, and for any collective."""


@dataclass
class TrainConfig:
    """Length and size of the run."""

    num_steps: int = knob(3000, ge=1)
    """Loop steps."""
    prompts_per_step: int = knob(16, ge=1)
    """P, prompts of one step."""
    trial_step: bool = True
    """Before the first step, run one of the largest size (longest clip and question, longest
    completions, full token budget) and forget it, so that a lack of memory shows at once."""


@dataclass
class CheckpointConfig:
    """Checkpoints and the final export."""

    every_steps: int = knob(100, ge=0)
    """Steps between checkpoints, with one at the end; 0 = none but that of a run asked to stop."""
    keep_last: int = knob(2, ge=1)
    """Newest checkpoints that are kept."""
    export: bool = True
    """Write a Hugging Face folder at the end."""


@dataclass
class LogConfig:
    """What a run writes down."""

    samples_every: int = knob(10, ge=0)
    """Steps between sample files; 0 = none."""
    tensorboard: bool = True
    """Write TensorBoard event files."""
    report: bool = True
    """Write report.html at the end of the run; `launch/report.py` does it at any time."""
    alarm_steps: int = knob(20, ge=0)
    """Steps in a row after which a judge that prefers wrong answers, or reasoning that has grown
    too long, raises an alarm line; 0 = never."""
    alarm_growth: float = knob(2.0, gt=1)
    """Length of completions, relative to the run's first steps, that counts as too long."""


@dataclass
class ParityConfig:
    """The gate before step 1: engine and learner must agree on real clips."""

    num_clips: int = knob(16, ge=0)
    """Clips that are compared; 0 = no gate."""
    max_gap: float = knob(2e-3, gt=0)
    """Largest allowed difference of one token's log-probability, in nats. In bfloat16 the largest
    of ten thousand says little: allow 2, and let the three below decide."""
    mean_gap: float = knob(5e-4, gt=0)
    """Largest allowed mean difference, in nats (bfloat16: 0.03, with `model.float32_head` half)."""
    p99_gap: float = knob(1e-3, gt=0)
    """Largest allowed 99th percentile of the differences, in nats (bfloat16: 0.25, with
    `model.float32_head` half)."""
    min_correlation: float = knob(0.995, ge=0, le=1)
    """Smallest allowed correlation of the two log-probabilities over all tokens."""


@dataclass
class RunConfig:
    """A whole run."""

    name: str = "run"
    """Name of the run; its folder is `output_dir`/`name`."""
    output_dir: str = "runs"
    """Parent of the run folder; must be absolute under `ray job submit`."""
    seed: int = knob(0, ge=0)
    """Seed of data order, sampling and initial adapters."""
    device: str = knob("cuda", choices=["cpu", "cuda"])
    """Where learner and engines run."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    sync: SyncConfig = field(default_factory=SyncConfig)
    rewards: RewardsConfig = field(default_factory=RewardsConfig)
    advantage: AdvantageConfig = field(default_factory=AdvantageConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    parity: ParityConfig = field(default_factory=ParityConfig)
