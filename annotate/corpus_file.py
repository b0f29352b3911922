"""The first file of a data pipeline: a corpus or a manifest as rows with splits.

Rows pass from one temporary file to the next; in memory are a few numbers of each.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from annotate.alignments import with_words
from annotate.corpora.clips import LeftOut
from annotate.corpora.convert import build_rows, convert_clips, describe_conversion
from annotate.corpora.facts import facts_of
from annotate.corpora.table import CORPORA
from annotate.inspect.leaks import describe_leaks, find_leaks
from annotate.sources.benchmarks import BENCHMARKS
from annotate.sources.read import SOURCES, read_source, source_labels
from annotate.splits import SPLITS, SmallArray, draw_splits, fold_splits, usual_split
from annotate.stages import Files, report_failures
from configs.annotate_schema import AnnotateConfig
from configs.errors import UserError
from data.files import Row, iterate_rows, json_lines, replacing
from data.labels import alike_labels
from data.manifest import ManifestError, check_manifest, refuse_tables, without_aliases
from data.progress import reported
from data.stored import StoredRows, text_column

logger = logging.getLogger(__name__)

NO_SPLIT = len(SPLITS)
"""Stands for a row that is in no split."""


class CorpusFile:
    """Writes `corpus.jsonl`."""

    def __init__(self, config: AnnotateConfig, files: Files) -> None:
        """Take the settings, and where the file goes."""
        self.config = config
        self.files = files

    def write(self) -> None:
        """Write the rows with their splits, in the order of their ids unless splits are kept.

        Raises:
            UserError: A corpus or manifest that cannot be used, or splits that leak.
        """
        config, output = self.config, self.files.corpus
        rows = self._converted() if config.corpus else self._of_manifest()
        if config.alignments:
            left_out = LeftOut()
            rows = with_words(rows, Path(config.alignments), left_out, self._spooled)
            with_any = sum(bool(row.get("words")) for row in rows)
            _log(f"{with_any} of {len(rows)} rows have words", *left_out.lines())
        with replacing(output) as file:
            file.writelines(json_lines(self._split(rows)))
            file.flush()
            counts = self._without_leaks(StoredRows.of(Path(file.name)))
        num_rows = sum(counts.values())
        _log(f"{output}: {num_rows} rows; " + ", ".join(f"{n} {s}" for s, n in counts.items()))

    def _without_leaks(self, rows: StoredRows) -> Counter[str]:
        """Return split -> rows, if no two splits share what they must not."""
        config = self.config
        corpus = CORPORA.get(config.corpus)
        is_usual = corpus is not None and config.splits.by in ("corpus", corpus.split)
        overlaps = dict(corpus.overlaps) if corpus and is_usual else {}
        leaks = find_leaks(rows, [*config.splits.allow, *overlaps])
        _log(*describe_leaks(leaks))
        _log(*(f"allowed: {kind} in several splits: {why}" for kind, why in overlaps.items()))
        bad = list(dict.fromkeys(leak.kind for leak in leaks if not leak.is_allowed))
        if bad:
            raise UserError(
                f"the splits share what they should not, or nobody can tell ({', '.join(bad)}, "
                f"above); name the speakers, split by another key, or say "
                f"splits.allow=[{','.join(bad)}] if it is meant to be so"
            )
        return Counter(row.get("split") or "none" for row in rows)

    def _spooled(self, rows: Iterable[Row]) -> StoredRows:
        return StoredRows.spooled(rows, self.files.folder)

    def _converted(self) -> StoredRows:
        """Return the rows of a corpus that has a reader."""
        config = self.config
        how: dict[str, Any] = {
            "labels": config.labels,
            "num_workers": config.workers,
            "follow_links": config.follow_links,
            "journal": self.files.facts,
            "store": self._spooled,
        }
        if config.corpus in SOURCES:
            source = read_source(config, self.files.clips)
            how["labels"] = "own" if config.corpus in BENCHMARKS else config.labels
            label_map = source_labels(how["labels"], config.choices, source.clips)
            converted = convert_clips(source.name, source.root, source.clips, label_map, **how)
        else:
            converted = build_rows(config.corpus, Path(config.root), **how)
        _log(*describe_conversion(converted))
        num_clips = len(converted.rows) + len(converted.failed)
        _log(*report_failures(self.files.corpus, converted.failed, num_clips))
        return converted.rows

    def _of_manifest(self) -> StoredRows:
        """Return the rows of a manifest of the user's own, checked and with our names."""
        config, path = self.config, Path(self.config.manifest)
        choices = config.choices
        refuse_tables(path, config.root)
        if not choices:
            try:
                labels = {
                    label
                    for row in iterate_rows(path)
                    if isinstance(row, dict)
                    and isinstance(label := row.get("label") or row.get("emotion"), str)
                }
            except (OSError, ValueError) as error:
                raise ManifestError(f"{path}: cannot be read ({error}); fix manifest") from error
            choices = sorted(labels)
        follow = config.follow_links
        check_manifest(path, audio_root=config.root, choices=choices, follow_links=follow)
        _log(*(f"{path}: {warning}" for warning in alike_labels(choices)))
        rows = StoredRows.of(path).changed(without_aliases)
        paths = (Path(config.root) / row["audio"] for row in rows)
        facts = facts_of(paths, self.files.facts, config.workers)
        hashed = reported(facts, len(rows), "hashed {} of {} clips")
        # A clip that cannot be used keeps its row; measuring it will say why.
        return self._spooled(
            {**row, **({} if isinstance(facts, str) else facts)}
            for row, facts in zip(rows, hashed, strict=True)
        )

    def _split(self, rows: StoredRows) -> Iterator[dict[str, Any]]:
        """Yield the rows with their splits; what cannot be split is said, and never dropped."""
        config, splits = self.config, self.config.splits
        by = splits.by
        if by == "corpus" and config.corpus in SOURCES:
            by = usual_split(rows)
        elif by == "corpus":
            by = CORPORA[config.corpus].split if config.corpus else "keep"
        if splits.fold:
            return _with_splits(rows, fold_splits(rows, splits.fold))
        if by == "keep":
            return iter(rows)
        key = "split" if by == "official" else by
        is_placed = np.fromiter((bool(row.get(key)) for row in rows), bool)
        num_loose = int((~is_placed).sum())
        places = np.full(len(rows), NO_SPLIT, np.int8)
        if num_loose and by == "official":
            _log(f"{num_loose} rows have no official split and are in none")
        elif num_loose and splits.by == "corpus":
            places[:] = SPLITS.index("train")
            _log(f"{num_loose} rows have no {by}: train")
        elif num_loose:
            is_placed[:] = True  # cannot be done: refused by name
        places[is_placed] = draw_splits(
            rows.chosen(is_placed),
            by=by,
            test=splits.test,
            eval_=splits.eval,
            test_frac=splits.test_frac,
            eval_frac=splits.eval_frac,
            seed=config.seed,
        )
        order = np.argsort(text_column(row["id"] for row in rows), kind="stable")
        return _with_splits(rows.chosen(order), places[order])


def _with_splits(rows: StoredRows, places: SmallArray) -> Iterator[dict[str, Any]]:
    names = (*SPLITS, None)
    return ({**row, "split": names[place]} for row, place in zip(rows, places, strict=True))


def _log(*lines: str) -> None:
    for line in lines:
        logger.info(line)
