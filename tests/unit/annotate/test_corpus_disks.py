"""Corpora as they lie on disks: other cases, copies, what macOS leaves, roots beside the right one.

Each fault is put into every reader that can meet it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from annotate.corpora.table import CORPORA
from configs.errors import UserError
from tests.unit.annotate import (
    test_corpus_acted as acted,
)
from tests.unit.annotate import (
    test_corpus_crema_d as crema_d,
)
from tests.unit.annotate import (
    test_corpus_ears as ears,
)
from tests.unit.annotate import (
    test_corpus_emobox as emobox,
)
from tests.unit.annotate import (
    test_corpus_emotioncot as emotioncot,
)
from tests.unit.annotate import (
    test_corpus_esd as esd,
)
from tests.unit.annotate import (
    test_corpus_expresso as expresso,
)
from tests.unit.annotate import (
    test_corpus_iemocap as iemocap,
)
from tests.unit.annotate import (
    test_corpus_mead as mead,
)
from tests.unit.annotate import (
    test_corpus_meld as meld,
)
from tests.unit.annotate import (
    test_corpus_msp_podcast as msp_podcast,
)
from tests.unit.annotate import (
    test_corpus_ravdess as ravdess,
)
from tests.unit.annotate import (
    test_corpus_savee as savee,
)
from tests.unit.annotate import (
    test_corpus_tables as tables,
)
from tests.unit.corpus_files import write_clip

BUILD: dict[str, Callable[[Path], None]] = {
    "crema_d": crema_d.build,
    "ears": ears.build,
    "emobox": emobox.build,
    "emotioncot": emotioncot.build,
    "esd": esd.build,
    "expresso": expresso.build,
    "iemocap": iemocap.build,
    "mead": mead.build,
    "meld": meld.build,
    "msp_podcast": msp_podcast.build,
    "ravdess": ravdess.build,
    "savee": savee.build,
    **{name: partial(acted.build, name) for name in acted.NAMES},
    **tables.BUILD,
}
LISTED = {"emobox", "emotioncot"}
"""Corpora whose lists say the path of each clip, in whatever folder."""


def test_every_reader_is_here():
    assert BUILD.keys() == CORPORA.keys()


def facts(corpus: str, root: Path) -> list[tuple[str, str, str | None, str | None]]:
    clips = CORPORA[corpus].read(root)
    return [(clip.id, clip.raw_label, clip.speaker, clip.text) for clip in clips]


@pytest.mark.parametrize("corpus", BUILD)
def test_files_of_macos_are_nobodys_clips(corpus: str, tmp_path: Path):
    BUILD[corpus](tmp_path)
    whole = facts(corpus, tmp_path)
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        path.with_name(".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    junk = tmp_path / "__MACOSX"
    junk.mkdir()
    for path in [p for p in tmp_path.iterdir() if p != junk]:
        if path.is_dir():
            shutil.copytree(path, junk / path.name)
    assert facts(corpus, tmp_path) == whole


@pytest.mark.parametrize("corpus", sorted(BUILD))
def test_extensions_in_capitals_are_found(corpus: str, tmp_path: Path):
    BUILD[corpus](tmp_path)
    whole = facts(corpus, tmp_path)
    used = {tmp_path / clip.audio for clip in CORPORA[corpus].read(tmp_path)}
    for path in used:
        path.rename(path.with_suffix(path.suffix.upper()))
    assert facts(corpus, tmp_path) == whole
    assert all((tmp_path / clip.audio).is_file() for clip in CORPORA[corpus].read(tmp_path))


@pytest.mark.parametrize("corpus", sorted(BUILD.keys() - LISTED))
def test_a_root_one_or_two_folders_too_high_names_the_right_one(corpus: str, tmp_path: Path):
    right = tmp_path / "datasets" / "unpacked"
    right.mkdir(parents=True)
    BUILD[corpus](right)
    whole = facts(corpus, right)
    for root in (tmp_path / "datasets", tmp_path):
        try:
            found = facts(corpus, root)
        except UserError as error:
            assert f"{right} fits: give root={right}" in str(error)
        else:  # one that looks in all folders
            assert found == whole


@pytest.mark.parametrize(
    ("corpus", "below"),
    [
        ("crema_d", "AudioWAV"),
        ("esd", "0011"),
        ("iemocap", "Session1"),
        ("meld", "train"),
        ("msp_podcast", "Audios"),
        ("expresso", "audio_48khz"),
        ("emobox", "data"),
    ],
)
def test_a_root_too_low_names_the_right_one(corpus: str, below: str, tmp_path: Path):
    BUILD[corpus](tmp_path)
    with pytest.raises(UserError) as caught:
        CORPORA[corpus].read(tmp_path / below)
    assert f"{tmp_path} fits: give root={tmp_path}" in str(caught.value)


def test_a_copy_inside_the_folder_is_one_line(tmp_path: Path):
    for actor in (1, 2):
        for number in range(1, 9):
            name = f"Actor_{actor:02}/03-01-{number:02}-01-01-01-{actor:02}.wav"
            write_clip(tmp_path / name, hz=100 + 10 * actor + number, duration_s=0.1)
    inner = tmp_path / "audio_speech_actors_01-24"
    for actor in (1, 2):
        shutil.copytree(tmp_path / f"Actor_{actor:02}", inner / f"Actor_{actor:02}")
    with pytest.raises(UserError) as caught:
        ravdess.read_ravdess(tmp_path)
    assert str(caught.value).splitlines()[1:] == [
        f"{tmp_path} and {inner} hold the same 16 clips: a copy inside the folder; "
        f"move {inner} away"
    ]


def test_two_folders_with_the_same_names_are_one_line(tmp_path: Path):
    ravdess.build(tmp_path / "one")
    for path in (tmp_path / "one").rglob("*.wav"):
        write_clip(tmp_path / "two" / path.relative_to(tmp_path / "one"), hz=300)
    with pytest.raises(UserError) as caught:
        ravdess.read_ravdess(tmp_path)
    (line,) = str(caught.value).splitlines()[1:]
    assert f"{tmp_path / 'one'} and {tmp_path / 'two'} hold 4 clips of the same names" in line
    assert "move one of the folders away" in line


def test_the_sound_of_videos_beside_the_sound_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    ravdess.build(tmp_path)
    whole = facts("ravdess", tmp_path)
    for path in list(tmp_path.rglob("03-01-*.wav")):
        shutil.copy(path, path.with_name(path.name.replace("03-01", "01-01", 1)))
    assert facts("ravdess", tmp_path) == whole
    assert "left out: 4: the sound of videos (modality 01 or 02)" in caplog.text
    for path in list(tmp_path.rglob("03-*.wav")):
        path.unlink()
    assert [clip.id[:2] for clip in ravdess.read_ravdess(tmp_path)] == ["01"] * 4


def test_one_actor_in_capitals_beside_the_others(tmp_path: Path):
    ravdess.build(tmp_path)
    whole = facts("ravdess", tmp_path)
    for path in (tmp_path / "Actor_01").iterdir():
        path.rename(path.with_suffix(".WAV"))
    assert facts("ravdess", tmp_path) == whole


@pytest.mark.parametrize("between", ["\t", " ", "    ", " \t "])
@pytest.mark.parametrize("end", ["", "\t", " ", "\t\t "])
def test_esd_lines_with_spaces_or_trailing_tabs(between: str, end: str, tmp_path: Path):
    esd.build(tmp_path)
    whole = facts("esd", tmp_path)
    for speaker, encoding in esd.ENCODINGS.items():
        lines = [line.replace("\t", between) + end for line in esd.lines_of(speaker)]
        esd.write_texts(tmp_path, speaker, lines, encoding)
    assert facts("esd", tmp_path) == whole
    assert all(text for *_, text in whole)


def test_esd_lines_that_cannot_be_read_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    esd.build(tmp_path)
    esd.write_texts(tmp_path, "0011", ["0011_000021", *esd.lines_of("0011")[1:]], "utf-8")
    esd.read_esd(tmp_path)
    assert f"left out: 1: lines that are not NAME<tab>TEXT<tab>EMOTION, such as {tmp_path}" in (
        caplog.text
    )
    assert "left out: 1: texts of clips that the transcripts do not have" in caplog.text


def test_a_transcript_of_msp_podcast_that_is_not_utf_8_has_its_own_name(tmp_path: Path):
    msp_podcast.build(tmp_path)
    name = "MSP-PODCAST_0001_0008.txt"
    (tmp_path / "Transcripts" / name).write_bytes("être là".encode("cp1252"))
    with pytest.raises(UserError) as caught:
        msp_podcast.read_msp_podcast(tmp_path)
    assert f"Transcripts/{name}:1: the file is not in UTF-8" in str(caught.value)
    assert "labels_consensus" not in str(caught.value)
