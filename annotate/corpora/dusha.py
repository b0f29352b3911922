"""Dusha: Russian clips with the votes of a crowd, one row a vote.

    crowd_train/raw_crowd_train.jsonl (or .tsv)     and crowd_test, podcast_train, podcast_test
    crowd_train/wavs/HASH.wav
    processed_dataset_090/aggregated_dataset/crowd_train.jsonl      optional

The label is the released aggregation (Dawid-Skene) where its file is there, which the release's
own `data_processing` writes; else the emotion with the most votes, `no agreement` where two share
them. Rows with a `golden_emo` checked the raters; they are left out, as there. The sound of the
podcasts is not released. Speakers are `source_id`; sexes are not known.

Source: Kondratenko et al. (2022), arXiv:2212.12266; https://github.com/salute-developers/golos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from annotate.corpora.annotations import read_rows
from annotate.corpora.base import Clips, CorpusClip, finish, lacks, relative, require_folder
from annotate.corpora.clips import LeftOut, count_unnamed, in_any_case, where_it_fits
from annotate.corpora.texts import read_csv
from configs.errors import UserError

PARTS = {
    **{"crowd_train": "train", "podcast_train": "train"},
    **{"crowd_test": "test", "podcast_test": "test"},
}
"""Part -> its split."""
AGGREGATED = "processed_dataset_0*/aggregated_dataset"

_NEEDED = ("hash_id", "audio_path", "annotator_emo", "golden_emo", "speaker_text", "source_id")


def read_dusha(root: Path) -> Clips:
    """Return the clips that people voted on; `extra` holds their `votes` where these decided.

    Raises:
        UserError: No part, rows without their columns or clips, or an aggregation that differs in
            its clips.
    """
    require_folder(root, "Dusha")
    parts = [part for part in PARTS if (root / part).is_dir()]
    if not parts:
        near = where_it_fits(root, lambda folder: any((folder / part).is_dir() for part in PARTS))
        raise UserError(
            f"{root}: has none of {', '.join(PARTS)}; docs/corpora.md shows the layout{near}"
        )
    left_out, problems, clips = LeftOut(), list[str](), Clips()
    for part in parts:
        if not (root / part / "wavs").is_dir():
            left_out.add("parts without sound (no folder wavs)", root / part)
            continue
        _read_part(root, part, clips, left_out, problems)
    return finish("Dusha", root, clips, problems, left_out)


def _read_part(root: Path, part: str, clips: Clips, left_out: LeftOut, problems: list[str]) -> None:
    voted = _table(root / part, f"raw_{part}")
    decided = _decided(root, part)
    first: dict[str, tuple[str, Mapping[str, Any]]] = {}
    votes: dict[str, Counter[str]] = {}
    for where, row in _rows(voted):
        missing = [name for name in _NEEDED if name not in row]
        if missing:
            raise UserError(f"{where}: has no {missing[0]!r}; download {voted.name} again")
        name = str(row["hash_id"])
        first.setdefault(name, (where, row))
        votes.setdefault(name, Counter())[str(row["annotator_emo"]).strip().lower()] += 1
    for name, (where, row) in first.items():
        path = in_any_case(root / part / "wavs" / f"{Path(str(row['audio_path'])).stem}.wav")
        if str(row["golden_emo"] or "").strip().lower() not in ("", "nan", "none"):
            left_out.add("clips that checked the raters (golden_emo)", where)
        elif decided is not None and name not in decided:
            left_out.add("clips without a label in the aggregation", where)
        elif not path.is_file():
            problems.append(f"{where}: {lacks(path, f'no clip {path}; unpack {part} again')}")
        else:
            speaker = str(row["source_id"] or "").strip()
            clips.append(
                CorpusClip(
                    id=f"{part}-{name}",
                    audio=relative(path, root),
                    raw_label=decided[name] if decided is not None else majority(votes[name]),
                    speaker=speaker or None,
                    split=PARTS[part],
                    text=" ".join(str(row["speaker_text"] or "").split()) or None,
                    lang="ru",
                    extra={} if decided is not None else {"votes": dict(votes[name])},
                )
            )
    named = {f"{Path(str(row['audio_path'])).stem}.wav" for _, row in first.values()}
    count_unnamed(root / part / "wavs", "*.wav", named, left_out)


def majority(votes: Mapping[str, int]) -> str:
    """Return what most voted for; `no agreement` where two have the most."""
    most = max(votes.values())
    best = [emotion for emotion, number in votes.items() if number == most]
    return best[0] if len(best) == 1 else "no agreement"


def _table(folder: Path, name: str) -> Path:
    for end in (".jsonl", ".tsv"):
        if (folder / f"{name}{end}").is_file():
            return folder / f"{name}{end}"
    raise UserError(f"{folder / name}.jsonl: no such file, nor .tsv; unpack {folder.name} again")


def _decided(root: Path, part: str) -> dict[str, str] | None:
    """Return clip -> label of the released aggregation; None if it is not there."""
    tables = sorted(root.glob(f"{AGGREGATED}/{part}.jsonl"))
    if not tables:
        tables = sorted(root.glob(f"{AGGREGATED}/{part}.tsv"))
    if len(tables) > 1:
        raise UserError(f"{tables[0]} and {tables[1]}: two aggregations; move one away")
    if not tables:
        return None
    decided: dict[str, str] = {}
    for where, row in _rows(tables[0]):
        if not row.get("hash_id") or not row.get("emotion"):
            raise UserError(f"{where}: has no hash_id or no emotion; aggregate the votes again")
        decided[str(row["hash_id"])] = str(row["emotion"])
    return decided


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix == ".jsonl":
        yield from read_rows(path)
    else:
        for number, row in read_csv(path, delimiter="\t"):
            yield f"{path}:{number}", row
