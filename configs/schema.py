"""The schema of a run: every knob once, with its unit, range and default.

Rewards, losses, evaluation and logs have files of their own, `configs/reward_schema.py`,
`configs/loss_schema.py`, `configs/eval_schema.py` and `configs/log_schema.py`; cross-field rules
are in `configs/rules.py`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.eval_schema import CONTROL_NAMES as CONTROL_NAMES
from configs.eval_schema import BenchmarkConfig as BenchmarkConfig
from configs.eval_schema import EvalConfig
from configs.judge_schema import JudgeConfig
from configs.log_schema import AlarmName as AlarmName
from configs.log_schema import LogConfig as LogConfig
from configs.loss_schema import AdvantageConfig as AdvantageConfig
from configs.loss_schema import LossConfig as LossConfig
from configs.reward_schema import RewardsConfig
from configs.reward_schema import RewardTermConfig as RewardTermConfig
from configs.reward_schema import TermScheduleConfig as TermScheduleConfig
from configs.reward_schema import TrustConfig as TrustConfig
from configs.section import Section

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
class LoraConfig(Section):
    """Low-rank adapters on the language model (peft); rank 0 trains full parameters."""

    rank: int = Field(default=0, ge=0)
    """Rank of the adapters; 0 = no adapters."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale of the adapters: their output is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, le=0.9)
    """Dropout on the adapters' input. Above 0 the learner's log-probs are noisy."""
    targets: list[str] = Field(default=["q_proj", "k_proj", "v_proj", "o_proj"])
    """Names of the language model's linear layers that get an adapter."""


@dataclass
class ModelConfig(Section):
    """The policy and how the learner holds it."""

    path: str = "runs/demo/sft/export"
    """Folder of a Qwen2.5-Omni checkpoint in Hugging Face layout (safetensors), or its hub id with
    a revision, `ORG/NAME@REVISION`, which is read from the hub's cache; docs/hub.md."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Number format of weights and activations, in learner and engines."""
    attention: Literal["sdpa", "flex"] = "flex"
    """Attention over packed rows: `sdpa` group by group (CPU, short rows), or `flex` (FlexAttention
    with a block mask; the GPU default). Same numbers."""
    freeze: list[str] = Field(default=["audio_tower"])
    """Parts that are not trained: parameter-name prefixes below `thinker.`, such as `audio_tower`,
    `model.embed_tokens`."""
    gradient_checkpointing: bool = True
    """Recompute activations layer by layer in the backward pass: less memory, some 15 % more time.
    `--dry-run` says whether the run would fit without."""
    logits_chunk_tokens: int = Field(default=1024, ge=1)
    """Completion tokens per chunk of the vocabulary projection; bounds the [chunk, V] logits. A row
    whose probabilities take more than 1 GiB computes its logits again in the backward pass."""
    float32_head: bool = False
    """Project to the vocabulary in float32, in learner and engines, whatever `dtype` is: bfloat16
    logits between 16 and 32 come in steps of 0.125."""
    adapter: str = ""
    """Folder or hub id of a peft LoRA adapter that training starts from, on `path`; needs
    `model.lora` as it was trained. Empty = fresh adapters, if any. See docs/adapters.md."""
    lora: LoraConfig = Field(default_factory=LoraConfig)


