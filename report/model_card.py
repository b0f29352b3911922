"""The model card of an export: README.md in Hugging Face layout, filled from the run folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from data.files import write_atomically
from data.manifest_row import fill_choices
from report import describe_run
from report.render import render
from report.run_facts import RunFacts, alarms_of, judged_terms, read_facts
from rewards.judges.base import DIMENSIONS
from trainer.export import BASE_CARD, CARD
from trainer.progress import duration
from trainer.run_folder import RunFolder

TASK = "audio-text-to-text"

DIMENSION_WORDS = {name: name.replace("_", " ") for name in DIMENSIONS}
"""Dimension of a judge's scores -> its name for people."""

TAG = "cadence-rl"
"""Tag by which a card of ours is known again."""

INHERITED = ("license", "license_name", "license_link", "language")
"""Keys of the start checkpoint's header that hold for what is trained from it."""

SHARES = {
    "accuracy": "accuracy (WA)",
    "ua": "mean recall of the emotions (UA)",
    "macro_f1": "macro F1",
    "format_frac": "readable answers",
}
"""Metrics of an evaluation that are shares, and their names."""

HUB_METRICS = {"ua": "recall", "macro_f1": "f1"}
"""Metrics that the hub calls otherwise."""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card is written from."""

    run: RunFacts
    start_name: str
    """Name of the checkpoint that the run started from: a hub id or a folder's name."""
    start_header: Mapping[str, Any]
    """YAML header of that checkpoint's own card; empty if it has none."""
    is_adapter: bool = False
    """Whether the card is of the adapter alone."""


def write_model_card(folder: RunFolder) -> Path:
    """Write the card of a run's export, and of its adapter if it has one; return the first's path.

    Args:
        folder: Of a run whose export is written.

    Raises:
        OSError: The card cannot be written.
    """
    run = read_facts(folder.root)
    path, facts = folder.export_dir / CARD, card_facts(run)
    write_atomically(path, model_card(facts))
    if folder.adapter_dir.is_dir():
        write_atomically(folder.adapter_dir / CARD, model_card(replace(facts, is_adapter=True)))
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
    tags = header.get("tags")
    if isinstance(tags, list) and TAG in map(str, tags) and header.get("base_model"):
        return str(header["base_model"])
    cached = re.search(r"models--(.+?)--([^/]+)/snapshots/", f"{start.resolve()}/")
    return f"{cached[1]}/{cached[2]}" if cached else start.resolve().name


def front_matter(card: str) -> dict[str, Any]:
    """Return the YAML header of a card; empty if it has none that can be read."""
    match = re.match(r"---\r?\n(.*?)\r?\n---\r?\n", card, re.DOTALL)
    try:
        header = yaml.safe_load(match[1]) if match else {}
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}


def model_card(facts: CardFacts) -> str:
    """Return the card: a YAML header with the results, then Markdown.

    What is missing in the facts is said to be missing. Names and paths are escaped: they can hold
    anything.

    Args:
        facts: Of a run; it may be unfinished.
    """
    run = facts.run
    tested = run.last("test_after")
    after = tested or run.last("eval")
    split = tested_split(run)
    recalls = {key[7:].replace("_", " "): v for key, v in after.items() if key[:7] == "recall_"}
    return render(
        "model_card.md.j2",
        header=header(facts).to_yaml(),
        run=run,
        config=run.config,
        start_name=facts.start_name,
        is_adapter=facts.is_adapter,
        licence=facts.start_header.get("license_name") or facts.start_header.get("license"),
        base_card=BASE_CARD,
        words=describe_run,
        duration=duration,
        dimensions=DIMENSION_WORDS,
        judged=judged_terms(run.config),
        gate=run.last("gate"),
        judge_eval=run.last("judge_eval"),
        probes=probe_accuracies(run),
        has_test=bool(tested),
        before=run.last("test_before") if tested else {},
        after=after,
        shares=SHARES,
        opinions=opinions(run),
        split=split,
        tested=run.splits.get(split),
        labels=run.splits[split].labels if split in run.splits else {},
        recalls=recalls,
        worst=min(recalls, key=recalls.__getitem__, default=""),
        best=max(recalls, key=recalls.__getitem__, default=""),
        alarms=alarms_of(run) if run.is_rl else [],
        messages=json.dumps(_messages(run.config["data"]), ensure_ascii=False),
    )


def header(facts: CardFacts) -> ModelCardData:
    """Return what the hub reads of a card.

    Licence and languages are the start checkpoint's; what its card does not say is left out.
    """
    run = facts.run
    kind = "reinforcement-learning" if run.is_rl else "supervised-fine-tuning"
    kind = "judge" if run.is_judge else kind
    results = eval_results(run)
    return ModelCardData(
        **{key: facts.start_header[key] for key in INHERITED if key in facts.start_header},
        base_model=facts.start_name,
        library_name="peft" if facts.is_adapter else "transformers",
        pipeline_tag=TASK,
        tags=[TAG, "audio", "speech-emotion-recognition", "reasoning", kind],
        model_name=str(run.config["name"]) if results else None,
        eval_results=results or None,
    )


def eval_results(run: RunFacts) -> list[EvalResult]:
    """Return the results of the trained weights, as the card's tables have them."""
    manifest, split = Path(run.config["data"]["manifest"]).stem, tested_split(run)
    if run.is_judge:
        scores = run.last("judge_eval")
        names = {
            f"{dimension}_{kind}": f"{words}, {name}"
            for dimension, words in DIMENSION_WORDS.items()
            for kind, name in (("spearman", "rank correlation"), ("mae", "mean absolute error"))
        }
    else:
        scores = run.last("test_after") or run.last("eval")
        recalls = {key: key.replace("_", " ") for key in scores if key.startswith("recall_")}
        names = {**SHARES, **opinions(run), **recalls}
    measured = [
        (manifest, split, HUB_METRICS.get(key, key), name, scores[key])
        for key, name in names.items()
        if key in scores
    ]
    measured += [
        (name, None, "accuracy", "accuracy of the likeliest choice", value)
        for name, value in probe_accuracies(run).items()
    ]
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=data,
            dataset_name=f"{data}, split {part}" if part else data,
            dataset_split=part,
            metric_type=kind,
            metric_name=name,
            metric_value=value,
        )
        for data, part, kind, name, value in measured
    ]


def tested_split(run: RunFacts) -> str:
    """Return the split that the results are of."""
    is_test = run.is_judge or run.last("test_after")
    return str(run.config["eval"]["test_split" if is_test else "split"])


def probe_accuracies(run: RunFacts) -> dict[str, float]:
    """Return benchmark -> accuracy of the likeliest choice, of a supervised run."""
    end = "_accuracy"
    return {k.removesuffix(end): v for k, v in run.last("probe").items() if k.endswith(end)}


def opinions(run: RunFacts) -> dict[str, str]:
    """Return metric -> name of what the judges say."""
    names: dict[str, str] = {}
    for term in judged_terms(run.config):
        names[f"{term}_mean"] = f"{term}, mean (0 to 1)"
        for dimension, words in DIMENSION_WORDS.items():
            names[f"{term}_{dimension}"] = f"{term}: {words} (1 to 5)"
    return names


def _messages(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a question, for the processor's chat template."""
    question = fill_choices(data["question"], data["choices"])
    user = [{"type": "audio", "audio": "clip.wav"}, {"type": "text", "text": question}]
    system = [{"type": "text", "text": data["system_prompt"]}]
    prompted = [{"role": "system", "content": system}] if data["system_prompt"] else []
    return [*prompted, {"role": "user", "content": user}]
