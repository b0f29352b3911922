"""From a corpus on disk to the files of a run: one stage after another, each done once.

    corpus.jsonl    rows with mapped label, split, duration and hash
    prosody.jsonl   the same with measured prosody
    manifest.jsonl  the same with reasoning: what runs are trained and evaluated on
    sft.jsonl       prosody tasks and reasoning, mixed, for supervised fine-tuning
    judge.jsonl     texts with known scores, for training a judge

What was written is not written again unless its settings or inputs changed; what costs time or
money (measurements, altered clips, replies of a server) is kept item by item.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from annotate import judge_data
from annotate.corpora.convert import build_rows, describe_conversion, file_facts
from annotate.corpora.table import CORPORA
from annotate.cot import template
from annotate.cot.review import write_review
from annotate.cot.run import generate_reasoning
from annotate.inspect.leaks import describe_leaks, find_leaks
from annotate.judge_data import balanced, from_runs, prescribed
from annotate.measurements import annotate
from annotate.progress import reported
from annotate.splits import assign_splits
from annotate.stages import Files, Stages
from annotate.tasks.files import task_file, with_common_root
from annotate.tasks.probes import PROBES, probe_rows
from configs.annotate_schema import AnnotateConfig
from configs.errors import UserError
from data.files import read_rows, write_rows
from data.manifest import ManifestError, read_manifest
from data.prosody.measure import VERSION

logger = logging.getLogger(__name__)


def run_pipeline(config: AnnotateConfig, *, dry_run: bool = False) -> bool:
    """Run the stages that a configuration asks for.

    Args:
        config: `root`, and one of `corpus` and `manifest` are given.
        dry_run: Write nothing, only say which files would be written.

    Returns:
        Whether everything is complete; False if reasoning is still missing, and the same command
        goes on.

    Raises:
        ValueError: Whatever a stage refuses, by its own class: what is wrong, where, what to do.
    """
    if bool(config.corpus) == bool(config.manifest):
        raise UserError("give one of corpus=NAME and manifest=FILE")
    if not Path(config.root).is_dir() or not config.root:
        raise UserError(f"root {config.root!r}: no such folder; give root=FOLDER of the corpus")
    if config.manifest and not Path(config.manifest).is_file():
        raise UserError(f"manifest {config.manifest}: no such file")
    named = config.corpus or Path(config.manifest).stem
    folder = Path(config.output or f"runs/data/{named}")
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    files, stages = Files(folder), Stages(folder, dry_run=dry_run)
    source = Path(config.manifest) if config.manifest else config.corpus
    settings = asdict(config)
    common = {key: settings[key] for key in ("root", "labels", "splits", "seed", "choices")}
    found = {**common, "source": source, "clips": _state(Path(config.root), folder)}
    stages.run(files.corpus, found, lambda: _corpus(config, files))
    limits = {key: settings[key] for key in ("root", "min_duration_s", "max_duration_s")}
    measured = {**limits, "rows": files.corpus, "version": VERSION}
    stages.run(files.prosody, measured, lambda: _prosody(config, files))
    asked = {**settings["reasoning"], "rows": files.prosody, "seed": config.seed}
    asked["version"] = template.VERSION
    if not stages.run(files.manifest, asked, lambda: _reasoning(config, files)):
        return False
    if config.tasks.num_rows:
        asked = {**settings["tasks"], "rows": files.manifest, "seed": config.seed}
        stages.run(files.sft, asked, lambda: _sft(config, files))
        for task in PROBES if config.tasks.num_probes else ():
            if config.tasks.shares.get(task, 0) > 0:
                stages.run(files.probe(task), asked, partial(_probes, task, config, files))
    if config.judge.num_rows:
        asked = {**settings["judge"], "rows": files.manifest, "seed": config.seed}
        asked["version"] = judge_data.VERSION
        stages.run(files.judge, asked, lambda: _judge(config, files))
    return True


def _state(root: Path, output: Path) -> str:
    """Return a digest of names, sizes and times of all files of a corpus, without our own."""
    digest = hashlib.sha256()
    for folder, below, names in os.walk(root):
        below[:] = sorted(
            name for name in below if Path(folder, name).resolve() != output.resolve()
        )
        for name in sorted(names):
            facts = os.stat(os.path.join(folder, name))
            digest.update(f"{folder}/{name}/{facts.st_size}/{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _corpus(config: AnnotateConfig, files: Files) -> bool:
    if config.corpus:
        root = Path(config.root)
        converted = build_rows(
            config.corpus, root, labels=config.labels, num_workers=config.workers
        )
        rows = converted.rows
        for line in describe_conversion(converted):
            logger.info(line)
        _write_errors(files.corpus, converted.failed)
    else:
        rows = _own_rows(config)
    rows = _split(config, rows)
    corpus = CORPORA.get(config.corpus)
    overlaps = dict(corpus.overlaps) if corpus and config.splits.by == "corpus" else {}
    leaks = find_leaks(rows, [*config.splits.allow, *overlaps])
    for line in describe_leaks(leaks):
        logger.info(line)
    for kind, why in overlaps.items():
        logger.info(f"allowed: {kind} in several splits: {why}")
    if any(not leak.is_allowed for leak in leaks):
        raise UserError(
            "the splits share what they should not (above); split by another key, or say "
            "splits.allow=[KIND] if it is meant to be so"
        )
    write_rows(files.corpus, rows)
    counts = Counter(row.get("split") or "none" for row in rows)
    logger.info(
        f"{files.corpus}: {len(rows)} rows; " + ", ".join(f"{n} {s}" for s, n in counts.items())
    )
    return True


def _own_rows(config: AnnotateConfig) -> list[dict[str, Any]]:
    """Return the rows of a manifest of the user's own, checked and with our names."""
    path = Path(config.manifest)
    choices = config.choices
    if not choices:
        try:
            rows = read_rows(path)
        except (OSError, ValueError) as error:
            raise ManifestError(f"{path}: cannot be read ({error}); fix manifest") from error
        labels = [row.get("label") or row.get("emotion") for row in rows if isinstance(row, dict)]
        choices = sorted({label for label in labels if isinstance(label, str)})
    read_manifest(path, audio_root=config.root, choices=choices, question_template="")
    renamed = {"audio_path": "audio", "emotion": "label", "transcription": "text"}
    rows = [
        {renamed.get(name, name): value for name, value in row.items()} for row in read_rows(path)
    ]
    with ThreadPoolExecutor(config.workers) as pool:
        facts = pool.map(file_facts, [Path(config.root) / row["audio"] for row in rows])
        found = reported(facts, len(rows), "hashed {} of {} clips")
        # A clip that cannot be used keeps its row; measuring it will say why.
        return [
            {**row, **(known if isinstance(known, dict) else {})}
            for row, known in zip(rows, found, strict=True)
        ]