@dataclass
class DataConfig(Section):
    """Clips, prompts and their order."""

    manifest: str = "runs/demo/material/corpus/manifest.jsonl"
    """JSON Lines manifest; see docs/data.md."""
    audio_root: str = "runs/demo/material/corpus"
    """Folder that every `audio` path of the manifest is relative to and may not leave."""
    follow_links: bool = False
    """Let files and folders below an audio root be links to places outside it, such as the store of
    a data set's cache, DVC or git-annex; for benchmarks too."""
    train_split: str = "train"
    """Value of `split` in the manifest's training rows."""
    tasks: list[str] = Field(default=[])
    """Values of `task` in the training rows that are used, such as `pitch`; empty = all rows."""
    system_prompt: str = (
        "You listen to speech. First reason about how it is said inside <think> </think>, "
        "then give one emotion inside <answer> </answer>."
    )
    """System message of every prompt; empty for none."""
    question: str = "Which emotion does the speaker express? Choose from: {choices}."
    """User message after the clip; `{choices}` is replaced by the labels. A manifest row may carry
    its own."""
    choices: list[str] = Field(default=NINE_LABELS)
    """Labels that are offered, and the only ones a manifest may contain."""
    min_duration_s: float = Field(default=0.1, gt=0)
    """Shortest clip, in seconds."""
    max_duration_s: float = Field(default=30.0, gt=0, le=300)
    """Longest clip, in seconds. The audio encoder's own limit is 300."""
    bad_clips: Literal["error", "skip"] = "error"
    """What a row does that cannot be used, since its clip fails its check, its texts do, or it is
    too long for the run: stop the run with a list of all, or be left out and counted."""
    balance: Literal["none", "label"] = "none"
    """`label`: training prompts come label by label in turn, so that batches have equally many of
    each; rows of rare labels then come more often. `none`: as often as the rows have them."""
    feature_cache_mb: int = Field(default=512, ge=1)
    """Mel features kept in memory per node, in MB (a 10 s clip takes 0.5)."""
    num_workers: int = Field(default=2, ge=1)
    """Threads that decode clips and compute features ahead of the loop, and processes that read a
    large manifest."""


MoveName = Literal["pitch", "rate", "energy"]


@dataclass
class CounterfactualConfig(Section):
    """Counterfactual pairs: half of a group hears its clip moved; docs/rewards.md."""

    moves: list[MoveName] = Field(default=[])
    """What is moved, one of these for each prompt, drawn from the seed like up or down; empty = no
    pairs. Both halves hear the clip through a vocoder."""
    pitch_st: float = Field(default=4.0, ge=1, le=12)
    """Size of a move of `pitch`, in semitones."""
    rate: float = Field(default=1.25, ge=1.05, le=2)
    """Size of a move of `rate`, as a factor of the speed."""
    energy_db: float = Field(default=6.0, ge=1, le=20)
    """Size of a move of `energy`, in dB."""

    @property
    def max_stretch(self) -> float:
        """Factor by which a clip gets longer at most."""
        return self.rate if "rate" in self.moves else 1.0


@dataclass
class RolloutConfig(Section):
    """The vLLM engines."""

    num_engines: int = Field(default=1, ge=1)
    """Engines, each a Ray actor with its own copy of the weights."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs per engine."""
    colocate: bool = False
    """Engines share the learners' GPUs and sleep during updates; otherwise they have their own."""
    gpu_memory_frac: float = Field(default=0.85, gt=0, le=0.98)
    """Share of a GPU's memory that an engine on a GPU of its own takes."""
    kv_cache_gib: float = Field(default=1.0, gt=0)
    """Key-value cache of an engine on a CPU, or colocated with a learner, in GiB; an engine on a
    GPU of its own fills `gpu_memory_frac` instead."""
    cpu_threads: int = Field(default=2, ge=1)
    """Threads of an engine on a CPU."""
    enforce_eager: bool = False
    """Do not compile or capture graphs; always so on a CPU."""
    group_size: int = Field(default=8, ge=2)
    """G, completions per prompt."""
    temperature: float = Field(default=1.0, gt=0)
    """Sampling temperature of training rollouts; the learner divides its logits by the same
    number."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Training rollouts sample among the likeliest tokens that add up to this share, and the
    learner's log-probs are those among them; 1 = all tokens."""
    top_k: int = Field(default=0, ge=0)
    """The same among as many of the likeliest tokens; 0 = all. With both, `top_p` is a share of
    these."""
    max_completion_tokens: int = Field(default=512, ge=1)
    """Completions are cut here, end token included."""
    allow_truncated: bool = False
    """A completion that is well-formed when it is cut counts as such; else it is malformed
    (`truncated`), since whoever never ends has not learned the end token."""
    max_model_len: int = Field(default=4096, ge=16)
    """Longest prompt plus completion, in tokens."""
    max_num_seqs: int = Field(default=256, ge=1)
    """Completions that one engine decodes at a time."""
    timeout_s: float = Field(default=600.0, gt=0)
    """Longest wait for an engine to start, and for its answer to a call, in seconds."""
    progress_timeout_s: float = Field(default=120.0, gt=0)
    """Longest silence of an engine at work, in seconds: one that has not decoded for so long, or
    does not answer before new weights come, is replaced. Longer than any single decoding step."""
    max_engine_restarts: int = Field(default=8, ge=0)
    """Engines that may be replaced because they died or hung; one more ends the run. 20 steps in a
    row without such a failure start the count anew. 0 = the first one ends the run."""
    counterfactual: CounterfactualConfig = Field(default_factory=CounterfactualConfig)


