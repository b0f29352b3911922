"""EmoBox: manifests of 32 corpora in `data/NAME`, over their audio in `downloads/NAME`.

A corpus is read if its folder in `downloads` exists; then all of its clips must be there. The split
is that of `fold_1`; `fold` of a row is the fold whose test set holds the clip, which gives the
other folds. The raw label is the name that `label_map.json` gives to the corpus's code (`emo` of
the row): the codes alone mean different things, such as `s` sad in AESDD and fear in Polish.
Speakers and sexes come from the keys, where these hold them (`annotate.corpora.emobox_keys`).

Source: Ma et al. (2024), arXiv:2406.07162; https://github.com/emo-box/EmoBox
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate.corpora.annotations import read_object, read_rows
from annotate.corpora.base import Clips, CorpusClip, finish, lacks, relative, require_folder
from annotate.corpora.clips import in_any_case
from annotate.corpora.emobox_keys import who_speaks
from configs.errors import UserError

logger = logging.getLogger(__name__)

SPLITS = {"train": "train", "valid": "eval", "test": "test"}
LANGUAGES = {
    "el": ("aesdd",),
    "am": ("ased",),
    "fr": ("cafe", "oreau"),
    "zh": ("casia", "m3ed", "mer2023"),
    "en": (
        *("cremad", "emns", "emovdb", "enterface", "iemocap", "jlcorpus", "mead", "meld"),
        *("msppodcast", "ravdess", "savee", "tess"),
    ),
    "de": ("emodb", "pavoque"),
    "it": ("emovo", "emozionalmente"),
    "es": ("mesd",),
    "pl": ("polish",),
    "ru": ("resd",),
    "fa": ("shemo",),
    "bn": ("subesco",),
    "tr": ("turevdb",),
    "ur": ("urdu",),
}
"""Language -> corpora; those with several (ASVP-ESD, ESD) are left out."""
OTHER_FORMATS = (".avi", ".m4a", ".mp4", ".webm")
"""Files that are read from the WAV file of the same name beside them."""

_LANGUAGE_OF = {name: lang for lang, names in LANGUAGES.items() for name in names}


def read_emobox(root: Path) -> Clips:
    """Return the clips of every corpus that is below `downloads`, by their rows in `fold_1`.

    Raises:
        UserError: No `data` or `downloads`, no corpus below it or none that EmoBox has, a file
            that is not JSON, a row without its fields or clip, or a row that is a part of a file.
    """
    manifests = require_folder(root, "EmoBox", "data")
    downloads = require_folder(root, "EmoBox", "downloads")
    names = sorted(path.name for path in downloads.iterdir() if path.is_dir())
    unknown = [name for name in names if not (manifests / name / "fold_1").is_dir()]
    if unknown:
        raise UserError(
            f"{downloads}: EmoBox has no data/NAME/fold_1 for {', '.join(unknown)}; a corpus's "
            "folder is named as there"
        )
    clips = Clips()
    problems: list[str] = []
    for name in names:
        read, wrong = _read_corpus(root, name)
        clips.extend(read)
        problems += wrong
        unknown_speakers = sum(clip.speaker is None for clip in read)
        if unknown_speakers:
            logger.warning(
                f"{root}: {name}: {unknown_speakers} of {len(read)} clips have no speaker: their "
                "keys hold none"
            )
    return finish("EmoBox", root, clips, problems)


def _read_corpus(root: Path, name: str) -> tuple[list[CorpusClip], list[str]]:
    """Return clips and problems of one corpus."""
    folder = root / "data" / name
    labels = folder / "label_map.json"
    # EMOVO has none; its codes are its labels.
    label_map = read_object(labels) if labels.is_file() else {}
    folds = _test_folds(folder)
    clips: list[CorpusClip] = []
    problems: list[str] = []
    parts = 0
    for listed, split in SPLITS.items():
        manifest = folder / "fold_1" / f"{name}_{listed}_fold_1.jsonl"
        if listed == "valid" and not manifest.is_file():
            continue
        for where, row in read_rows(manifest):
            problem = _problem(row, root)
            if "start_time" in row:
                parts += 1
            elif problem:
                problems.append(f"{where}: {problem}")
            else:
                emo, fold = row["emo"], folds.get(row["key"])
                speaker, sex = who_speaks(name, row["key"], row["wav"])
                clips.append(
                    CorpusClip(
                        id=row["key"],
                        audio=relative(in_any_case(root / _audio(row)), root),
                        raw_label=label_map.get(emo, emo),
                        speaker=speaker,
                        split=split,
                        sex=sex,
                        lang=_LANGUAGE_OF.get(name),
                        # The corpus that the clip is from, not EmoBox.
                        extra={"dataset": name, "emo": emo, **({"fold": fold} if fold else {})},
                    )
                )
    if parts:
        problems.append(
            f"{folder}: {parts} rows are parts of longer files (start_time, end_time), which are "
            f"no clips; move {root / 'downloads' / name} away"
        )
    return clips, problems


def _test_folds(folder: Path) -> dict[str, int]:
    """Return key of a clip -> the fold whose test set holds it."""
    folds: dict[str, int] = {}
    for fold in folder.glob("fold_*"):
        manifest = fold / f"{folder.name}_test_{fold.name}.jsonl"
        if manifest.is_file():
            for where, row in read_rows(manifest):
                if not isinstance(row.get("key"), str):
                    raise UserError(f"{where}: key is {row.get('key')!r}; expected a text")
                folds[row["key"]] = int(fold.name.removeprefix("fold_"))
    return folds


def _audio(row: Mapping[str, Any]) -> Path:
    """Return the clip's path: of the WAV file beside it where it ships as something else."""
    path = Path(row["wav"])
    return path.with_suffix(".wav") if path.suffix.lower() in OTHER_FORMATS else path


def _problem(row: Mapping[str, Any], root: Path) -> str | None:
    """Return what is wrong with a row."""
    for field in ("key", "wav", "emo"):
        if not isinstance(row.get(field), str):
            return f"{field} is {row.get(field)!r}; expected a text"
    path, shipped = in_any_case(root / _audio(row)), in_any_case(root / row["wav"])
    if path.is_file():
        return None
    if shipped.is_file():
        return f"{shipped} has no WAV file; run: ffmpeg -i '{shipped}' -vn '{path}'"
    remedy = "complete the corpus, or move its folder in downloads away"
    return lacks(shipped, f"no clip {shipped}; {remedy}")
