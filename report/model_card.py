"""The model card of an export: README.md in Hugging Face layout, filled from the run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data.files import write_atomically
from data.manifest import fill_choices
from evaluation.formats import bullets, code_span, escape, indented
from report.card_results import limits, results
from report.describe_run import (
    machine_words,
    method_words,
    optimiser_words,
    reward_words,
    split_words,
    used_splits,
    version_words,
)
from report.run_facts import RunFacts, judged_terms, read_facts
from rewards.judges.base import DIMENSIONS
from trainer.export import BASE_CARD, CARD
from trainer.progress import duration
from trainer.run_folder import RunFolder

TAG = "cadence-rl"
"""Tag by which a card of ours is known again."""

INHERITED = ("license", "license_name", "license_link", "language")
"""Keys of the start checkpoint's header that hold for what is trained from it."""

USE = """\
```python
import soundfile
from transformers import AutoProcessor, Qwen2_5OmniThinkerForConditionalGeneration

folder = "."  # this folder
processor = AutoProcessor.from_pretrained(folder)
model = Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(folder, dtype="auto")
messages = {messages}
samples, rate = soundfile.read("clip.wav")  # one channel, 16 kHz
text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
inputs = processor(text=text, audio=samples, sampling_rate=rate, return_tensors="pt")
tokens = model.generate(**inputs, max_new_tokens={max_tokens}, do_sample=False)
print(processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :])[0])
```"""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card is written from."""

    run: RunFacts
    start_name: str
    """Name of the checkpoint that the run started from: a hub id or a folder's name."""
    start_header: Mapping[str, Any]
    """YAML header of that checkpoint's own card; empty if it has none."""


def write_model_card(folder: RunFolder) -> Path:
    """Write the card of a run's export and return its path.

    Args:
        folder: Of a run whose export is written.

    Raises:
        OSError: The card cannot be written.
    """
    run = read_facts(folder.root)
    path = folder.export_dir / CARD
    write_atomically(path, model_card(card_facts(run)))
    return path


def card_facts(run: RunFacts) -> CardFacts:
    """Return a run's facts with what the card of its start checkpoint says."""
    start = Path(run.config["model"]["path"])
    card = start / CARD
    header = front_matter(card.read_text(encoding="utf-8")) if card.is_file() else {}
    return CardFacts(run, checkpoint_name(start, header), header)


def checkpoint_name(start: Path, header: Mapping[str, Any]) -> str:
    """Return how to call a start checkpoint.

    Args:
        start: Its folder.
        header: Of its card.

    Returns:
        The base of an export of ours, which is not published itself; the hub id, if the folder is
        one of the hub's cache (`models--OWNER--NAME/snapshots/...`); otherwise the folder's name.
    """
    if TAG in _texts(header.get("tags")) and header.get("base_model"):
        return str(header["base_model"])
    cached = re.search(r"models--(.+?)--([^/]+)/snapshots/", f"{start.resolve()}/")
    return f"{cached[1]}/{cached[2]}" if cached else start.resolve().name


def front_matter(card: str) -> dict[str, Any]:
    """Return the YAML header of a card; empty if it has none that can be read."""
    found = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", card, re.DOTALL)
    try:
        header = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}


def model_card(facts: CardFacts) -> str:
    """Return the card: a YAML header, then Markdown.

    What is missing in the facts is said to be missing. Names and paths are escaped: they can hold
    anything.

    Args:
        facts: Of a run; it may be unfinished.
    """
    run = facts.run
    parts = [
        _header(facts),
        f"# {escape(run.config['name'])}",
        _what(facts),
        "## How it was made",
        _made(run),
        "## Results",
        *results(run),
        "## Limits",
        bullets(limits(run)),
        "## How to use",
        *_use(run),
        "## Licence",
        _licence(facts),
        "## Make it again",
        *_again(run),
    ]
    return "\n\n".join(parts) + "\n"


def _header(facts: CardFacts) -> str:
    kind = "reinforcement-learning" if facts.run.is_rl else "supervised-fine-tuning"
    kind = "judge" if facts.run.is_judge else kind
    header = {
        # Licence and languages are the start checkpoint's; what its card does not say is left out.
        **{key: facts.start_header[key] for key in INHERITED if key in facts.start_header},
        "base_model": facts.start_name,
        "library_name": "transformers",
        "pipeline_tag": "audio-text-to-text",
        "tags": [TAG, "audio", "speech-emotion-recognition", "reasoning", kind],
    }
    return "---\n" + yaml.safe_dump(header, sort_keys=False, allow_unicode=True) + "---"


