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

import logging
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from annotate import judge_data
from annotate.corpora.table import CORPORA
from annotate.corpus_file import CorpusFile
from annotate.cot import template
from annotate.cot.generate import generate_reasoning
from annotate.cot.review import write_review
from annotate.judge_data import balanced_places, from_runs, write_prescribed
from annotate.measurements import annotate
from annotate.sources.gather import source_name
from annotate.sources.read import SOURCES
from annotate.stages import (
    Files,
    Stage,
    UnfinishedError,
    digest_of_tree,
    run_stages,
    write_errors,
)
from annotate.tasks.files import task_file, with_common_root
from annotate.tasks.probes import PROBES, probe_rows
from configs.annotate_schema import AnnotateConfig, SourceConfig
from configs.errors import UserError
from data.files import Row, iterate_rows, write_rows
from data.manifest import check_manifest
from data.prosody.measure import VERSION
from data.stored import RowsById, StoredRows
from data.workers import WorkerMap, worker_map

logger = logging.getLogger(__name__)


def run_pipeline(
    config: AnnotateConfig, *, dry_run: bool = False, clip_map: WorkerMap = worker_map
) -> bool:
    """Run the stages of a configuration, or say what they would write; `clip_map` measures clips.

    Returns:
        Whether everything is complete; False if reasoning is still missing, and the same command
        goes on.

    Raises:
        UserError: Whatever a stage refuses: what is wrong, where, what to do.
    """
    if bool(config.corpus) == bool(config.manifest):
        raise UserError("give one of corpus=NAME and manifest=FILE")
    if not Path(config.root).is_dir() or not config.root:
        raise UserError(f"root {config.root!r}: no such folder; give root=FOLDER of the corpus")
    if config.corpus not in SOURCES and config.source != SourceConfig():
        raise UserError(f"source.* is for corpus= one of {', '.join(SOURCES)}; leave it out")
    if config.corpus and config.corpus not in {*CORPORA, *SOURCES}:
        raise UserError(
            f"corpus {config.corpus!r} is not known; choose from: {', '.join(CORPORA)}, or a kind "
            f"of source: {', '.join(SOURCES)}"
        )
    if config.manifest and not Path(config.manifest).is_file():
        raise UserError(f"manifest {config.manifest}: no such file")
    name = config.corpus or Path(config.manifest).stem
    if config.corpus in SOURCES:
        name = source_name(config.source, Path(config.root))
    folder = Path(config.output or f"runs/data/{name}")
    inside = Path(config.root).resolve() in folder.resolve().parents
    if config.corpus in ("folders", "hf") and inside:
        raise UserError(
            f"output {folder}: lies in the root, where clips are looked for; give output=FOLDER "
            "outside it"
        )
    if not dry_run:
        folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder)
    stages = Pipeline(config, files, clip_map).stages()
    complete = run_stages(stages, folder / "stages.json", dry_run=dry_run)
    if complete and not dry_run:
        is_written = config.corpus in SOURCES and files.clips.is_dir()
        root = files.clips if is_written else Path(config.root)
        settings = (f"data.manifest={files.manifest}", f"data.audio_root={root}")
        _log(f"for a run: {shlex.join(settings)}")
    return complete


