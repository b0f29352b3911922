"""The schema of the data pipeline: from a corpus on disk to files for SFT and for the judge."""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from configs.section import Section


@dataclass
class SplitsConfig(Section):
    """Who is trained on and who is tested on."""

    by: Literal["corpus", "official", "session", "speaker", "id", "keep"] = "corpus"
    """`official`: as the corpus says; `session`, `speaker`: no session or speaker is in two
    splits; `corpus`: the one of these that the corpus is usually split by; `id`: clip by clip,
    whoever speaks; `keep`: whatever the manifest says."""
    test: list[str] = Field(default=[])
    """Speakers or sessions of the test split; empty = drawn."""
    eval: list[str] = Field(default=[])
    """The same for the eval split."""
    test_frac: float = Field(default=0.2, ge=0, le=0.9)
    """Share of the clips whose speakers or sessions are drawn for the test split."""
    eval_frac: float = Field(default=0.1, ge=0, le=0.9)
    """The same for the eval split."""
    fold: int = Field(default=0, ge=0)
    """Fold whose test set is the test split, of rows with `fold` (EmoBox); the others are trained
    on, but for rows of an official eval split. 0 = the corpus's own split."""
    allow: list[str] = Field(default=[])
    """What two splits may share: of `speaker`, `session`, `transcript`, `sha256`, and
    `unknown_speaker` for rows of which nobody can tell. What a corpus shares by design is allowed
    anyway, and printed."""


@dataclass
class ReasoningConfig(Section):
    """Reference reasoning, written and checked."""

    source: Literal["template", "server", "none"] = "template"
    """`template`: offline, from the measured cues; `server`: any OpenAI-compatible one; `none`:
    keep what the rows have."""
    splits: list[str] = Field(default_factory=lambda: ["train"])
    """Splits whose rows get reasoning."""
    max_attempts: int = Field(default=3, ge=1)
    """Texts per row, until one has no fault."""
    min_words: int = Field(default=12, ge=1)
    """Shortest text, in words."""
    max_words: int = Field(default=250, ge=1)
    """Longest text, in words."""
    margin: float = Field(default=0.25, ge=0)
    """Distance to another level, in standard deviations, within which a claim of it is let pass."""
    url: str = ""
    """Base address of the server, such as `http://127.0.0.1:8000/v1`."""
    model: str = ""
    """Name of the model there."""
    api_key_env: str = ""
    """Environment variable that holds the key; empty = no key."""
    prompt_file: str = ""
    """Template of the message; empty = `annotate/cot/prompt.txt`."""
    temperature: float = Field(default=1.0, ge=0)
    """Sampling temperature."""
    max_tokens: int = Field(default=512, ge=1)
    """Longest reply, in tokens."""
    concurrency: int = Field(default=16, ge=1)
    """Calls under way at a time."""
    calls_per_minute: float = Field(default=0.0, ge=0)
    """Calls that may begin in a minute; 0 = any number."""
    timeout_s: float = Field(default=120.0, gt=0)
    """Longest time of one attempt of a call, in seconds; a call has three within twice that."""
    max_calls: int = Field(default=0, ge=0)
    """Calls over all runs into one folder; 0 = any number."""
    max_cost: float = Field(default=0.0, ge=0)
    """Cost over all runs into one folder, in the currency of the prices; 0 = any."""
    prompt_price: float = Field(default=0.0, ge=0)
    """Price of a million prompt tokens."""
    completion_price: float = Field(default=0.0, ge=0)
    """Price of a million completion tokens."""
    review: int = Field(default=50, ge=0)
    """Texts in the sheet for human review; 0 = no sheet."""


@dataclass
class TasksConfig(Section):
    """The file for supervised fine-tuning."""

    num_rows: int = Field(default=0, ge=0)
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
    margin: float = Field(default=0.25, ge=0)
    """Distance to another level, in standard deviations, that a level must have to be asked for."""
    probe_split: str = "test"
    """Split whose clips the probes ask about."""
    num_probes: int = Field(default=0, ge=0)
    """Held-out questions of each of `pitch`, `energy`, `rate`, `intonation` and `stress` that has a
    share, in `probes/TASK.jsonl`; 0 = no files."""
    text_file: str = ""
    """JSON Lines of {"question", "target"} for the task `text`; empty = deliveries described in
    words."""


