"""Clips that are links: into a store outside the root, inside it, to nothing, and in circles."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
from msgspec import structs

from configs.resume_rules import class_of
from configs.schema import BenchmarkConfig, DataConfig, RunConfig
from data.audio import AudioError, probe
from data.clips import path_inside, read_clip
from data.links import ClipRoot, why_absent
from data.manifest import ManifestError, read_leniently, read_manifest
from data.records import Example
from data.splits import benchmark_rows
from launch.dataset import main
from report.data import shown_clips
from rewards.base import judge_context
from rewards.judges.base import DIMENSIONS, JudgeContext
from rewards.judges.http import HttpJudge
from rewards.judges.rows import read_judge_rows
from tests.fixtures import LABELS, tone, write_manifest, write_tone
from tests.judge_server import always, running
from tests.unit.make_groups import make_group

SHA = "6f7a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8"
MD5 = "files/md5/3d/5f60718293a4b5c6d7e8f90a1b2c3d"
ANNEX = f".git/annex/objects/G7/J7/SHA256E-s16044--{SHA}.wav/SHA256E-s16044--{SHA}.wav"


def row(audio: str, **more: Any) -> dict[str, Any]:
    return {"id": audio, "audio": audio, "label": "sad", **more}


def link(path: Path, target: str | Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    return path


def read(root: Path, *audio: str, follow_links: bool = False) -> list[Example]:
    manifest = write_manifest(root.parent / "m.jsonl", [row(name) for name in audio])
    return read_manifest(
        manifest,
        audio_root=root,
        choices=LABELS,
        question_template="?",
        follow_links=follow_links,
    )


def problems(root: Path, *audio: str, follow_links: bool = False) -> str:
    with pytest.raises(ManifestError) as caught:
        read(root, *audio, follow_links=follow_links)
    return str(caught.value)


def hub_cache(folder: Path) -> Path:
    """Write a data set as the hub's cache holds it; return the folder of its revision."""
    blobs = folder / "datasets--org--talk" / "blobs"
    write_tone(blobs / "tone.wav").rename(blobs / SHA)
    root = folder / "datasets--org--talk" / "snapshots" / "0f1e2d"
    link(root / "sad" / "x.wav", f"../../../blobs/{SHA}")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with a link of each kind that leads out, beside a plain clip."""
    root = tmp_path / "root"
    write_tone(root / "plain.wav")
    write_tone(tmp_path / "store" / "a.wav", frequency_hz=300.0)
    write_tone(tmp_path / "store" / "b.wav", frequency_hz=500.0)
    link(root / "file.wav", tmp_path / "store" / "a.wav")
    link(root / "relative.wav", "../store/a.wav")
    link(root / "chain.wav", "file.wav")
    link(root / "folder", tmp_path / "store")
    return root


OUT = ("file.wav", "relative.wav", "chain.wav", "folder/b.wav")


def test_each_link_that_leads_out_is_named_with_its_target_and_the_switch(root: Path):
    store = root.parent / "store"
    found = problems(root, "plain.wav", *OUT)
    assert "m.jsonl: 4 problem(s) found" in found
    lines = found.splitlines()[1:]
    for number, audio in enumerate(OUT, start=2):
        assert lines[number - 2].startswith(f"{root.parent}/m.jsonl:{number}: audio {audio!r} ")
        assert f"outside the audio root {root}; say data.follow_links=true" in lines[number - 2]
    for line in lines[:3]:
        assert f" is a link to {store}/a.wav, outside" in line
    assert f" lies below {root}/folder, a link to {store}, outside" in lines[3]


def test_with_the_switch_they_are_read(root: Path):
    examples = read(root, "plain.wav", *OUT, follow_links=True)
    assert [example.audio for example in examples] == ["plain.wav", *OUT]
    manifest = root.parent / "m.jsonl"
    lenient = [row["audio"] for row in read_leniently(manifest, root, follow_links=True)]
    assert lenient == ["plain.wav", *OUT]
    assert [row["audio"] for row in read_leniently(manifest, root)] == ["plain.wav"]
    for audio in OUT:
        samples = read_clip(root, audio, follow_links=True)
        assert samples is not None and len(samples) == 8_000
        assert read_clip(root, audio) is None


@pytest.mark.parametrize(
    ("audio", "what"),
    [
        ("../store/a.wav", "climbs with '..'"),
        ("folder/../root/plain.wav", "climbs with '..'"),
        ("{store}/a.wav", "is absolute"),
        ("folder", "not a regular file"),
        ("zero.wav", "not a regular file"),
        ("folder/gone.wav", "No such file"),
    ],
)
def test_the_text_of_a_path_never_leads_out(root: Path, audio: str, what: str):
    link(root / "zero.wav", "/dev/zero")
    audio = audio.format(store=root.parent / "store")
    assert what in problems(root, audio, follow_links=True)
    lenient = list(read_leniently(root.parent / "m.jsonl", root, follow_links=True))
    may_read = [row["audio"] for row in lenient]
    assert may_read == ([] if "'..'" in what or "absolute" in what else [audio])
    assert path_inside(root, "a\0", follow_links=True) is None
    assert path_inside(root, "\ud800", follow_links=True) is None
    assert path_inside(root, "", follow_links=True) is None
    assert read_clip(root, audio, follow_links=True) is None


def test_what_stays_inside_needs_no_switch(tmp_path: Path):
    root = tmp_path / "real"
    write_tone(root / "v2" / "a.wav")
    link(root / "latest", "v2")
    link(root / "b.wav", "v2/a.wav")
    link(root / "c.wav", root / "latest" / "a.wav")
    os.link(write_tone(tmp_path / "elsewhere.wav"), root / "hard.wav")
    current = link(tmp_path / "current", "real")
    names = ["v2/a.wav", "latest/a.wav", "b.wav", "c.wav", "hard.wav"]
    for place in (root, current, link(tmp_path / "again", current)):
        for follow_links in (False, True):
            examples = read(place, *names, follow_links=follow_links)
            assert [example.audio for example in examples] == names
            assert all(
                read_clip(place, name, follow_links=follow_links) is not None for name in names
            )


def test_a_revision_in_the_cache_of_the_hub(tmp_path: Path):
    root = hub_cache(tmp_path)
    assert f"a link to {tmp_path}/datasets--org--talk/blobs/{SHA}" in problems(root, "sad/x.wav")
    assert [e.audio for e in read(root, "sad/x.wav", follow_links=True)] == ["sad/x.wav"]
    # Of the whole data set, both are inside.
    whole = tmp_path / "datasets--org--talk"
    assert [e.audio for e in read(whole, "snapshots/0f1e2d/sad/x.wav")]


@pytest.mark.parametrize("end", ["wav", "flac", "ogg", "mp3", "aiff", "au", "w64"])
def test_a_format_is_told_by_its_bytes(tmp_path: Path, end: str):
    blob = tmp_path / "blobs" / SHA
    blob.parent.mkdir()
    sf.write(tmp_path / f"clip.{end}", tone(440.0), 16_000)
    (tmp_path / f"clip.{end}").rename(blob)
    root = link(tmp_path / "root" / "x", blob).parent
    link(root / "y.wav", blob)
    for audio in ("x", "y.wav"):
        samples = read_clip(root, audio, follow_links=True)
        assert samples is not None and abs(len(samples) - 8_000) < 1_200
        assert probe(root / audio) == probe(blob)


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        (f"../{ANNEX}", "git -C {root} annex get x.wav"),
        (f"../.dvc/cache/{MD5}", "dvc --cd {root} pull x.wav"),
        (f"/mnt/shared/dvc/{MD5}", "dvc --cd {root} pull x.wav"),
        (
            f"../datasets--org--talk--two/blobs/{SHA}",
            "hf download org/talk--two --repo-type dataset",
        ),
        ("../store/gone.wav", "restore it or mend the link"),
    ],
)
def test_a_link_to_nothing_names_who_has_the_file(tmp_path: Path, target: str, remedy: str):
    root = link(tmp_path / "root" / "x.wav", target).parent
    shown = os.path.realpath(root / "x.wav")
    found = problems(root, "x.wav", follow_links=True)
    assert f"'x.wav' is a link to {shown}, which is not there; " in found
    assert remedy.format(root=root) in found
    # So it is by whoever opens it later: a store may be gone by then.
    with pytest.raises(AudioError, match=r"x\.wav: is a link to .*, which is not there"):
        probe(root / "x.wav")
    # Without the switch, both are said.
    found = problems(root, "x.wav")
    assert f"is a link to {shown}, outside the audio root {root} (not there: " in found
    assert remedy.format(root=root) in found and "data.follow_links=true" in found


def test_a_link_to_nothing_inside_the_root(tmp_path: Path):
    root = link(tmp_path / "root" / "sub dir" / "x.wav", f"../{ANNEX}").parent.parent
    found = problems(root, "sub dir/x.wav")
    assert f"git-annex fetches it: `git -C '{root}/sub dir' annex get x.wav`" in found
    link(root / "folder", root / "gone")
    found = problems(root, "folder/x.wav")
    assert f"'folder/x.wav' lies below {root}/folder, a link to {root}/gone, which" in found


def test_what_dvc_keeps_without_a_link(tmp_path: Path):
    (tmp_path / "root" / "clips").mkdir(parents=True)
    root = tmp_path / "root"
    (root / "clips" / "x.wav.dvc").write_text("outs:\n- md5: 00\n  path: x.wav\n")
    (root / "more.dvc").write_text("outs:\n- md5: 00.dir\n  path: more\n")
    found = problems(root, "clips/x.wav", "more/a/b.wav", "other/c.wav")
    assert f"`dvc --cd {root}/clips pull x.wav`" in found
    assert f"`dvc --cd {root} pull more`" in found
    assert "'other/c.wav' cannot be read: No such file" in found


@pytest.mark.parametrize("follow_links", [False, True])
def test_circles_are_named(tmp_path: Path, follow_links: bool):
    root = tmp_path / "root"
    link(root / "self.wav", "self.wav")
    link(root / "a.wav", "sub/b.wav")
    link(root / "sub" / "b.wav", root / "a.wav")
    link(root / "folder", "folder")
    found = problems(
        root, "self.wav", "a.wav", "folder/x.wav", follow_links=follow_links
    ).splitlines()
    assert "symbolic links in a circle (self.wav -> self.wav)" in found[1]
    assert "symbolic links in a circle (a.wav -> sub/b.wav -> a.wav)" in found[2]
    assert f"lies below {root}/folder, a link among symbolic" in found[3]
    assert "(folder -> folder)" in found[3]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{SHA}\nsize 9\n", "git lfs pull"),
        (f"/annex/objects/SHA256E-s16044--{SHA}.wav\n", "git annex get"),
        (f"../{ANNEX}", "git annex get"),
    ],
)
def test_a_text_that_stands_for_a_file(tmp_path: Path, text: str, command: str):
    (tmp_path / "x.wav").write_text(text)
    with pytest.raises(AudioError, match=rf"x\.wav: is a pointer of .*run `{command}`"):
        probe(tmp_path / "x.wav")


def test_a_link_that_may_not_be_followed_says_so(tmp_path: Path):
    path = link(tmp_path / "x", "y" * 300)
    assert why_absent(str(path)).endswith("File name too long; make it readable")
    assert why_absent(str(tmp_path / "gone" / "x")) == ""


def test_names_in_links_are_printable(tmp_path: Path):
    link(
        tmp_path / "root" / "x.wav",
        b"../gone\x1b[2J\xff\n\xc3\xa9".decode("utf-8", "surrogateescape"),
    )
    found = why_absent(str(tmp_path / "root" / "x.wav"))
    assert f"is a link to {tmp_path}/gone\\x1b[2J\\udcff\\né, which is not there" in found
    assert found.encode()


def test_a_deep_path_costs_little(tmp_path: Path):
    place = ClipRoot(tmp_path)
    assert "too long" in place.problem("a/" * 3_000 + "x.wav")


def dataset(command: str, root: Path, *more: str) -> int:
    config = root.parent / "run.yaml"
    config.write_text(
        f"data:\n  manifest: {root.parent / 'm.jsonl'}\n  audio_root: {root}\n"
        f"  choices: [{', '.join(LABELS)}]\ntrain:\n  prompts_per_step: 1\n"
    )
    return main([command, "--config", str(config), *more])


def test_the_commands_that_look_at_a_corpus(root: Path, capsys: pytest.CaptureFixture[str]):
    rows = [
        row("plain.wav", label="sad", split="train", speaker="a"),
        row("folder/b.wav", label="happy", split="train", speaker="b"),
        row("file.wav", label="happy", split="eval", speaker="c"),
    ]
    write_manifest(root.parent / "m.jsonl", rows)
    assert dataset("check", root) == 2
    printed = capsys.readouterr().out
    assert "2 problem(s) found" in printed and "data.follow_links=true" in printed
    assert "1 clips of 1 rows decoded" in printed
    assert dataset("check", root, "data.follow_links=true") == 0
    assert "3 clips of 3 rows decoded: 0 problem(s)" in capsys.readouterr().out
    for command in ("leaks", "stats"):
        assert dataset(command, root) == 2
        assert dataset(command, root, "data.follow_links=true") == 0


def test_runs_and_their_benchmarks_take_the_switch(root: Path):
    manifest = write_manifest(root.parent / "m.jsonl", [row("file.wav"), row("folder/b.wav")])
    data = DataConfig(
        manifest=str(manifest), audio_root="", choices=list(LABELS), bad_clips="error"
    )
    config = RunConfig(data=data)
    benchmark = BenchmarkConfig(name="b", manifest=str(manifest), audio_root=str(root))
    with pytest.raises(ManifestError, match="2 problem"):
        benchmark_rows(benchmark, config)
    following = replace(config, data=replace(data, follow_links=True))
    assert len(benchmark_rows(benchmark, following)[0]) == 2
    assert class_of("data.follow_links") == "free"


def test_judges_hear_a_linked_clip_only_with_the_switch(root: Path):
    config = RunConfig(data=DataConfig(audio_root=str(root), follow_links=True))
    follows = JudgeContext(**judge_context(config))
    with running(always("ok 4")) as server:
        for context, num_calls in ((JudgeContext(str(root)), 0), (follows, 1)):
            judge = HttpJudge(context, url=server.url, model="m", audio=True)
            prompt = make_group(["x"]).prompt
            prompt = replace(prompt, example=structs.replace(prompt.example, audio="folder/b.wav"))
            judge.judge(prompt, ["The pitch is high."])
            judge.close()
            assert len(server.bodies) == num_calls


def test_rows_of_judges_and_pages_take_the_switch(root: Path):
    line = row("file.wav", reasoning="It is low.", scores=dict.fromkeys(DIMENSIONS, 3))
    manifest = write_manifest(root.parent / "m.jsonl", [line])
    how: dict[str, Any] = {"audio_root": root, "choices": LABELS, "question_template": "?"}
    with pytest.raises(ManifestError, match="follow_links"):
        read_judge_rows(manifest, **how)
    assert len(read_judge_rows(manifest, follow_links=True, **how)) == 1
    wanted = {"clip": (root, "file.wav")}
    assert shown_clips(wanted, 10.0) == {}
    assert "source" in shown_clips(wanted, 10.0, follow_links=True)["clip"]