def _what(facts: CardFacts) -> str:
    local = "" if "/" in facts.start_name else " (a local folder; `base_model` wants the hub's id)"
    start = f"It started from {code_span(facts.start_name)}{local}."
    if facts.run.is_judge:
        dimensions = ", ".join(name.replace("_", " ") for name in DIMENSIONS)
        return (
            "A judge of reasoning about speech: it hears a clip, reads what was said about the "
            f"voice, and gives 1 to 5 for each of: {dimensions}. {start}"
        )
    labels = ", ".join(map(escape, facts.run.config["data"]["choices"]))
    return (
        "A speech emotion model: it hears a clip, reasons about how it is said between `<think>` "
        "and `</think>`, and answers one of these labels between `<answer>` and `</answer>`: "
        f"{labels}. {start}"
    )


def _made(run: RunFacts) -> str:
    config = run.config
    num_steps = config["train"]["num_steps"]
    lines = [escape(method_words(run)), f"Done: {run.step} of {num_steps} steps."]
    for split, use in used_splits(run).items():
        found = run.splits.get(split)
        origin = ""
        if found and found.datasets:
            shares = [f"{escape(name)} {count:,}" for name, count in sorted(found.datasets.items())]
            origin = f" (corpora: {', '.join(shares)})"
        lines.append(f"Data, {use}: split {escape(split)}, {split_words(found)}{origin}.")
    if run.is_rl:
        lines += [
            f"Reward {escape(name)}: {escape(words)}." for name, words in reward_words(config)
        ]
    opened = {k: v for k, v in run.last("gate").items() if k.endswith("_opened_at")}
    for name in judged_terms(config) if run.is_rl else []:
        if f"{name}_open" in run.last("gate"):
            step = opened.get(f"{name}_opened_at")
            when = "never opened" if step is None else f"opened after step {step:.0f}"
            lines.append(f"The gate of {escape(name)} {when}.")
    lines += [
        f"Optimiser: {escape(optimiser_words(config))}.",
        f"Seed: {config['seed']}. Number format: {escape(config['model']['dtype'])}.",
        f"Time: {duration(run.seconds())} for all steps. Machine: {escape(machine_words(run))}.",
        f"Versions: {escape(version_words(run))}.",
    ]
    return bullets(lines)


def _use(run: RunFacts) -> list[str]:
    if run.is_judge:
        return [
            "As `judge: rewards.judges.local:LocalJudge` of a reasoning term, with this folder as "
            "`model_path` and the message template that it was trained with "
            "(`judge.prompt_file`). `launch/calibrate.py` says how far it can be believed."
        ]
    config = run.config
    data = config["data"]
    question = fill_choices(data["question"], data["choices"])
    user = [{"type": "audio", "audio": "clip.wav"}, {"type": "text", "text": question}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": user}]
    if data["system_prompt"]:
        system = [{"type": "text", "text": data["system_prompt"]}]
        messages.insert(0, {"role": "system", "content": system})
    code = USE.format(
        messages=json.dumps(messages, ensure_ascii=False),
        max_tokens=config["rollout"]["max_completion_tokens"],
    )
    return [
        f"Clips of {data['min_duration_s']:g} to {data['max_duration_s']:g} s, one speaker. Ask as "
        "in training, the clip before the question:",
        code,
        "The answer looks like `<think>...</think><answer>LABEL</answer>`. Weights of the talker "
        "(speech output) and of the vision tower are the start checkpoint's.",
    ]


def _licence(facts: CardFacts) -> str:
    licence = facts.start_header.get("license_name") or facts.start_header.get("license")
    if licence is None:
        return (
            "The start checkpoint names no licence in its card. Find out what it is under before "
            "these weights are passed on; the licences of the training data may add to it."
        )
    return (
        f"As the start checkpoint: {escape(licence)} (its card is kept as `{BASE_CARD}`). The "
        "licences of the training data may add to it."
    )


def _again(run: RunFacts) -> list[str]:
    command = run.status["resume_cmd"]
    if not command:
        return ["The command was not recorded; `config.yaml` of the run folder has all settings."]
    manifest, start = run.config["data"]["manifest"], run.config["model"]["path"]
    return [
        indented(command),
        f"with the manifest {code_span(manifest)} and the start checkpoint {code_span(start)}; "
        "`config.yaml` of the run folder has all settings.",
    ]


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
