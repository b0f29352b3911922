"""The commands that look at a corpus: bad clips, oddities, leaks, and what is in it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.inspect.checks import Finding, check_clips_fully
from launch.dataset import main
from tests.fixtures import LABELS, make_corpus, tone, write_manifest, write_tone

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]

Row = dict[str, Any]


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(command: str, folder: Path, *more: str) -> int:
    """Run a command on `folder/manifest.jsonl`; a step of the run takes two prompts."""
    config = folder / "run.yaml"
    config.write_text(
        f"data:\n  manifest: {folder / 'manifest.jsonl'}\n  audio_root: {folder}\n"
        f"  choices: [{', '.join(LABELS)}]\ntrain:\n  prompts_per_step: 2\n"
    )
    return main([command, "--config", str(config), *more])


def check(folder: Path) -> tuple[int, dict[tuple[str, str | None], str]]:
    """Return the exit code and (kind, id) -> message of all findings."""
    output = folder / "findings.jsonl"
    code = run("check", folder, "--output", str(output), "--workers", "2")
    return code, {(row["kind"], row["id"]): row["message"] for row in rows_of(output)}


def make_bad_clips(folder: Path) -> dict[str, str]:
    """Spoil a clip in every way there is; return file name -> part of the message."""
    (folder / "empty.wav").write_bytes(b"")
    sf.write(folder / "header.wav", np.zeros(0, np.float32), 16_000)
    (folder / "text.wav").write_text("<html>404 not found</html>" * 20)
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    sf.write(folder / "damaged.flac", noise, 16_000)
    content = bytearray((folder / "damaged.flac").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = b"\xff" * 200
    (folder / "damaged.flac").write_bytes(content)
    whole = write_tone(folder / "cut.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[:-100])
    write_tone(folder / "short.wav", duration_s=0.05)
    write_tone(folder / "long.wav", duration_s=31.0, sample_rate=8_000)
    samples = tone(440.0)
    samples[7] = np.nan
    sf.write(folder / "nan.wav", samples, 16_000, subtype="FLOAT")
    sf.write(folder / "silent.wav", np.zeros(8_000, np.float32), 16_000)
    return {
        "empty.wav": "is empty",
        "header.wav": "no samples",
        "text.wav": "not a readable audio file",
        "damaged.flac": "cannot be decoded",
        "cut.wav": "the file is cut",
        "short.wav": "data.min_duration_s",
        "long.wav": "data.max_duration_s",
        "nan.wav": "1 samples are NaN",
        "silent.wav": "is silent",
    }


def test_a_good_corpus_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_corpus(tmp_path, 8)
    assert check(tmp_path) == (0, {})
    assert "8 clips of 8 rows decoded: 0 problem(s), 0 warning(s)" in capsys.readouterr().out


def test_every_way_to_spoil_a_clip_is_found(tmp_path: Path):
    rows = rows_of(make_corpus(tmp_path, 2))
    expected = make_bad_clips(tmp_path)
    rows += [{"id": name, "audio": name, "label": "sad", "split": "train"} for name in expected]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    code, found = check(tmp_path)
    assert code == 2
    assert found.keys() == {("clip", name) for name in expected}
    for name, message in expected.items():
        assert message in found["clip", name]


def test_all_missing_clips_are_listed_and_the_others_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = rows_of(make_corpus(tmp_path, 40))
    for number in range(30):
        (tmp_path / f"clip-{number}.wav").unlink()
    (tmp_path / "clip-30.wav").write_bytes(b"")
    (tmp_path / "clip-31.wav").unlink()
    (tmp_path / "clip-31.wav").mkdir()
    rows[35]["audio"] = "../outside.wav"
    write_manifest(tmp_path / "manifest.jsonl", rows)
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write("{half a line\n")
    code, found = check(tmp_path)
    assert code == 2
    assert found.keys() == {("clip", f"clip-{number}") for number in range(32)}
    out = capsys.readouterr().out
    assert "33 problem(s) found" in out and "'clip-29': " in out and "manifest not usable" in out


def test_odd_clips_are_counted_and_do_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_corpus(tmp_path, 8)
    # 40 of 8,000 samples at full scale, and 7 in a clip that is merely scaled to it.
    for name, num_clipped in (("clip-0.wav", 40), ("clip-3.wav", 7)):
        samples = tone(440.0)
        samples[100 : 100 + num_clipped] = 1.0
        sf.write(tmp_path / name, samples, 16_000)
    sf.write(tmp_path / "clip-1.wav", tone(440.0) + 0.05, 16_000)
    sf.write(tmp_path / "clip-2.wav", tone(440.0, peak=0.005), 16_000)
    (tmp_path / "clip-5.wav").write_bytes((tmp_path / "clip-4.wav").read_bytes())
    (tmp_path / "clip-7.wav").write_bytes((tmp_path / "clip-6.wav").read_bytes())  # other split
    code, found = check(tmp_path)
    assert code == 0
    assert found == {
        ("clipping", "clip-0"): "0.5% of its samples are at full scale",
        ("offset", "clip-1"): "its mean is +0.050 of full scale",
        ("quiet", "clip-2"): "peaks at -46 dB of full scale; listen to it",
        ("duplicate", "clip-5"): "is the same file as 'clip-4', both in split 'train'",
    }
    out = capsys.readouterr().out
    assert "warning   clipping: 1 (" in out and "0 problem(s), 4 warning(s)" in out


def test_a_file_that_is_not_the_one_described_is_a_problem(tmp_path: Path):
    rows = rows_of(make_corpus(tmp_path, 8))
    for row in rows:
        content = (tmp_path / row["audio"]).read_bytes()
        row |= {"sha256": hashlib.sha256(content).hexdigest(), "duration_s": 0.505}
    rows[1]["duration_s"] = 0.52
    rows[2]["duration_s"] = "0.5"
    rows[3]["duration_s"] = None
    write_manifest(tmp_path / "manifest.jsonl", rows)
    write_tone(tmp_path / "clip-0.wav", frequency_hz=555)
    code, found = check(tmp_path)
    assert code == 2
    assert found.keys() == {("changed", f"clip-{n}") for n in range(3)}
    assert "has SHA-256" in found["changed", "clip-0"]
    assert "lasts 0.500 s and the row's duration_s is 0.52" in found["changed", "clip-1"]


@settings(max_examples=40, database=None)
@given(place=st.integers(0, 4_043), change=st.integers(1, 255))
def test_no_flipped_byte_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, place: int, change: int
):
    path = write_tone(tmp_path_factory.getbasetemp() / "flip" / "a.wav", duration_s=0.125)
    content = bytearray(path.read_bytes())
    assert len(content) == 4_044
    row = {"id": "a", "audio": "a.wav", "sha256": hashlib.sha256(content).hexdigest()}
    content[place] ^= change
    path.write_bytes(content)
    found: list[Finding] = check_clips_fully(
        [row],
        path.parent,
        min_duration_s=0.1,
        max_duration_s=30.0,
        num_workers=1,
    )
    assert any(finding.is_problem for finding in found)


def test_a_split_that_cannot_be_trained_on_is_a_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = rows_of(make_corpus(tmp_path, 5))
    assert run("check", tmp_path, "train.prompts_per_step=5") == 2
    assert "split 'train' has 4 rows and a step needs 5 prompts" in capsys.readouterr().out
    assert run("check", tmp_path, "data.train_split=training") == 2
    assert "no row is of split 'training' (there are: eval, train)" in capsys.readouterr().out
    write_manifest(tmp_path / "manifest.jsonl", [row | {"label": "sad"} for row in rows])
    assert run("check", tmp_path) == 2
    assert "every row of split 'train' is labelled 'sad'" in capsys.readouterr().out


def test_leaks_are_loud_unless_they_are_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [row | {"speaker": row["split"]} for row in rows_of(make_corpus(tmp_path, 8))]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert run("leaks", tmp_path) == 0
    # The same file under two names, whose hash stands in neither row; and a shared session.
    (tmp_path / "clip-3.wav").write_bytes((tmp_path / "clip-0.wav").read_bytes())
    rows[3] |= {"session": 7}
    rows[4] |= {"session": 7}
    write_manifest(tmp_path / "manifest.jsonl", rows)
    capsys.readouterr()
    output = tmp_path / "leaks.jsonl"
    assert run("leaks", tmp_path, "--output", str(output)) == 2
    out = capsys.readouterr().out
    assert "LEAK      session: 1 in eval + train (2 rows)" in out
    assert "LEAK      sha256: 1 in eval + train (2 rows)" in out
    assert "ok        speaker" in out and "--allow session --allow sha256" in out
    assert [(leak["kind"], leak["ids"]) for leak in rows_of(output)] == [
        ("session", ["clip-3", "clip-4"]),
        ("sha256", ["clip-3", "clip-0"]),
    ]
    assert run("leaks", tmp_path, "--allow", "session") == 2
    assert run("leaks", tmp_path, "--allow", "session", "--allow", "sha256") == 0
    assert "declared  session" in capsys.readouterr().out


def test_every_clip_of_a_row_is_checked_and_may_leak(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # Clips 3 and 7 are of the eval split and its voice, the others of the training split.
    rows = [row | {"speaker": row["split"]} for row in rows_of(make_corpus(tmp_path, 8))]
    rows[3]["turns"] = [{"role": "user", "audio": "clip-7.wav"}]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert run("leaks", tmp_path) == 0
    rows[3]["audio"] = ["clip-0.wav", "clip-3.wav"]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    output = tmp_path / "leaks.jsonl"
    assert run("leaks", tmp_path, "--output", str(output)) == 2
    assert "LEAK      speaker: 1 in eval + train (7 rows)" in capsys.readouterr().out
    leaks = {leak["kind"]: leak["ids"] for leak in rows_of(output)}
    assert leaks.keys() == {"speaker", "sha256", "transcript"}
    assert leaks["sha256"] == ["clip-3, its clip clip-0.wav", "clip-0"]
    # A clip that no row is about: nobody can tell who speaks in it.
    write_tone(tmp_path / "other.wav", frequency_hz=777.0)
    rows[3]["audio"] = ["other.wav", "clip-3.wav"]
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert run("leaks", tmp_path, "--output", str(output)) == 2
    (leak,) = rows_of(output)
    assert (leak["kind"], leak["ids"]) == ("unknown_speaker", ["clip-3, its clip other.wav"])
    # It is decoded as well, and told by its own name.
    (tmp_path / "other.wav").write_bytes(b"")
    code, found = check(tmp_path)
    assert code == 2 and found.keys() == {("clip", "clip-3")}
    assert "other.wav: is empty" in found["clip", "clip-3"]
    assert "9 clips of 8 rows decoded: 1 problem(s)" in capsys.readouterr().out


def test_statistics_are_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = rows_of(make_corpus(tmp_path, 8))
    for number, row in enumerate(rows):
        row["prosody"] = {
            "pitch": "high" if number < 4 else None,
            "f0_median_hz": 100.0 + 10 * number if number < 5 else None,
            "energy_dbfs": -20.0,
            "letters_per_s": 12.5,
        }
    write_manifest(tmp_path / "manifest.jsonl", rows)
    assert run("stats", tmp_path) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    # Six training clips of 0.5 s by three speakers, two each; two of evaluation by two.
    assert "train 6 0.00 3 2 / 2 / 2 0" in lines
    assert "all 8 0.00 3 - 0" in lines
    assert "train 0.50 0.50 0.50 0.50 0.50 0.50 0.50 0" in lines
    assert "angry 0 2 2 25.0%" in lines
    # Neutral clips are 0 and 4: 100 and 140 Hz; angry ones 3 and 7, of which 7 has no pitch.
    assert "neutral 120 - -20.0 12.5 - - -" in lines
    assert "angry 50.0% 100.0% 0.0% 0.0% 100.0% 100.0% 100.0%" in lines
    place = lines.index("Levels: pitch")
    assert lines[place + 1 : place + 3] == [
        "label low normal high not measured",
        "neutral 0 0 1 1",
    ]
    figure = tmp_path / "manifest.stats.png"
    assert figure.read_bytes().startswith(b"\x89PNG") and str(figure) in out


def test_statistics_need_neither_prosody_nor_speakers_nor_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = rows_of(make_corpus(tmp_path, 3))
    bare = [{key: row[key] for key in ("id", "audio", "label")} for row in rows]
    write_manifest(tmp_path / "manifest.jsonl", bare)
    (tmp_path / "clip-1.wav").write_bytes(b"")
    assert run("stats", tmp_path, "--figure", str(tmp_path / "corpus.svg")) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "(none) 3 0.00 0 - 3" in lines
    assert "(none) 0.50 0.50 0.50 0.50 0.50 0.50 0.50 1" in lines
    assert "no row has prosody: launch/annotate.py measures it" in lines
    drawn = (tmp_path / "corpus.svg").read_text()
    assert drawn.startswith("<?xml") and not (tmp_path / "manifest.stats.png").exists()


def test_exit_codes_and_refused_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = rows_of(make_corpus(tmp_path, 4))
    for command in ("check", "leaks", "stats"):
        assert run(command, tmp_path, "data.manifset=x") == 2
        assert "data.manifest" in capsys.readouterr().err
        assert run(command, tmp_path, "data.manifest=/nowhere.jsonl") == 2
        assert "/nowhere.jsonl: No such file or directory; fix data.manifest" in (
            capsys.readouterr().err
        )
    assert run("check", tmp_path, "--output", str(tmp_path / "no" / "folder")) == 2
    assert run("stats", tmp_path, "--figure", str(tmp_path / "no" / "a.png")) == 2
    write_manifest(tmp_path / "manifest.jsonl", [row | {"label": "hapy"} for row in rows])
    for command in ("leaks", "stats"):
        assert run(command, tmp_path) == 2
        assert "did you mean 'happy'" in capsys.readouterr().err
    refused = (["check", "--allow", "speaker"], ["leaks", "--allow", "text"], ["look"], [])
    for arguments in [*refused, ["stats", "--workers", "0"]]:
        with pytest.raises(SystemExit) as caught:
            main([*arguments[:1], "--config", "x.yaml", *arguments[1:]])
        assert caught.value.code == 2


def test_no_command_hides_a_package(tmp_path: Path):
    # Names of files in launch/ are names of packages, and Ray hands the folder of a started script
    # on to its workers if it is on the script's path: there, `evaluation` would be a file.
    ours = "sys.path[0] = str(Path(__file__).resolve().parents[1])"
    texts = [path.read_text() for path in (ROOT / "launch").glob("*.py")]
    commands = [text for text in texts if text.startswith("#!")]
    assert len(commands) > 10 and all(ours in text for text in commands)
    code = (
        f"import runpy, sys; sys.path[0] = {str(ROOT / 'launch')!r}; sys.argv[1:] = ['--help']\n"
        f"try: runpy.run_path({str(ROOT / 'launch' / 'rl.py')!r}, run_name='__main__')\n"
        "except SystemExit: print('PATH', *sys.path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    path = done.stdout.rpartition("PATH")[2].split()
    assert str(ROOT) in path and str(ROOT / "launch") not in path


def test_no_command_on_a_corpus_loads_a_model_library():
    # Worker processes import what the command imports: a tensor library is seconds in each.
    code = "import sys, launch.annotate, launch.dataset; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "annotate.pipeline" in loaded
    assert not {"torch", "transformers", "ray", "vllm"} & loaded
