"""Data with something wrong in it, through the whole command: told once, with file and remedy."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from annotate.corpora.convert import build_rows, describe_conversion
from annotate.inspect.checks import check_labels, describe_findings
from annotate.pipeline import run_pipeline
from annotate.stages import report_failures
from configs.annotate_schema import AnnotateConfig
from configs.errors import UserError
from configs.load import load_sections
from data.files import read_rows
from data.labels import alike_labels
from data.manifest import ManifestError, read_manifest
from tests.fixtures import write_manifest
from tests.unit.annotate import test_corpus_msp_podcast as msp_podcast
from tests.unit.annotate import test_corpus_ravdess as ravdess
from tests.unit.corpus_files import write_clip


def settings(*overrides: str) -> AnnotateConfig:
    return load_sections("", AnnotateConfig, ["reasoning.source=none", "workers=1", *overrides])


def own_rows(root: Path, count: int = 12, **fields: str) -> Path:
    """Write clips and a manifest without speakers."""
    rows = []
    for number in range(count):
        write_clip(root / f"{number}.wav", hz=120 + 7 * number)
        label = ("sad", "happy")[number % 2]
        rows.append({"id": f"r{number:02}", "audio": f"{number}.wav", "label": label, **fields})
    return write_manifest(root / "rows.jsonl", rows)


@pytest.fixture(autouse=True)
def _all_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)


def test_rows_without_speakers_are_split_clip_by_clip_when_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    manifest = own_rows(tmp_path)
    base = [f"manifest={manifest}", f"root={tmp_path}", f"output={tmp_path / 'out'}"]
    with pytest.raises(UserError, match=r"12 of 12 rows have no speaker.*unknown_speaker"):
        run_pipeline(settings(*base, "splits.by=speaker"))
    with pytest.raises(UserError, match=r"say splits\.allow=\[unknown_speaker\]"):
        run_pipeline(settings(*base, "splits.by=id"))
    assert "LEAK      unknown_speaker: 12 rows in eval + test + train" in caplog.text
    assert not (tmp_path / "out/corpus.jsonl").exists()
    assert run_pipeline(settings(*base, "splits.by=id", "splits.allow=[unknown_speaker]"))
    splits = [row["split"] for row in read_rows(tmp_path / "out/manifest.jsonl")]
    assert [splits.count(name) for name in ("train", "eval", "test")] == [9, 1, 2]


def test_unknown_speakers_of_msp_podcast_are_so_by_design(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    msp_podcast.build(tmp_path)
    base = ["corpus=msp_podcast", f"root={tmp_path}", f"output={tmp_path / 'out'}"]
    assert run_pipeline(settings(*base))
    assert "declared  unknown_speaker: 1 rows of msp_podcast in train" in caplog.text
    assert run_pipeline(settings(*base, "splits.by=official"))
    with pytest.raises(UserError, match="unknown_speaker"):
        run_pipeline(settings(*base, "splits.by=keep"))


def test_a_manifest_of_nobody_has_no_pitch_level_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    manifest = own_rows(tmp_path)
    out = tmp_path / "out"
    assert run_pipeline(settings(f"manifest={manifest}", f"root={tmp_path}", f"output={out}"))
    facts = [row["prosody"] for row in read_rows(out / "prosody.jsonl")]
    assert {fact["pitch"] for fact in facts} == {None}
    assert {fact["pitch_group"] for fact in facts} == {None}
    assert {fact["energy_group"] for fact in facts} == {"dataset"}
    assert "12 clips have no level of pitch: neither speaker nor sex is known" in caplog.text
    caplog.clear()
    own_rows(tmp_path, sex="female")
    assert run_pipeline(settings(f"manifest={manifest}", f"root={tmp_path}", f"output={out}"))
    facts = [row["prosody"] for row in read_rows(out / "prosody.jsonl")]
    assert {fact["pitch"] for fact in facts} >= {"low", "high"}
    assert {fact["pitch_group"] for fact in facts if fact["f0_median_hz"]} == {"dataset"}
    assert "no level of pitch" not in caplog.text


ALIKE = [
    ("angry", "Angry"),
    ("angry", " angry"),
    ("very sad", "very  sad"),
    ("very sad", "very\u00a0sad"),
    ("angry", "angry\u200b"),
    ("g\u00eane", "ge\u0302ne"),
    ("angry", "\uff41ngry"),
    ("GRO\u00df", "gross"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_labels_that_read_alike_are_warned_of(one: str, other: str):
    (warning,) = alike_labels([one, other, "happy", one])
    assert f"{min(one, other)!a} and {max(one, other)!a} differ only in case" in warning
    assert "count as 2; write them alike" in warning
    assert alike_labels(["angry", "hungry", "very sad", "verysad"]) == []


def test_labels_that_read_alike_are_warned_of_wherever_labels_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    manifest = own_rows(tmp_path, speaker="one")
    rows = read_rows(manifest)
    rows[0]["label"] = "Sad"
    write_manifest(manifest, rows)
    warning = "labels 'Sad' and 'sad' differ only in case"
    run_pipeline(settings(f"manifest={manifest}", f"root={tmp_path}", f"output={tmp_path}/out"))
    assert f"{manifest}: {warning}" in caplog.text
    (finding,) = check_labels(rows)
    assert not finding.is_problem and warning in finding.message
    assert describe_findings([finding])[1] == f"            {finding.message}"
    assert check_labels([{"label": "a", "target": "b"}, {"label": "A", "target": "c"}]) == []

    ravdess.build(tmp_path / "corpus")
    labels = tmp_path / "mine.yaml"
    labels.write_text("labels: {calm: Calm, angry: calm, disgust: x, surprised: y}\n")
    found = build_rows("ravdess", tmp_path / "corpus", labels=str(labels), num_workers=1)
    assert describe_conversion(found)[-1].startswith("labels 'Calm' and 'calm' differ only")


TABLES = {
    "rows.csv": (b"path,emotion\na.wav,sad\nb.wav,happy\n", "a table with commas (CSV)"),
    "bom.csv": (b"\xef\xbb\xbfpath,emotion\na.wav,sad\n", "a table with commas (CSV)"),
    "excel.csv": (b"path;emotion\r\na.wav;sad\r\n", "a table with semicolons (CSV)"),
    "rows.tsv": (b"path\temotion\na.wav\tsad\n", "a table with tabs (TSV)"),
    "excel.txt": ("path\temotion\na.wav\tsad\n".encode("utf-16"), "a table with tabs (TSV)"),
    "rows.json": (b'[{"audio": "a.wav", "label": "sad"}]\n', "a JSON list"),
    "pretty.json": (b'[\n  {"audio": "a.wav"}\n]\n', "a JSON list"),
    "one.json": (b'{\n  "data": []\n}\n', "JSON over several lines"),
    "rows.parquet": (b"PAR1\x15\x04\x15", "a Parquet file"),
    "rows.xlsx": (b"PK\3\4\x14\0", "a spreadsheet"),
    "named.jsonl": (b"path,emotion\na.wav,sad\n", "a table with commas (CSV)"),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("choices", ["", "choices=[sad,happy]"])
def test_a_table_given_as_manifest_is_told_what_reads_it(tmp_path: Path, name: str, choices: str):
    content, kind = TABLES[name]
    path = tmp_path / name
    path.write_bytes(content)
    base = [f"manifest={path}", f"root={tmp_path}", f"output={tmp_path}/out", choices]
    with pytest.raises(ManifestError) as caught:
        run_pipeline(settings(*filter(None, base)))
    told = str(caught.value)
    assert told.startswith(f"{path}: is {kind}") and "\n" not in told
    assert f"launch/annotate.py corpus=table root={tmp_path} 'source.files=[{path}]'" in told
    with pytest.raises(ManifestError, match="corpus=table"):
        read_manifest(path, audio_root=tmp_path, choices=["sad"], question_template="")


def test_a_list_of_chats_is_told_what_reads_chats(tmp_path: Path):
    path = tmp_path / "rows.json"
    path.write_text('[{"messages": [], "audios": ["a.wav"]}]')
    with pytest.raises(ManifestError, match=r"is a JSON list; .*corpus=chat root="):
        read_manifest(path, audio_root=tmp_path, choices=["sad"], question_template="")


@pytest.mark.parametrize(
    "content",
    ['{"id": "a", "audio": "a.wav", "label": "sad", "text": "a, b"}\n', "{half, a\n{line, b\n"],
)
def test_manifests_are_no_tables(tmp_path: Path, content: str):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path, audio_root=tmp_path, choices=["sad"], question_template="")
    assert "corpus=table" not in str(caught.value) and "rows.jsonl:1: " in str(caught.value)


def test_lost_clips_are_counted_by_reason_with_their_list(tmp_path: Path):
    output = tmp_path / "corpus.jsonl"
    failed = [
        {"id": f"c{n}", "reason": f"/data/x{n}/c{n}.wav: lasts {n}.5 s; more than 30 s"}
        for n in range(3)
    ]
    failed += [{"id": "e", "reason": "/data/e.wav: is empty; restore it"}]
    listed = tmp_path / "corpus.jsonl.errors.jsonl"
    assert report_failures(output, failed, 8) == [
        f"cannot be used: 4 of 8 clips, all of them in {listed}",
        "  3 clips, such as c0: lasts 0.5 s; more than 30 s",
        "  1 clips, such as e: is empty; restore it",
    ]
    assert read_rows(listed) == failed
    with pytest.raises(UserError, match="more than half of the clips are lost\ncannot be used: 4"):
        report_failures(output, failed, 7)
    many = [{"id": w, "reason": f"/d/{w}.wav: {w}"} for w in "abcdefg"]
    assert report_failures(output, many, 99)[-1] == "  2 clips for 2 other reasons"
    assert report_failures(output, [], 7) == [] and not listed.exists()


def test_a_corpus_of_which_most_clips_are_lost_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    root = tmp_path / "corpus"
    ravdess.build(root)
    clips = sorted(root.rglob("03-01-*.wav"))
    clips[0].write_bytes(b"")
    base = ["corpus=ravdess", f"root={root}", f"output={tmp_path}/out", "splits.by=keep"]
    run_pipeline(settings(*base, "splits.allow=[transcript]"))
    assert "cannot be used: 1 of 4 clips, all of them in " in caplog.text
    assert (
        "  1 clips, such as 03-01-02-01-02-02-01: is not a readable audio file (is empty (0 bytes)"
    ) in caplog.text
    for path in clips[1:3]:
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"3 of 4 clips, all of them in \S+errors\.jsonl"):
        run_pipeline(settings(*base))
    # Clips that can be opened and not measured: shorter than is asked for.
    ravdess.build(root)
    with pytest.raises(UserError, match="4 of 4 clips"):
        run_pipeline(settings(*base, f"output={tmp_path}/other", "min_duration_s=5"))
    rows = (tmp_path / "other/prosody.jsonl.errors.jsonl").read_text().splitlines()
    assert len(rows) == 4 and "min_duration_s" in json.loads(rows[0])["reason"]


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({"audio": ["0.wav", "1.wav"]}, "row 'r01' has 2 clips in a list or in turns"),
        ({"audio": []}, "row 'r01' has 0 clips"),
        ({"turns": [{"role": "user", "text": "Well?"}]}, "row 'r01' has 1 clips"),
        ({"audio": None, "target": "so"}, "row 'r01' has 0 clips"),
    ],
)
def test_rows_of_other_than_one_clip_are_not_annotated(
    tmp_path: Path, more: dict[str, object], found: str
):
    manifest = own_rows(tmp_path)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows[1] |= more
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UserError, match="each row is measured, split and given") as error:
        run_pipeline(settings(f"manifest={manifest}", f"root={tmp_path}", f"output={tmp_path}/out"))
    assert found in str(error.value)