@dataclass
class JudgeRowsConfig(Section):
    """The file for training a judge."""

    num_rows: int = Field(default=0, ge=0)
    """Rows of the file; 0 = no file."""
    split: str = "train"
    """Split whose clips are used."""
    runs: list[str] = Field(default=[])
    """Run folders whose scored samples are added to texts of prescribed quality."""
    term: str = "reasoning"
    """Reward term of those runs whose scores are taken."""
    test_split: str = "test"
    """Split of the clips that held-out rows are about."""
    num_test_rows: int = Field(default=0, ge=0)
    """Held-out rows of prescribed quality in the same file; 0 = none."""


@dataclass
class SourceConfig(Section):
    """Data of your own: `corpus=table`, `folders`, `chat`, `kaldi`, `lhotse` or `hf`."""

    name: str = ""
    """Name of the data set, which ids begin with; empty = the name of the root folder."""
    files: list[str] = Field(default=[])
    """Tables or manifests (Kaldi: folders), from the root or from here; empty = the only one in the
    root, or all if they are named as splits (`train.csv`, `test.csv`)."""
    columns: dict[str, str] = Field(default={})
    """Field -> column: of `audio`, `label`, `id`, `speaker`, `session`, `text`, `split`, `sex`,
    `lang`, `start`, `end`, `duration` (seconds). What is not given is guessed from the usual names,
    and said; an empty column ignores the field."""
    delimiter: str = ""
    """Between the fields of a CSV file; empty = by its first line. `tab` is a tab."""
    encoding: str = ""
    """Of text files that are not in Unicode, such as `shift_jis`; empty = found where it is
    clear."""
    pattern: str = ""
    """Regular expression with named groups: of a clip's path below the root without its extension
    (`folders`), or searched in the reply (`chat`). Groups are fields as in `columns`."""
    missing: Literal["error", "skip"] = "error"
    """Rows whose clip is not there, or without a label: refused, or left out and counted."""


@dataclass
class AnnotateConfig(Section):
    """From a corpus on disk to files that runs can use."""

    corpus: str = ""
    """Name of the corpus, such as `ravdess`, or of a kind of source: `table`, `folders`, `chat`,
    `kaldi`, `lhotse`, `hf` (docs/sources.md); empty = `manifest` is given."""
    root: str = ""
    """Folder of the corpus, which every `audio` path is relative to."""
    follow_links: bool = False
    """Let files and folders below the root be links to places outside it, such as the store of a
    data set's cache, DVC or git-annex; runs on the files need `data.follow_links=true` as well."""
    manifest: str = ""
    """A manifest of your own, in place of a corpus."""
    output: str = ""
    """Folder that everything is written into; empty = `runs/data/` and the name of the corpus, of
    the source's data set, or of the manifest."""
    labels: str = "nine"
    """Label map of the corpus: `nine` (the paper's labels), `own` (the benchmark's; of a source,
     its labels as they are), or a YAML file."""
    alignments: str = ""
    """Folder of TextGrid, CTM or .wdseg files that say where the words of the clips are; empty =
    only rows with `words` can ask for stressed words."""
    choices: list[str] = Field(default=[])
    """Labels that a manifest of your own, or a source with `labels=own`, may have; empty = those
    that it has."""
    min_duration_s: float = Field(default=0.1, gt=0)
    """Shortest clip, in seconds."""
    max_duration_s: float = Field(default=30.0, gt=0, le=300)
    """Longest clip, in seconds."""
    workers: int = Field(default=2, ge=1)
    """Processes of this machine that measure and alter clips."""
    ray: str = ""
    """Ray cluster whose CPUs measure the clips, on all of its nodes: `HOST:PORT` of its head, or
    `auto` for that of the job, of `RAY_ADDRESS`, or on this machine; empty = no cluster."""
    seed: int = Field(default=0, ge=0)
    """Draws splits, wordings and mixes."""
    source: SourceConfig = Field(default_factory=SourceConfig)
    splits: SplitsConfig = Field(default_factory=SplitsConfig)
    reasoning: ReasoningConfig = Field(default_factory=ReasoningConfig)
    tasks: TasksConfig = Field(default_factory=TasksConfig)
    judge: JudgeRowsConfig = Field(default_factory=JudgeRowsConfig)