class Pipeline:
    """The stages of one configuration."""

    def __init__(
        self, config: AnnotateConfig, files: Files, clip_map: WorkerMap = worker_map
    ) -> None:
        self.config = config
        self.files = files
        self.clip_map = clip_map

    def stages(self) -> Iterator[Stage]:
        """Yield the stages in order, each with everything that shapes its file."""
        config, files, settings = self.config, self.files, asdict(self.config)
        shaping = {key: settings[key] for key in ("root", "labels", "splits", "seed", "choices")}
        shaping["source"] = Path(config.manifest) if config.manifest else config.corpus
        if config.corpus in SOURCES:
            shaping["settings"] = settings["source"]
            for place in map(Path, config.source.files):
                # Below the root they are in its digest.
                tree = digest_of_tree(place, leave_out=files.folder) if place.is_dir() else place
                shaping[f"file {place}"] = tree
        shaping |= {"follow_links": True} if config.follow_links else {}
        shaping["clips"] = digest_of_tree(Path(config.root), leave_out=files.folder)
        if config.alignments:
            shaping["alignments"] = digest_of_tree(Path(config.alignments), leave_out=files.folder)
        yield Stage(files.corpus, shaping, self.write_corpus)

        if config.corpus in SOURCES and files.clips.is_dir():
            self.config = config = replace(config, root=str(files.clips), follow_links=False)
            settings = asdict(config)
        limits = {key: settings[key] for key in ("root", "min_duration_s", "max_duration_s")}
        measured = {**limits, "rows": files.corpus, "version": VERSION}
        yield Stage(files.prosody, measured, self.write_prosody)

        written = {**settings["reasoning"], "seed": config.seed, "version": template.VERSION}
        yield Stage(files.manifest, {**written, "rows": files.prosody}, self.write_reasoning)

        if config.tasks.num_rows:
            mixed = {**settings["tasks"], "rows": files.manifest, "seed": config.seed}
            yield Stage(files.sft, mixed, self.write_sft)
            for task in PROBES if config.tasks.num_probes else ():
                if config.tasks.shares.get(task, 0) > 0:
                    yield Stage(files.probe(task), mixed, partial(self.write_probes, task))

        if config.judge.num_rows:
            scored = {**settings["judge"], "seed": config.seed, "version": judge_data.VERSION}
            yield Stage(files.judge, {**scored, "rows": files.manifest}, self.write_judge)

    def write_corpus(self) -> None:
        """Write the rows as the corpus gives them, with their splits; leaks are refused."""
        CorpusFile(self.config, self.files).write()

    def write_prosody(self) -> None:
        """Write the rows with what was measured of their clips."""
        config, source, output = self.config, self.files.corpus, self.files.prosody
        labels = sorted({row["label"] for row in iterate_rows(source)})
        examples = check_manifest(
            source, audio_root=config.root, choices=labels, follow_links=config.follow_links
        )
        outcome = annotate(
            source,
            examples,
            output,
            audio_root=Path(config.root).absolute(),  # workers may be in another folder
            min_duration_s=config.min_duration_s,
            max_duration_s=config.max_duration_s,
            num_workers=config.workers,
            clip_map=self.clip_map,
        )
        _log(f"{output}: {outcome.num_clips} rows, {outcome.num_measured} clips measured now")
        if outcome.num_failed:
            _log(f"{outcome.num_failed} rows without prosody: see {output}.errors.jsonl")

    def write_reasoning(self) -> None:
        """Write the manifest, with reasoning for the rows of the splits that get any."""
        settings, output = self.config.reasoning, self.files.manifest
        rows = StoredRows.of(self.files.prosody)
        if settings.source == "none":
            write_rows(output, rows)
            return
        is_wanted = np.fromiter((row.get("split") in settings.splits for row in rows), bool)
        wanted = rows.chosen(is_wanted)
        if not wanted:
            there = ", ".join(sorted({str(row.get("split")) for row in rows}))
            raise UserError(
                f"reasoning.splits {settings.splits}: no row is in them; there are {there}"
            )
        choices = sorted({row["label"] for row in rows})
        texts = generate_reasoning(
            settings,
            wanted,
            self.files.journal,
            choices=choices,
            seed=self.config.seed,
            num_workers=self.config.workers,
        )
        places = np.cumsum(is_wanted) - 1
        reasonings = (
            texts.accepted.at(int(place)) if wanted_row else None
            for place, wanted_row in zip(places, is_wanted, strict=True)
        )
        write_rows(
            output,
            (
                row if reasoning is None else {**row, "reasoning": reasoning}
                for row, reasoning in zip(rows, reasonings, strict=True)
            ),
        )
        reasons = ((name, "; ".join(faults)) for name, faults in texts.given_up.items())
        failed = chain(reasons, texts.failed.items())
        write_errors(output, ({"id": name, "reason": reason} for name, reason in failed))
        faults = ", ".join(f"{kind} {n}" for kind, n in texts.faults.most_common())
        _log(
            f"{output}: {len(texts.accepted)} of {len(wanted)} rows have reasoning, "
            f"{len(texts.given_up)} given up; attempts refused for: {faults or 'nothing'}"
        )
        accepted = StoredRows.of(output).chosen(is_wanted).chosen(texts.accepted.starts >= 0)
        if settings.review and accepted:
            write_review(
                self.files.review,
                accepted,
                audio_root=Path(self.config.root).resolve(),
                sample=settings.review,
                seed=self.config.seed,
            )
        if texts.failed or texts.stopped:
            why = texts.stopped or f"{len(texts.failed)} calls had no reply"
            raise UnfinishedError(f"reasoning is not complete: {why}")

    def write_sft(self) -> None:
        """Write the mix of tasks."""
        output, split = self.files.sft, self.config.tasks.split
        rows = StoredRows.of(self.files.manifest).where(lambda row: row.get("split") == split)
        mix = task_file(self.config, rows, output)
        write_rows(output, mix.rows)
        write_errors(output, mix.failed)
        _log(f"{output}: {self.config.tasks.num_rows} rows; use {self._keys(mix.audio_root)}")

    def write_probes(self, task: str) -> None:
        """Write the held-out questions of a task."""
        settings, output = self.config.tasks, self.files.probe(task)
        rows = self._rows_of("tasks.probe_split", settings.probe_split)
        audio_root, rows = with_common_root(self.config, rows, self.files.folder)
        probes = probe_rows(
            rows, task, settings.num_probes, seed=self.config.seed, margin=settings.margin
        )
        if not probes:
            raise UserError(f"no clip of split {settings.probe_split!r} can be asked about {task}")
        output.parent.mkdir(exist_ok=True)
        write_rows(output, probes)
        counts = Counter(row["label"] for row in probes)
        shown = ", ".join(f"{n} {label}" for label, n in counts.most_common(4))
        _log(f"{output}: {len(probes)} questions ({shown}); {self._keys(audio_root)}")

    def write_judge(self) -> None:
        """Write texts of known quality, over score bins as even as may be."""
        settings, output, seed = self.config.judge, self.files.judge, self.config.seed
        rows = self._rows_of("judge.split", settings.split)
        texts = StoredRows.spooled(
            chain(
                write_prescribed(rows, 2 * settings.num_rows, seed),
                from_runs(map(Path, settings.runs), RowsById(rows), settings.term)
                if settings.runs
                else (),
            ),
            self.files.folder,
        )
        chosen: Iterable[Row] = texts.chosen(balanced_places(texts, settings.num_rows, seed))
        if settings.num_test_rows:
            rows = self._rows_of("judge.test_split", settings.test_split)
            number = settings.num_test_rows
            texts = StoredRows.spooled(
                write_prescribed(rows, 2 * number, seed, "held_out"), self.files.folder
            )
            chosen = chain(chosen, texts.chosen(balanced_places(texts, number, seed)))
        write_rows(output, chosen)
        sources = Counter(row["id"].partition("/")[0] for row in iterate_rows(output))
        shown = ", ".join(f"{n} {s}" for s, n in sources.items())
        _log(f"{output}: {sources.total()} rows; {shown}")

    def _keys(self, audio_root: Path) -> str:
        """Return what a run has to be told of the clips of a file."""
        links = " data.follow_links=true" if self.config.follow_links else ""
        return f"data.audio_root={audio_root}{links}"

    def _rows_of(self, key: str, split: str) -> StoredRows:
        """Return the manifest's rows of a split that a setting names."""
        rows = StoredRows.of(self.files.manifest).where(lambda row: row.get("split") == split)
        if not rows:
            raise UserError(f"{key} {split!r}: no row of the manifest is in it")
        return rows


def _log(*lines: str) -> None:
    for line in lines:
        logger.info(line)