@dataclass
class SyncConfig(Section):
    """Weights from the learner to the engines."""

    transport: Literal["host", "nccl", "ipc"] = "nccl"
    """`host`: shared memory of the node (CPU); `nccl`: engines on their own GPUs; `ipc`:
    colocated."""
    bucket_mb: int = Field(default=512, ge=1)
    """Size of one packed transfer, in MB; bounds the extra memory on both sides."""
    timeout_s: float = Field(default=300.0, gt=0)
    """Longest wait for the engines' answers in a sync, in seconds; an engine that gives none is
    replaced. A whole sync takes at most twice as long, or the run ends."""


@dataclass
class AsyncConfig(Section):
    """Generation beside the learner: see docs/architecture.md#pipelining."""

    max_staleness: int = Field(default=0, ge=0, le=8)
    """Most updates between the weights that sample a completion and those that learn from it. 0:
    strictly on-policy. 1: the next step is sampled while this one is scored and learned. More:
    steps after it too, which hides slow scores and steps of uneven length."""
    in_flight: bool = False
    """New weights reach the engines while they sample, so that none ever waits for the longest
    completion of a step. A seeded run then no longer repeats. Off: between two steps."""


@dataclass
class OptimConfig(Section):
    """AdamW."""

    lr: float = Field(default=1e-6, gt=0)
    """Peak learning rate."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the first moment."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """Decay of the second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """Added to the root of the second moment."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay."""
    warmup_steps: int = Field(default=0, ge=0)
    """Loop steps over which the rate rises linearly from 0."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the rate after the warm-up, down to `min_lr_frac` at the last step."""
    min_lr_frac: float = Field(default=0.0, ge=0, le=1)
    """Final rate as a share of `lr`."""
    grad_clip: float = Field(default=1.0, gt=0)
    """Largest global gradient norm."""


@dataclass
class LearnerConfig(Section):
    """The DeepSpeed ranks."""

    num_ranks: int = Field(default=1, ge=1)
    """Ranks, one GPU each (or one CPU process)."""
    zero_stage: int = Field(default=2, ge=1, le=3)
    """ZeRO: 1 shards optimizer state, 2 gradients as well, 3 parameters as well."""
    tokens_per_microbatch: int = Field(default=8192, ge=64)
    """T, most tokens of one packed row; a larger single group still gets a row of its own. Rows are
    filled evenly, not to the brim."""
    cpu_threads: int = Field(default=2, ge=1)
    """Threads of a rank on a CPU."""
    timeout_s: float = Field(default=1800.0, gt=0)
    """Longest wait for an update, and for any collective."""


@dataclass
class TrainConfig(Section):
    """Length and size of the run."""

    num_steps: int = Field(default=3000, ge=1)
    """Loop steps."""
    prompts_per_step: int = Field(default=16, ge=1)
    """P, prompts of one step."""
    stop_grace_s: float = Field(default=120.0, ge=0)
    """Longest wait, in seconds from a request to stop, for completions and scores of the step that
    is on its way; then the step before is saved and the run leaves. Evaluations stop at once."""
    trial_step: bool = True
    """Before the first step, run one of the largest size (longest clip and question, longest
    completions, full token budget) and forget it, so that a lack of memory shows at once."""
    max_restarts: int = Field(default=0, ge=0)
    """Times that the command starts again by itself, from the newest good checkpoint, after a
    process or node died or hung; a restart that led to no new checkpoint counts twice. What lies
    in data, settings or code ends the run at once."""


