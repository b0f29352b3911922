"""The same 500 clips through every kind of source give the same rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from tests.unit.source_files import (
    LABELS,
    WRITERS,
    Row,
    convert,
    facts,
    hf_metadata,
    table,
    write_csv,
    write_wav,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Row]]:
    root = tmp_path_factory.mktemp("clips")
    rows = [facts(number) for number in range(500)]
    for number, row in enumerate(rows):
        write_wav(root / row["audio"], number)
    return root, rows


def expected(root: Path, rows: list[Row], output: Path) -> list[Row]:
    output = output / "expected"
    output.mkdir()
    files = write_csv(root, rows, output)
    return convert("table", root, output / "clips", files=[str(path) for path in files])


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_the_same_clips_give_the_same_rows(
    name: str, corpus: tuple[Path, list[Row]], tmp_path: Path
):
    root, rows = corpus
    kind, write = WRITERS[name]
    files = [str(path) for path in write(root, rows, tmp_path)]
    converted = convert(kind, root, tmp_path / "clips", files=files)
    assert converted == expected(root, rows, tmp_path)
    assert not (tmp_path / "clips").exists()
    first = next(row for row in converted if row["id"] == "mine/" + rows[0]["id"])
    wanted = {key: rows[0][key] for key in ("audio", "label", "split", "sex", "text")}
    assert wanted.items() <= first.items()
    assert first["speaker"] == "mine/s0" and first["duration_s"] == 0.1
    assert len(converted) == 500


def test_folders_give_the_same_rows_but_for_the_words(
    corpus: tuple[Path, list[Row]], tmp_path: Path
):
    root, rows = corpus
    pattern = r"(?P<split>\w+)/(?P<label>\w+)/(?P<speaker>s\d)_(?P<sex>[a-z]+)_\d+"
    converted = convert("folders", root, tmp_path / "clips", pattern=pattern)
    wanted = expected(root, rows, tmp_path)
    assert converted == [{k: v for k, v in row.items() if k != "text"} for row in wanted]
    bare = convert("folders", root, tmp_path / "clips")
    drop = ("text", "speaker", "sex")
    assert bare == [{k: v for k, v in row.items() if k not in drop} for row in wanted]


def hf_table(root: Path, rows: list[Row], *, held: bool) -> Any:
    audio = [
        {"bytes": (root / row["audio"]).read_bytes(), "path": row["audio"]}
        if held
        else {"bytes": None, "path": row["audio"]}
        for row in rows
    ]
    made = pyarrow.table(
        {
            "sound": pyarrow.array(
                audio, pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
            ),
            "label": [LABELS.index(row["label"]) for row in rows],
            **{key: [row[key] for row in rows] for key in ("speaker", "sex", "text")},
        }
    )
    kinds = {"sound": {"_type": "Audio"}, "label": {"_type": "ClassLabel", "names": LABELS}}
    return made.replace_schema_metadata(hf_metadata(**kinds))


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("layout", ["snapshot", "save_to_disk"])
def test_hugging_face_gives_the_same_rows(
    layout: str, held: bool, corpus: tuple[Path, list[Row]], tmp_path: Path
):
    root, rows = corpus
    folder = tmp_path / "set" if held else root
    where = tmp_path / "set"
    for split in ("train", "test"):
        made = hf_table(root, [row for row in rows if row["split"] == split], held=held)
        if layout == "snapshot":
            path = where / "snapshots" / "0a1b" / "data" / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(made, path)
            continue
        (where / split).mkdir(parents=True)
        path = where / split / "data-00000-of-00001.arrow"
        with pyarrow.ipc.new_stream(str(path), made.schema) as stream:
            stream.write_table(made)
        state = {"_data_files": [{"filename": path.name}]}
        (where / split / "state.json").write_text(json.dumps(state))
        (where / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    files = [] if held else [str(where)]
    converted = convert("hf", folder, tmp_path / "clips", files=files)
    assert (tmp_path / "clips").exists() == held
    assert converted == expected(root, rows, tmp_path)


def test_an_audio_folder_and_a_plain_parquet_file(corpus: tuple[Path, list[Row]], tmp_path: Path):
    root, rows = corpus
    shutil.copytree(root, tmp_path / "set")
    for split in ("train", "test"):
        part = [row for row in rows if row["split"] == split]
        names = "file_name,label,speaker,text,sex"
        lines = [
            '{},{label},{speaker},"{text}",{sex}'.format(row["audio"].partition("/")[2], **row)
            for row in part
        ]
        table(tmp_path / "set" / split / "metadata.csv", names, lines)
    wanted = expected(root, rows, tmp_path)
    assert convert("hf", tmp_path / "set", tmp_path / "clips") == wanted
    parquet.write_table(hf_table(root, rows, held=True), tmp_path / "all.parquet")
    (tmp_path / "empty").mkdir()
    converted = convert(
        "table", tmp_path / "empty", tmp_path / "clips", files=[str(tmp_path / "all.parquet")]
    )
    assert converted == [{k: v for k, v in row.items() if k != "split"} for row in wanted]