def _split(config: AnnotateConfig, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with their splits; what cannot be split is said, and never dropped."""
    by = config.splits.by
    if by == "corpus":
        by = CORPORA[config.corpus].split if config.corpus else "keep"
    if by == "keep":
        return list(rows)
    key = "split" if by == "official" else by
    known = [row for row in rows if row.get(key)]
    unknown = [{**row, "split": None} for row in rows if not row.get(key)]
    if unknown and by == "official":
        logger.info(f"{len(unknown)} rows have no official split and are in none")
    elif unknown and config.splits.by == "corpus":
        unknown = [{**row, "split": "train"} for row in unknown]
        logger.info(f"{len(unknown)} rows have no {by}: train")
    elif unknown:
        known, unknown = list(rows), []  # what was asked for cannot be done: refused by name
    split = assign_splits(
        known,
        by=cast(Literal["official", "session", "speaker"], by),
        test=config.splits.test,
        eval_=config.splits.eval,
        test_frac=config.splits.test_frac,
        eval_frac=config.splits.eval_frac,
        seed=config.seed,
    )
    return sorted([*split, *unknown], key=lambda row: row["id"])


def _write_errors(path: Path, failed: Sequence[Mapping[str, str]]) -> None:
    errors = path.with_name(f"{path.name}.errors.jsonl")
    if failed:
        write_rows(errors, failed)
    else:
        errors.unlink(missing_ok=True)


def _prosody(config: AnnotateConfig, files: Files) -> bool:
    labels = sorted({row["label"] for row in read_rows(files.corpus)})
    examples = read_manifest(
        files.corpus, audio_root=config.root, choices=labels, question_template=""
    )
    outcome = annotate(
        files.corpus,
        examples,
        files.prosody,
        audio_root=Path(config.root),
        min_duration_s=config.min_duration_s,
        max_duration_s=config.max_duration_s,
        num_workers=config.workers,
    )
    logger.info(
        f"{files.prosody}: {outcome.num_clips} rows, {outcome.num_measured} clips measured now"
    )
    if outcome.num_failed:
        logger.info(f"{outcome.num_failed} rows without prosody: see {files.prosody}.errors.jsonl")
    if outcome.num_failed == outcome.num_clips:
        raise UserError(f"not one clip could be measured; see {files.prosody}.errors.jsonl")
    return True


def _reasoning(config: AnnotateConfig, files: Files) -> bool:
    """Write the manifest; return whether every row has had its attempts."""
    rows = read_rows(files.prosody)
    settings = config.reasoning
    if settings.source == "none":
        write_rows(files.manifest, rows)
        return True
    asked = [row for row in rows if row.get("split") in settings.splits]
    if not asked:
        known = sorted({str(row.get("split")) for row in rows})
        raise UserError(
            f"reasoning.splits {settings.splits}: no row is in them; there are {', '.join(known)}"
        )
    choices = sorted({row["label"] for row in rows})
    found = generate_reasoning(settings, asked, files.journal, choices=choices, seed=config.seed)
    complete = [
        {**row, "reasoning": found.accepted[row["id"]]} if row["id"] in found.accepted else row
        for row in rows
    ]
    write_rows(files.manifest, complete)
    given_up = [
        {"id": name, "reason": "; ".join(faults)} for name, faults in found.given_up.items()
    ]
    missing = [{"id": name, "reason": reason} for name, reason in found.failed.items()]
    _write_errors(files.manifest, [*given_up, *missing])
    logger.info(
        f"{files.manifest}: {len(found.accepted)} of {len(asked)} rows have reasoning, "
        f"{len(given_up)} given up; attempts refused for: "
        + (", ".join(f"{kind} {n}" for kind, n in found.faults.most_common()) or "nothing")
    )
    shown = [row for row in complete if row["id"] in found.accepted]
    if settings.review and shown:
        write_review(
            files.review,
            shown,
            audio_root=Path(config.root).resolve(),
            sample=settings.review,
            seed=config.seed,
        )
    if missing or found.stopped:
        why = found.stopped or f"{len(missing)} calls had no reply"
        logger.info(f"reasoning is not complete: {why}; run the same command again to go on")
        return False
    return True


def _sft(config: AnnotateConfig, files: Files) -> bool:
    rows = [row for row in read_rows(files.manifest) if row.get("split") == config.tasks.split]
    written = task_file(config, rows, files.sft)
    write_rows(files.sft, written.rows)
    _write_errors(files.sft, written.failed)
    logger.info(f"{files.sft}: {len(written.rows)} rows; use data.audio_root={written.audio_root}")
    return True


def _probes(task: str, config: AnnotateConfig, files: Files) -> bool:
    settings = config.tasks
    rows = _rows_of(read_rows(files.manifest), "tasks.probe_split", settings.probe_split)
    audio_root, rows = with_common_root(config, rows, files.folder)
    num, margin = settings.num_probes, settings.margin
    found = probe_rows(rows, task, num, seed=config.seed, margin=margin)
    if not found:
        raise UserError(f"no clip of split {settings.probe_split!r} can be asked about {task}")
    files.probe(task).parent.mkdir(exist_ok=True)
    write_rows(files.probe(task), found)
    counts = Counter(row["label"] for row in found)
    shown = ", ".join(f"{n} {label}" for label, n in counts.most_common(4))
    logger.info(
        f"{files.probe(task)}: {len(found)} questions ({shown}); data.audio_root={audio_root}"
    )
    return True


def _judge(config: AnnotateConfig, files: Files) -> bool:
    every = read_rows(files.manifest)
    settings = config.judge
    rows = _rows_of(every, "judge.split", settings.split)
    texts = prescribed(rows, 2 * settings.num_rows, config.seed)
    by_id = {row["id"]: row for row in rows}
    texts += from_runs([Path(run) for run in settings.runs], by_id, settings.term)
    chosen = balanced(texts, settings.num_rows, config.seed)
    if settings.num_test_rows:
        tested = _rows_of(every, "judge.test_split", settings.test_split)
        texts = prescribed(tested, 2 * settings.num_test_rows, config.seed, "held_out")
        chosen += balanced(texts, settings.num_test_rows, config.seed)
    write_rows(files.judge, chosen)
    sources = Counter(row["id"].partition("/")[0] for row in chosen)
    logger.info(
        f"{files.judge}: {len(chosen)} rows; " + ", ".join(f"{n} {s}" for s, n in sources.items())
    )
    return True


def _rows_of(rows: Sequence[dict[str, Any]], key: str, split: str) -> list[dict[str, Any]]:
    """Return the rows of a split."""
    found = [row for row in rows if row.get("split") == split]
    if not found:
        raise UserError(f"{key} {split!r}: no row of the manifest is in it")
    return found