@dataclass
class CheckpointConfig(Section):
    """Checkpoints and the final export."""

    every_steps: int = Field(default=100, ge=0)
    """Steps between checkpoints, with one at the end; 0 = none but that of a run asked to stop."""
    background: bool = True
    """Write checkpoints while the run goes on, from a copy of what they hold in host memory, which
    is kept from one to the next: 12 bytes a trained weight, shared by the ranks, and the trained
    weights themselves. Off: the run waits until they are written."""
    keep_last: int = Field(default=2, ge=1)
    """Newest checkpoints that are kept."""
    best_metric: str = ""
    """Metric by which one more checkpoint is kept, the best so far, such as `eval/ua`; it must be
    in the row of the checkpoint's own step. Empty = none."""
    best_is: Literal["higher", "lower"] = "higher"
    """Which values of `best_metric` are better."""
    export: bool = True
    """Write a Hugging Face folder at the end, `export`; with `best_metric` another one of the best
    checkpoint, `best`."""
    push_to_hub: str = ""
    """Hub repository, `ORG/NAME`, that the export is pushed to once the run has finished, private
    if it is new; needs a token in HF_TOKEN. Empty = none; see `launch/push.py`."""


@dataclass
class EarlyStopConfig(Section):
    """The end of an RL run before `train.num_steps`, once a metric no longer gets better."""

    metric: str = ""
    """Metric that is watched, such as `eval/ua`; empty = none. Steps without it do not count."""
    better: Literal["higher", "lower"] = "higher"
    """Which values are better."""
    patience: int = Field(default=5, ge=1)
    """Values in a row, none better than the best before, after which the run ends."""
    min_delta: float = Field(default=0.0, ge=0)
    """By how much more a value must beat the best to be better, in the metric's unit."""


@dataclass
class ParityConfig(Section):
    """The gate before step 1: engine and learner must agree on real clips."""

    num_clips: int = Field(default=16, ge=0)
    """Clips that are compared; 0 = no gate."""
    max_gap: float = Field(default=2e-3, gt=0)
    """Largest allowed difference of one token's log-probability, in nats. In bfloat16 the largest
    of ten thousand says little: allow 2, and let the three below decide."""
    mean_gap: float = Field(default=5e-4, gt=0)
    """Largest allowed mean difference, in nats (bfloat16: 0.03, with `model.float32_head` half)."""
    p99_gap: float = Field(default=1e-3, gt=0)
    """Largest allowed 99th percentile of the differences, in nats (bfloat16: 0.25, with
    `model.float32_head` half)."""
    min_correlation: float = Field(default=0.995, ge=0, le=1)
    """Smallest allowed correlation of the two log-probabilities over all tokens."""


@dataclass
class ResumeConfig(Section):
    """What a resumed run may change beyond what is free to change."""

    allow: list[str] = Field(default=[])
    """Method settings that may differ from those the run was started with, such as
    `[optim.lr, rewards.terms.1.weight]`; each change is logged and written to starts.jsonl."""


@dataclass
class RunConfig(Section):
    """A whole run."""

    name: str = "run"
    """Name of the run; its folder is `output_dir`/`name`."""
    output_dir: str = "runs"
    """Parent of the run folder; must be absolute under `ray job submit`."""
    seed: int = Field(default=0, ge=0)
    """Seed of data order, sampling and initial adapters."""
    device: Literal["cpu", "cuda"] = "cuda"
    """Where learner and engines run."""
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    rollout: RolloutConfig = Field(default_factory=RolloutConfig)
    sync: SyncConfig = Field(default_factory=SyncConfig)
    # A word of Python's own: the key is `async`.
    async_: AsyncConfig = Field(default_factory=AsyncConfig, alias="async")
    rewards: RewardsConfig = Field(default_factory=RewardsConfig)
    advantage: AdvantageConfig = Field(default_factory=AdvantageConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    optim: OptimConfig = Field(default_factory=OptimConfig)
    learner: LearnerConfig = Field(default_factory=LearnerConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    eval: EvalConfig = Field(default_factory=EvalConfig)
    judge: JudgeConfig = Field(default_factory=JudgeConfig)
    checkpoint: CheckpointConfig = Field(default_factory=CheckpointConfig)
    early_stop: EarlyStopConfig = Field(default_factory=EarlyStopConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    parity: ParityConfig = Field(default_factory=ParityConfig)
    resume: ResumeConfig = Field(default_factory=ResumeConfig)
