"""Corpora and sources whose clips are links into a store, through readers and the whole command."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from annotate.corpora import facts
from annotate.corpora.clips import LeftOut, find_clips, find_files
from annotate.corpora.convert import build_rows
from annotate.corpora.table import CORPORA
from annotate.pipeline import run_pipeline
from annotate.sources import written
from annotate.sources.paths import ClipPaths
from annotate.stages import digest_of_tree
from configs.annotate_schema import AnnotateConfig
from configs.errors import UserError
from configs.load import load_sections
from data.files import file_sha256, read_rows
from data.manifest import read_manifest
from tests.fixtures import write_manifest
from tests.unit.annotate import test_corpus_acted as acted
from tests.unit.annotate import test_corpus_disks as disks
from tests.unit.annotate import test_corpus_tables as tables
from tests.unit.corpus_files import write_clip, write_lines
from tests.unit.source_files import table

BUILD: dict[str, Callable[[Path], None]] = {
    **disks.BUILD,
    **tables.BUILD,
    **{corpus: partial(acted.build, corpus) for corpus in acted.NAMES},
}
LABELS = ("sad", "happy")


def test_every_reader_is_here():
    assert BUILD.keys() == CORPORA.keys()


@pytest.fixture(autouse=True)
def _all_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)


def settings(*overrides: str) -> AnnotateConfig:
    return load_sections("", AnnotateConfig, ["reasoning.source=none", "workers=1", *overrides])


def put_away(path: Path, store: Path) -> None:
    """Move a clip into a store, under its hash alone, and leave a link."""
    store.mkdir(exist_ok=True)
    blob = store / file_sha256(path)
    path.rename(blob)
    path.symlink_to(os.path.relpath(blob, path.parent))


def clips_below(root: Path) -> list[Path]:
    return [p for p in sorted(root.rglob("*")) if p.suffix.lower() == ".wav" and p.is_file()]


def rows_of(corpus: str, root: Path, **more: Any) -> list[dict[str, Any]]:
    return build_rows(corpus, root, labels="own", num_workers=1, **more).rows


@pytest.mark.parametrize("corpus", sorted(BUILD))
def test_every_reader_takes_clips_from_a_store_only_with_the_switch(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = tmp_path / "root"
    root.mkdir()
    BUILD[corpus](root)
    whole = rows_of(corpus, root)
    for path in clips_below(root):
        put_away(path, tmp_path / "store")
    assert rows_of(corpus, root, follow_links=True) == whole
    monkeypatch.setattr(facts, "file_facts", lambda path: pytest.fail(f"{path} was read"))
    with pytest.raises(UserError) as caught:
        rows_of(corpus, root)
    first, *lines = str(caught.value).splitlines()
    number = int(first.removeprefix(f"{root}: ").split(" of ")[0])
    assert first.endswith("clips lie outside it") and number >= len(whole) and lines
    assert all(f" is a link to {tmp_path}/store/" in line for line in lines[:number])
    assert "launch/annotate.py: follow_links=true" in lines[0]


@pytest.mark.parametrize("corpus", sorted(BUILD))
def test_every_reader_takes_folders_from_a_store(corpus: str, tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    BUILD[corpus](root)
    whole = rows_of(corpus, root)
    for number, path in enumerate(sorted(p for p in root.iterdir() if p.is_dir())):
        store = tmp_path / "store" / f"{number}"
        store.parent.mkdir(exist_ok=True)
        path.rename(store)
        path.symlink_to(store)
    assert rows_of(corpus, root, follow_links=True) == whole


@pytest.mark.parametrize("corpus", sorted(BUILD))
def test_a_root_that_is_a_link_needs_no_switch(corpus: str, tmp_path: Path):
    (tmp_path / "real").mkdir()
    BUILD[corpus](tmp_path / "real")
    (tmp_path / "root").symlink_to("real")
    assert rows_of(corpus, tmp_path / "root") == rows_of(corpus, tmp_path / "real")


LISTED = ("emobox", "emotioncot", "iemocap", "meld", "msp_podcast", "dusha")


@pytest.mark.parametrize("corpus", LISTED)
def test_a_list_whose_clips_were_not_fetched_names_the_tool(corpus: str, tmp_path: Path):
    BUILD[corpus](tmp_path)
    path = tmp_path / rows_of(corpus, tmp_path)[0]["audio"]
    path.unlink()
    path.symlink_to(tmp_path / ".git/annex/objects/a/b/KEY/KEY")
    with pytest.raises(UserError) as caught:
        rows_of(corpus, tmp_path)
    found = str(caught.value)
    assert f"{path} is a link to {tmp_path}/.git/annex/objects/a/b/KEY/KEY, which" in found
    assert f"git -C {path.parent} annex get {path.name}" in found


def test_clips_that_were_not_fetched_are_counted_with_the_tool(tmp_path: Path):
    write_clip(tmp_path / "a" / "x.wav", hz=200)
    for name in ("y", "z"):
        (tmp_path / "a" / f"{name}.wav").symlink_to(f"../.dvc/cache/files/md5/00/{name}")
    left_out = LeftOut()
    assert [path.name for path in find_clips(tmp_path, "**/*.wav", left_out)] == ["x.wav"]
    (line,) = left_out.lines()
    assert "left out: 2: links that lead to no file, such as " in line
    assert line.endswith(f"DVC fetches it: `dvc --cd {tmp_path}/a pull y.wav`")


def test_texts_are_found_in_linked_folders_each_once(tmp_path: Path):
    for name in ("store/a/x.TextGrid", "root/b/y.TextGrid", "root/.hidden/z.TextGrid"):
        write_lines(tmp_path / name, ["text"])
    (tmp_path / "root" / "a").symlink_to(tmp_path / "store" / "a")
    (tmp_path / "root" / "again").symlink_to(tmp_path / "store" / "a")
    (tmp_path / "root" / "up").symlink_to(tmp_path / "root")
    found = find_files(tmp_path / "root", "**/*.textgrid")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        "root/a/x.TextGrid",
        "root/b/y.TextGrid",
    ]


def own_corpus(root: Path, store: Path, count: int = 8) -> list[dict[str, str]]:
    """Write clips `LABEL/NUMBER.wav`, all of them links into a store."""
    rows: list[dict[str, str]] = []
    for number in range(count):
        label = LABELS[number % 2]
        path = root / label / f"{number}.wav"
        write_clip(path, hz=120 + 7 * number)
        put_away(path, store)
        rows.append({"id": f"r{number}", "audio": f"{label}/{number}.wav", "label": label})
    return rows


def command(kind: str, root: Path) -> list[str]:
    """Write what names the clips of `own_corpus`, and return the settings that read it."""
    rows = own_corpus(root, root.parent / "store")
    folder = root.parent / "lists"
    folder.mkdir()
    lines = ["{audio},{label}".format(**row) for row in rows]
    if kind == "manifest":
        return [f"manifest={write_manifest(folder / 'm.jsonl', rows)}"]
    if kind == "table":
        return ["corpus=table", f"source.files=[{table(folder / 't.csv', 'path,label', lines)}]"]
    if kind == "beside":
        # The table is a link as well, as all is in a cache.
        real = table(folder / "blob", "file_name,label", lines)
        (root / "metadata.csv").symlink_to(real)
        return ["corpus=hf"]
    if kind == "kaldi":
        for name, line in {
            "wav.scp": f"{{id}} {root}/{{audio}}",
            "utt2emo": "{id} {label}",
            "segments": "{id} {id} 0.00 0.30",
            "text": "{id} some words",
        }.items():
            write_lines(folder / name, [line.format(**row) for row in rows])
        return ["corpus=kaldi", f"source.files=[{folder}]"]
    return ["corpus=folders"]


OTHER_TASKS = ("emotion", "pitch", "energy", "rate", "intonation", "asr", "text")


def told(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        run_pipeline(settings(*overrides))
    return str(caught.value)


@pytest.mark.parametrize("kind", ["manifest", "table", "beside", "kaldi", "folders"])
def test_the_whole_command(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    root, out = tmp_path / "root", tmp_path / "out"
    base = [*command(kind, root), f"root={root}", f"output={out}", "labels=own"]
    base += ["splits.by=id", "splits.allow=[unknown_speaker,transcript]"]
    with monkeypatch.context() as closed:
        for home, name in ((facts, "file_facts"), (written, "read_part")):
            closed.setattr(home, name, lambda *what: pytest.fail(f"{what} was read"))
        found = told(*base)
        assert "hashed" not in caplog.text and not (out / "corpus.jsonl").exists()
    assert found.count(f" is a link to {tmp_path}/store/") == 8
    assert found.count(f"outside the audio root {root}; say data.follow_links=true") == 8
    assert "sad/0.wav' is a link to" in found
    assert "8 problem(s)" in found

    # Asked about altered clips alone, which are made of the clips.
    with_tasks = ["tasks.num_rows=3", *(f"tasks.shares.{task}=0" for task in OTHER_TASKS)]
    assert run_pipeline(settings(*base, "follow_links=true", *with_tasks))
    rows = read_rows(out / "manifest.jsonl")
    assert len(rows) == 8 and all(row["prosody"] for row in rows)
    own_clips = kind == "kaldi"
    assert (out / "clips").exists() == own_clips
    assert ("data.follow_links=true" in caplog.text) != own_clips
    place = out / "clips" if own_clips else root
    examples = read_manifest(
        out / "manifest.jsonl",
        audio_root=place,
        choices=LABELS,
        question_template="",
        follow_links=not own_clips,
    )
    assert len(examples) == 8

    # What was written with the switch is not gone on with without it.
    caplog.clear()
    assert run_pipeline(settings(*base, "follow_links=true", *with_tasks))
    assert caplog.text.count("done before") == 4
    assert "outside the audio root" in told(*base)


def test_the_whole_command_on_a_corpus(tmp_path: Path):
    root = tmp_path / "root"
    acted.build("emodb", root)
    for path in clips_below(root):
        put_away(path, tmp_path / "store")
    base = ["corpus=emodb", f"root={root}", f"output={tmp_path / 'out'}", "labels=own"]
    assert f"{root}: 6 of 6 clips lie outside it\n'wav/03a01Wa.wav' is a link" in told(*base)
    assert run_pipeline(settings(*base, "follow_links=true"))
    assert len(read_rows(tmp_path / "out" / "manifest.jsonl")) == 6


def test_a_cache_of_the_hub_by_its_revision_and_as_a_whole(tmp_path: Path):
    data = tmp_path / "datasets--org--talk"
    root = data / "snapshots" / "0f1e"
    rows = own_corpus(root, tmp_path / "blobs")
    # As the cache has it: the blobs beside the revisions.
    (tmp_path / "blobs").rename(data / "blobs")
    for row in rows:
        link = root / row["audio"]
        target = data / "blobs" / os.path.basename(os.readlink(link))
        link.unlink()
        link.symlink_to(os.path.relpath(target, link.parent))
    table(data / "blobs" / "t", "file_name,label", ["{audio},{label}".format(**r) for r in rows])
    (root / "metadata.csv").symlink_to("../../blobs/t")
    base = ["corpus=hf", "labels=own", "splits.by=id", "splits.allow=[unknown_speaker]"]
    assert f"is a link to {data}/blobs/" in told(*base, f"root={root}", f"output={tmp_path}/a")
    of_revision = [*base, f"root={root}", f"output={tmp_path}/a", "follow_links=true"]
    assert run_pipeline(settings(*of_revision))
    assert run_pipeline(settings(*base, f"root={data}", f"output={tmp_path}/b"))
    one, other = (read_rows(tmp_path / name / "corpus.jsonl") for name in "ab")
    assert [row["sha256"] for row in one] == [row["sha256"] for row in other]
    assert other[0]["audio"] == f"snapshots/0f1e/{one[0]['audio']}"


def one_row(tmp_path: Path, audio: str, *overrides: str) -> str:
    """Return what is said of a table of one clip."""
    path = table(tmp_path / "t.csv", "path,label", [f"{audio},sad"])
    base = ["corpus=table", f"root={tmp_path / 'root'}", f"source.files=[{path}]", "labels=own"]
    return told(*base, f"output={tmp_path / 'out'}", *overrides)


@pytest.mark.parametrize("follow_links", ["follow_links=true", "follow_links=false"])
def test_a_row_whose_clip_was_not_fetched_or_leads_in_a_circle(tmp_path: Path, follow_links: str):
    root = tmp_path / "root"
    root.mkdir()
    (root / "x.wav").symlink_to("../.git/annex/objects/a/KEY/KEY")
    (root / "y.wav").symlink_to("y.wav")
    for audio in ("x.wav", f"{root}/x.wav"):
        found = one_row(tmp_path, audio, follow_links)
        assert f"t.csv:2: {audio!r} is a link to {tmp_path}/.git/annex/objects/a/KEY/KEY, " in found
        assert f"`git -C {root} annex get x.wav`; source.missing=skip leaves out" in found
    assert "symbolic links in a circle (y.wav -> y.wav)" in one_row(tmp_path, "y.wav", follow_links)


def test_a_path_of_a_table_leaves_the_root_by_a_link_alone(tmp_path: Path):
    write_clip(tmp_path / "store" / "a.wav", hz=200)
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "folder").symlink_to(tmp_path / "store")
    for audio in ("../store/a.wav", f"{tmp_path}/store/a.wav"):
        assert "give a root above it" in one_row(tmp_path, audio, "follow_links=true")
    found = one_row(tmp_path, "folder/a.wav")
    assert f"lies below {tmp_path}/root/folder, a link to {tmp_path}/store, outside" in found


def test_absolute_paths_by_another_name_of_the_root(tmp_path: Path):
    root = tmp_path / "v3"
    write_clip(root / "sad" / "a.wav", hz=200)
    (tmp_path / "current").symlink_to("v3")
    (tmp_path / "sad").symlink_to("v3/sad")
    for given in (root, tmp_path / "current"):
        paths = ClipPaths(given)
        for audio in ("v3/sad/a.wav", "current/sad/a.wav", "sad/a.wav"):
            assert paths.find(f"{tmp_path}/{audio}", tmp_path) == "sad/a.wav"


def digest(root: Path) -> str:
    return digest_of_tree(root, leave_out=root / "out")


def same_times(path: Path) -> Path:
    os.utime(path, ns=(10**18, 10**18))
    return path


def test_the_digest_of_a_tree_follows_links(tmp_path: Path):
    root, store = tmp_path / "root", tmp_path / "store"
    for name in ("store/one", "store/two", "store/folder/x.wav", "root/plain.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name[-3:])
        same_times(tmp_path / name)
    before = digest(root)
    link = root / "x.wav"
    link.symlink_to(store / "one")
    linked = digest(root)
    assert linked != before and digest(root) == linked
    # Another target, of the same size and time.
    link.unlink()
    link.symlink_to(store / "two")
    other = digest(root)
    assert other not in (before, linked)
    # Another content at the same place.
    (store / "two").write_text("longer")
    assert digest(root) != other

    (root / "folder").symlink_to(store / "folder")
    whole = digest(root)
    (store / "folder" / "y.wav").write_text("new")
    assert digest(root) != whole
    # Nowhere, in circles and upwards: without an end, and without a fault.
    link.unlink()
    link.symlink_to("gone")
    (root / "circle").symlink_to("circle")
    (root / "folder" / "up").symlink_to(root)
    nowhere = digest(root)
    (root / "gone").write_text("here")
    assert digest(root) != nowhere


def test_the_digest_of_a_tree_without_links_is_what_it_was(tmp_path: Path):
    for name in ("b/x.wav", "a.wav", "out/left.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    lines = ""
    for name in ("a.wav", "b/x.wav"):
        facts = (tmp_path / name).stat()
        lines += f"{tmp_path / name}/{facts.st_size}/{facts.st_mtime_ns}\n"
    assert digest(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()


def test_a_clip_linked_elsewhere_is_measured_anew(tmp_path: Path):
    root, out = tmp_path / "root", tmp_path / "out"
    rows = own_corpus(root, tmp_path / "store", 4)
    manifest = write_manifest(tmp_path / "m.jsonl", rows)
    base = [f"manifest={manifest}", f"root={root}", f"output={out}", "follow_links=true"]
    base += ["splits.by=id", "splits.allow=[unknown_speaker]"]
    assert run_pipeline(settings(*base))
    link = root / rows[0]["audio"]
    old = json.loads((out / "manifest.jsonl").read_text().splitlines()[0])
    new = tmp_path / "store" / "new"
    write_clip(tmp_path / "new.wav", hz=321)
    (tmp_path / "new.wav").rename(new)
    facts = link.stat()
    assert new.stat().st_size == facts.st_size
    os.utime(new, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    link.unlink()
    link.symlink_to(new)
    assert run_pipeline(settings(*base))
    row = json.loads((out / "manifest.jsonl").read_text().splitlines()[0])
    assert row["sha256"] == file_sha256(new) != old["sha256"]
