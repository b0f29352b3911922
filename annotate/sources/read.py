"""The kinds of sources that can be read, by name."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from annotate.corpora.base import CorpusClip
from annotate.corpora.clips import LeftOut
from annotate.corpora.convert import LabelMap, list_unknown, load_label_map
from annotate.sources.benchmarks import BENCHMARKS
from annotate.sources.chat import read_chats
from annotate.sources.folders import read_folders
from annotate.sources.gather import Gathered, Record, gather
from annotate.sources.hugging_face import read_hugging_face
from annotate.sources.kaldi import read_kaldi
from annotate.sources.lhotse import read_lhotse
from annotate.sources.tables import read_tables
from annotate.sources.written import WrittenClips
from configs.annotate_schema import AnnotateConfig, SourceConfig
from configs.errors import UserError
from data.labels import alike_labels

logger = logging.getLogger(__name__)

SOURCES: Mapping[str, Callable[[SourceConfig, Path, LeftOut], Iterator[Record]]] = {
    "chat": read_chats,
    "folders": read_folders,
    "hf": read_hugging_face,
    "kaldi": read_kaldi,
    "lhotse": read_lhotse,
    "table": read_tables,
    **BENCHMARKS,
}
"""Kind of source -> its reader."""

WORDS = {
    "neutral": ("neutral", "neu", "calm", "neutrality"),
    "happy": ("happy", "happiness", "hap", "joy", "joyful", "excited", "excitement", "amused"),
    "sad": ("sad", "sadness"),
    "angry": ("angry", "anger", "ang"),
    "fear": ("fear", "fearful", "fea", "afraid", "scared"),
    "surprise": ("surprise", "surprised", "sur", "pleasant_surprise", "pleasant surprise", "ps"),
    "contempt or disgust": (
        *("contempt or disgust", "contempt", "disgust", "disgusted", "dis"),
        "contemptuous",
    ),
    "confused": ("confused", "confusion"),
    "whisper": ("whisper", "whispered"),
}
"""Label of the paper -> words for it in any case, as data sets write them."""


def read_source(config: AnnotateConfig, folder: Path) -> Gathered:
    """Return the clips of a source.

    Args:
        config: Its `corpus` is one of `SOURCES`.
        folder: Where clips are written that are no files of their own.

    Raises:
        UserError: Whatever is wrong in it.
    """
    written, left_out, root = WrittenClips(folder), LeftOut(), Path(config.root)
    records = SOURCES[config.corpus](config.source, root, left_out)
    gathered = gather(
        records, config.source, root, written, left_out, follow_links=config.follow_links
    )
    written.refuse_old()
    return gathered


def source_labels(labels: str, choices: Sequence[str], clips: Sequence[CorpusClip]) -> LabelMap:
    """Return the label map of a source.

    Args:
        labels: `nine`: the usual words for the paper's labels; `own`: as they are; else the path
            of a YAML file.
        choices: With `own`, the labels that there may be; empty = those that there are.
        clips: The clips.

    Raises:
        UserError: A label that is not known, or a file that is no map.
    """
    if labels not in ("nine", "own"):
        return load_label_map("", labels)
    counts = Counter(clip.raw_label for clip in clips)
    words = {word: label for label, usual in WORDS.items() for word in usual}
    if labels == "own":
        for warning in () if choices else alike_labels(sorted(counts)):
            logger.warning(warning)
        targets = {label: label for label in choices or sorted(counts)}
    else:
        targets = {raw: words[raw.casefold()] for raw in sorted(counts) if raw.casefold() in words}
    unknown = Counter({label: n for label, n in counts.items() if label not in targets})
    if unknown:
        remedy = (
            "add them to choices, or give a label map"
            if labels == "own"
            else "labels=own keeps labels as they are, labels=FILE maps or drops them"
        )
        listed = list_unknown(unknown, clips, targets if labels == "own" else words)
        raise UserError(f"labels={labels} does not know {listed}; {remedy} (docs/sources.md)")
    return LabelMap(targets, {})
