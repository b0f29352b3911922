"""The annotation command: every row kept, failures named, nothing measured twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launch.annotate import main
from tests.fixtures import LABELS, make_corpus, write_tone

Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_rows(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def command(folder: Path, *more: str, workers: int = 1) -> list[str]:
    return [
        f"manifest={folder / 'manifest.jsonl'}",
        f"root={folder}",
        f"output={folder / 'out'}",
        f"choices=[{', '.join(LABELS)}]",
        f"workers={workers}",
        "reasoning.source=none",
        "splits.allow=[speaker, transcript, sha256]",
        *more,
    ]


def test_rows_keep_their_fields(tmp_path: Path):
    manifest = make_corpus(tmp_path, 6)
    rows = rows_of(manifest)
    rows[0] |= {"raw_label": "Stra\u00dfe", "nested": {"a": [1, 2.5, None, True]}, "big": 10**20}
    rows[1]["prosody"] = {"pitch": "high", "by_hand": 1}
    rows[2] = {("emotion" if key == "label" else key): value for key, value in rows[2].items()}
    write_rows(manifest, rows)
    before = manifest.read_bytes()
    assert main(command(tmp_path)) == 0
    assert manifest.read_bytes() == before
    found = rows_of(tmp_path / "out" / "manifest.jsonl")
    rows[2]["label"] = rows[2].pop("emotion")
    for old, new in zip(rows, found, strict=True):
        added = {"prosody": None, "duration_s": 0.5, "sample_rate": 16000}
        assert {**new, "prosody": None} == {**old, **added, "sha256": new["sha256"]}
        assert "by_hand" not in new["prosody"]
    # Tones of 200 and 250 Hz at half of full scale (-9 dB).
    assert [row["prosody"]["f0_median_hz"] for row in found[:2]] == pytest.approx([200, 250], 0.02)
    assert found[0]["prosody"]["energy_dbfs"] == pytest.approx(-9, abs=0.2)
    assert found[0]["prosody"]["letters_per_s"] > 0


def test_a_clip_that_fails_is_named_and_keeps_its_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    manifest = make_corpus(tmp_path, 4)
    good = (tmp_path / "clip-2.wav").read_bytes()
    (tmp_path / "clip-2.wav").write_bytes(good[:-100])
    output = tmp_path / "out" / "prosody.jsonl"
    errors = tmp_path / "out" / "prosody.jsonl.errors.jsonl"
    assert main(command(tmp_path)) == 0
    assert "1 rows without prosody" in capsys.readouterr().out
    found = rows_of(output)
    assert [row["prosody"] is None for row in found] == [False, False, True, False]
    assert [row["id"] for row in found] == [row["id"] for row in rows_of(manifest)]
    (error,) = rows_of(errors)
    assert error["id"] == "clip-2" and "the file is cut" in error["reason"]
    (tmp_path / "clip-2.wav").write_bytes(good)
    assert main(command(tmp_path)) == 0  # the file changed, its hash with it
    assert not errors.exists() and rows_of(output)[2]["prosody"] is not None


def test_a_second_run_measures_only_what_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_corpus(tmp_path, 4)
    output = tmp_path / "out" / "prosody.jsonl"
    cache = tmp_path / "out" / "prosody.jsonl.cache.jsonl"
    assert main(command(tmp_path)) == 0
    assert "4 clips measured now" in capsys.readouterr().out
    first = output.read_bytes()
    assert main(command(tmp_path)) == 0
    assert "prosody.jsonl: done before" in capsys.readouterr().out
    output.unlink()
    assert main(command(tmp_path)) == 0
    assert "0 clips measured now" in capsys.readouterr().out
    assert output.read_bytes() == first
    # A run killed while it wrote its third line: two and a half are there.
    lines = cache.read_text().splitlines()
    cache.write_text("\n".join(lines[:2]) + "\n" + lines[2][:50])
    write_tone(tmp_path / "clip-0.wav", frequency_hz=330)
    assert main(command(tmp_path)) == 0
    assert "3 clips measured now" in capsys.readouterr().out
    assert rows_of(output)[0]["prosody"]["f0_median_hz"] == pytest.approx(330, rel=0.02)
    # Levels are relative to the corpus, which changed; the other clips' measurements did not.
    for old, new in zip(first.splitlines()[1:], rows_of(output)[1:], strict=True):
        for name in ("f0_median_hz", "energy_dbfs", "speech_s"):
            assert new["prosody"][name] == json.loads(old)["prosody"][name]


def test_a_new_transcript_needs_no_new_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    manifest = make_corpus(tmp_path, 2)
    assert main(command(tmp_path)) == 0
    rows = rows_of(manifest)
    rows[0]["text"] += rows[0]["text"]
    write_rows(manifest, rows)
    old = rows_of(tmp_path / "out" / "prosody.jsonl")
    capsys.readouterr()
    assert main(command(tmp_path)) == 0
    assert "0 clips measured now" in capsys.readouterr().out
    new = rows_of(tmp_path / "out" / "prosody.jsonl")
    rates = [row["prosody"]["letters_per_s"] for row in (old[0], new[0])]
    assert rates[1] == pytest.approx(2 * rates[0], rel=1e-3)


@pytest.mark.slow
def test_processes_give_the_same_rows(tmp_path: Path):
    make_corpus(tmp_path, 10)
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(command(tmp_path, f"output={one}")) == 0
    assert main(command(tmp_path, f"output={two}", workers=2)) == 0
    assert (one / "prosody.jsonl").read_bytes() == (two / "prosody.jsonl").read_bytes()


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    manifest = make_corpus(tmp_path, 2)
    assert main(command(tmp_path, "min_duraton_s=1")) == 2
    assert "the nearest is min_duration_s" in capsys.readouterr().err
    assert main(command(tmp_path, f"manifest={tmp_path / 'nowhere.jsonl'}")) == 2
    assert main(command(tmp_path, "corpus=ravdess")) == 2
    assert "give one of corpus=NAME and manifest=FILE" in capsys.readouterr().err
    assert main(command(tmp_path, "root=''")) == 2
    assert "root '': no such folder" in capsys.readouterr().err
    assert main(command(tmp_path, f"output={manifest}")) == 4
    assert main(command(tmp_path, "min_duration_s=20")) == 2
    assert "more than half of the clips are lost" in capsys.readouterr().err
    rows = rows_of(tmp_path / "out" / "prosody.jsonl.errors.jsonl")
    assert [row["id"] for row in rows] == ["clip-0", "clip-1"]
    assert "min_duration_s" in rows[0]["reason"]
    rows = rows_of(manifest)
    rows[0]["label"] = "hapy"
    write_rows(manifest, rows)
    assert main(command(tmp_path)) == 2
    assert "did you mean 'happy'" in capsys.readouterr().err


def test_a_dry_run_writes_nothing_and_says_what_it_would(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    make_corpus(tmp_path, 4)
    assert main([*command(tmp_path), "--dry-run"]) == 0
    said = caplog.messages
    assert said == [f"{name}.jsonl: would be written" for name in ("corpus", "prosody", "manifest")]
    assert not (tmp_path / "out").exists()
    assert main(command(tmp_path)) == 0
    caplog.clear()
    assert main([*command(tmp_path, "reasoning.source=template"), "--dry-run"]) == 0
    said = caplog.messages
    assert said[:2] == ["corpus.jsonl: done before", "prosody.jsonl: done before"]
    assert said[2] == "manifest.jsonl: would be written"


def test_without_an_output_the_name_of_the_manifest_is_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_corpus(tmp_path, 2)
    monkeypatch.chdir(tmp_path)
    assert main([part for part in command(tmp_path) if not part.startswith("output=")]) == 0
    assert (tmp_path / "runs" / "data" / "manifest" / "prosody.jsonl").is_file()


def test_a_job_on_a_cluster_wants_paths_that_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    make_corpus(tmp_path, 2)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert main(command(tmp_path, "ray=auto", "output=out")) == 2
    assert "output: 'out' is relative, but a job runs in a folder" in capsys.readouterr().err
