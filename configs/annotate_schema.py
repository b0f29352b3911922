"""The schema of the data pipeline: from a corpus on disk to files for SFT and for the judge."""

from __future__ import annotations

from dataclasses import dataclass, field

from configs.knob import knob


@dataclass
class SplitsConfig:
    """Who is trained on and who is tested on."""

    by: str = knob("corpus", choices=["corpus", "official", "session", "speaker", "keep"])
    """`official`: as the corpus says; `session`, `speaker`: no session or speaker is in two
    splits; `corpus`: the one of these that the corpus is usually split by; `keep`: whatever the
    manifest says."""
    test: list[str] = field(default_factory=list[str])
    """Speakers or sessions of the test split; empty = drawn."""
    eval: list[str] = field(default_factory=list[str])
    """The same for the eval split."""
    test_frac: float = knob(0.2, ge=0, le=0.9)
    """Share of the clips whose speakers or sessions are drawn for the test split."""
    eval_frac: float = knob(0.1, ge=0, le=0.9)
    """The same for the eval split."""
    allow: list[str] = field(default_factory=list[str])
    """What two splits may share: of `speaker`, `session`, `transcript`, `sha256`. What a corpus
    shares by design is allowed anyway, and printed."""


@dataclass
class ReasoningConfig:
    """Reference reasoning, written and checked."""

    source: str = knob("template", choices=["template", "server", "none"])
    """`template`: offline, from the measured cues; `server`: any OpenAI-compatible one; `none`:
    keep what the rows have."""
    splits: list[str] = field(default_factory=lambda: ["train"])
    """Splits whose rows get reasoning."""
    max_attempts: int = knob(3, ge=1)
    """Texts per row, until one has no fault."""
    min_words: int = knob(12, ge=1)
    """Shortest text, in words."""
    max_words: int = knob(250, ge=1)
    """Longest text, in words."""
    margin: float = knob(0.25, ge=0)
    """Distance to another level, in standard deviations, within which a claim of it is let pass."""
    url: str = ""
    """Base address of the server, such as `http://127.0.0.1:8000/v1`."""
    model: str = ""
    """Name of the model there."""
    api_key_env: str = ""
    """Environment variable that holds the key; empty = no key."""
    prompt_file: str = ""
    """Template of the message; empty = `annotate/cot/prompt.txt`."""
    temperature: float = knob(1.0, ge=0)
    """Sampling temperature."""
    max_tokens: int = knob(512, ge=1)
    """Longest reply, in tokens."""
    concurrency: int = knob(16, ge=1)
    """Calls under way at a time."""
    calls_per_minute: float = knob(0.0, ge=0)
    """Calls that may begin in a minute; 0 = any number."""
    timeout_s: float = knob(120.0, gt=0)
    """Longest time of one attempt of a call, in seconds; a call has three within twice that."""
    max_calls: int = knob(0, ge=0)
    """Calls over all runs into one folder; 0 = any number."""
    max_cost: float = knob(0.0, ge=0)
    """Cost over all runs into one folder, in the currency of the prices; 0 = any."""
    prompt_price: float = knob(0.0, ge=0)
    """Price of a million prompt tokens."""
    completion_price: float = knob(0.0, ge=0)
    """Price of a million completion tokens."""
    review: int = knob(50, ge=0)
    """Texts in the sheet for human review; 0 = no sheet."""


@dataclass
class TasksConfig:
    """The file for supervised fine-tuning."""

    num_rows: int = knob(0, ge=0)
    """Rows of the file; 0 = no file."""
    split: str = "train"
    """Split whose clips are used."""
    shares: dict[str, float] = field(
        default_factory=lambda: {
            "emotion": 2.0,
            "pitch": 1.0,
            "energy": 1.0,
            "rate": 1.0,
            "intonation": 1.0,
            "comparison": 1.0,
            "asr": 1.75,
            "text": 1.75,
        }
    )
    """Task -> its share; only ratios count. Tasks: `emotion` (the answer with its reasoning),
    `pitch`, `energy`, `rate`, `intonation`, `comparison`, `stress` (needs alignments), `asr`,
    `text`."""
    margin: float = knob(0.25, ge=0)
    """Distance to another level, in standard deviations, that a level must have to be asked for."""
    probe_split: str = "test"
    """Split whose clips the probes ask about."""
    num_probes: int = knob(0, ge=0)
    """Held-out questions of each of `pitch`, `energy`, `rate`, `intonation` and `stress` that has a
    share, in `probes/TASK.jsonl`; 0 = no files."""
    text_file: str = ""
    """JSON Lines of {"question", "target"} for the task `text`; empty = deliveries described in
    words."""


@dataclass
class JudgeRowsConfig:
    """The file for training a judge."""

    num_rows: int = knob(0, ge=0)
    """Rows of the file; 0 = no file."""
    split: str = "train"
    """Split whose clips are used."""
    runs: list[str] = field(default_factory=list[str])
    """Run folders whose scored samples are added to texts of prescribed quality."""
    term: str = "reasoning"
    """Reward term of those runs whose scores are taken."""
    test_split: str = "test"
    """Split of the clips that held-out rows are about."""
    num_test_rows: int = knob(0, ge=0)
    """Held-out rows of prescribed quality in the same file; 0 = none."""


@dataclass
class AnnotateConfig:
    """From a corpus on disk to files that runs can use."""

    corpus: str = ""
    """Name of the corpus, such as `ravdess`; empty = `manifest` is given."""
    root: str = ""
    """Folder of the corpus, which every `audio` path is relative to."""
    manifest: str = ""
    """A manifest of your own, in place of a corpus."""
    output: str = ""
    """Folder that everything is written into; empty = `runs/data/` and the name of the corpus, or
    of the manifest."""
    labels: str = "nine"
    """Label map of the corpus: `nine` (the paper's labels), `own` (the benchmark's), or a YAML
    file."""
    choices: list[str] = field(default_factory=list[str])
    """Labels that a manifest of your own may have; empty = those that it has."""
    min_duration_s: float = knob(0.1, gt=0)
    """Shortest clip, in seconds."""
    max_duration_s: float = knob(30.0, gt=0, le=300)
    """Longest clip, in seconds."""
    workers: int = knob(2, ge=1)
    """Processes that measure and alter clips."""
    seed: int = knob(0, ge=0)
    """Draws splits, wordings and mixes."""
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    reasoning: ReasoningConfig = field(default_factory=ReasoningConfig)
    tasks: TasksConfig = field(default_factory=TasksConfig)
    judge: JudgeRowsConfig = field(default_factory=JudgeRowsConfig)
