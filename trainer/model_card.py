"""The model card of an export: README.md in Hugging Face layout, filled from the run folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from data.judge_data import DIMENSIONS
from data.manifest import fill_choices
from trainer.console import duration
from trainer.export import BASE_CARD, CARD
from trainer.markdown import bullets, code_span, escape, indented, table
from trainer.run_facts import RunFacts, alarms_of, judged_terms, read_facts
from trainer.run_folder import RunFolder, write_atomically
from trainer.run_words import (
    machine_words,
    method_words,
    optimiser_words,
    reward_words,
    split_words,
    used_splits,
    version_words,
)

TAG = "cadence-rl"
"""Tag by which a card of ours is known again."""

INHERITED = ("license", "license_name", "license_link", "language")
"""Keys of the start checkpoint's header that hold for what is trained from it."""

FACTS = "factual_alignment"

MAX_ALARMS = 5

RESULTS = {
    "accuracy": "accuracy (WA)",
    "ua": "mean recall of the emotions (UA)",
    "macro_f1": "macro F1",
    "format_frac": "readable answers",
}
"""Metrics of an evaluation that are shares, and their names."""

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
        *_results(run),
        "## Limits",
        bullets(_limits(run)),
        "## How to use",
        *_use(run.config),
        "## Licence",
        _licence(facts),
        "## Make it again",
        *_again(run),
    ]
    return "\n\n".join(parts) + "\n"


def _header(facts: CardFacts) -> str:
    kind = "reinforcement-learning" if facts.run.is_rl else "supervised-fine-tuning"
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
    labels = ", ".join(map(escape, facts.run.config["data"]["choices"]))
    local = "" if "/" in facts.start_name else " (a local folder; `base_model` wants the hub's id)"
    return (
        "A speech emotion model: it hears a clip, reasons about how it is said between `<think>` "
        "and `</think>`, and answers one of these labels between `<answer>` and `</answer>`: "
        f"{labels}. It started from {code_span(facts.start_name)}{local}."
    )


def _made(run: RunFacts) -> str:
    config = run.config
    num_steps = config["train"]["num_steps"]
    lines = [escape(method_words(config)), f"Done: {run.step} of {num_steps} steps."]
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


def _results(run: RunFacts) -> list[str]:
    probes = {k: v for k, v in run.last("probe").items() if k.endswith("_accuracy")}
    parts: list[str] = []
    if probes:
        rows = [[escape(name.removesuffix("_accuracy")), _percent(v)] for name, v in probes.items()]
        parts += ["Accuracy of the likeliest choice:", table(["benchmark", "accuracy"], rows)]
    before, after = run.last("test_before"), run.last("test_after")
    if not after:
        parts.append(_no_test(run))
        before, after = {}, run.last("eval")
    if not after:
        return parts
    names = {**RESULTS, **_judged_names(run)}
    rows = [
        [escape(words), _number(key, before.get(key)), _number(key, after[key])]
        for key, words in names.items()
        if key in after
    ]
    parts += [_measured_on(run), table(["", "before", "after"], rows), "Recall by emotion:"]
    labels = _labels(run)
    rows = [
        [escape(label), f"{labels[label]:,}" if label in labels else ""]
        + [_percent(found.get(f"recall_{label.replace(' ', '_')}")) for found in (before, after)]
        for label in run.config["data"]["choices"]
    ]
    return [*parts, table(["emotion", "clips", "before", "after"], rows)]


def _no_test(run: RunFacts) -> str:
    if not run.is_rl:
        return (
            "**No answers were generated and tested**: a supervised run does not do that. "
            "`launch/evaluate.py` does."
        )
    if run.config["eval"]["test_split"]:
        return "**There is no result of a test**: the run has not ended."
    return "**There is no result of a test**: the run was given no test split (`eval.test_split`)."


def _judged_names(run: RunFacts) -> dict[str, str]:
    """Return metric -> name of what the judges say."""
    found: dict[str, str] = {}
    for term in judged_terms(run.config):
        found[f"{term}_mean"] = f"{term}, mean (0 to 1)"
        for dimension in DIMENSIONS:
            found[f"{term}_{dimension}"] = f"{term}: {dimension.replace('_', ' ')} (1 to 5)"
    return found


def _tested_split(run: RunFacts) -> str:
    kind = "test_split" if run.last("test_after") else "split"
    return str(run.config["eval"][kind])


def _labels(run: RunFacts) -> Mapping[str, int]:
    split = run.splits.get(_tested_split(run))
    return split.labels if split else {}


def _measured_on(run: RunFacts) -> str:
    split = _tested_split(run)
    what = "before the first step and after the last" if run.last("test_after") else "the last one"
    return (
        f"Greedy answers on split {escape(split)} ({split_words(run.splits.get(split))}), {what}:"
    )


def _limits(run: RunFacts) -> list[str]:
    choices = run.config["data"]["choices"]
    lines = [
        f"It knows {len(choices)} labels and answers one of them whatever it hears; guessing is "
        f"right in {_percent(1 / len(choices))} of the cases if the labels are equally frequent.",
        *_number_limits(run),
        "What it says in `<think>` is generated text. It can be wrong, and it need not be why the "
        "answer was given.",
        "It was trained on the corpora named above alone, and tested on no others. Other "
        "microphones, noise, languages, accents, ages and spontaneous speech were not measured; "
        "expect less.",
        "Labels of such corpora are acted or perceived emotions; what a person feels is another "
        "thing. Not for decisions about people, such as hiring, schooling, policing, credit or "
        "health; emotion recognition is forbidden by law in some of these places.",
    ]
    alarms = alarms_of(run) if run.is_rl else []
    lines += [f"Alarm at step {step}: {escape(line)}." for step, line in alarms[:MAX_ALARMS]]
    if len(alarms) > MAX_ALARMS:
        lines.append(f"{len(alarms) - MAX_ALARMS} more alarms are in the report of the run.")
    return lines


def _number_limits(run: RunFacts) -> list[str]:
    """Return what the numbers of the run itself show."""
    after = run.last("test_after") or run.last("eval")
    if "accuracy" not in after:
        return ["How often it is right is not known: no answers were tested."]
    lines = [f"It is wrong in {_percent(1 - after['accuracy'])} of the tested clips."]
    num = sum(_labels(run).values())
    if num:
        half = 1.96 * math.sqrt(after["accuracy"] * (1 - after["accuracy"]) / num)
        lines[0] += (
            f" With {num:,} clips this is known to about {100 * half:.1f} points either way (95 %, "
            "clips taken as independent; clips of one speaker are not)."
        )
    recalls = {key[7:]: value for key, value in after.items() if key.startswith("recall_")}
    if recalls:
        worst, best = min(recalls, key=recalls.__getitem__), max(recalls, key=recalls.__getitem__)
        lines.append(
            f"Emotions differ: {escape(worst.replace('_', ' '))} is recognized in "
            f"{_percent(recalls[worst])}, {escape(best.replace('_', ' '))} in "
            f"{_percent(recalls[best])} of its clips."
        )
    for term in judged_terms(run.config):
        if f"{term}_{FACTS}" in after:
            lines.append(
                f"A judge ({escape(term)}) gave the facts in its reasoning "
                f"{after[f'{term}_{FACTS}']:.2f} of 5 on average."
            )
    return lines


def _use(config: Mapping[str, Any]) -> list[str]:
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


def _number(metric: str, value: float | None) -> str:
    return _percent(value) if metric in RESULTS else "" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "not measured" if value is None else f"{100 * value:.1f} %"


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
