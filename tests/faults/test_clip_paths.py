"""Paths of clips that lead elsewhere, and manifests that no reader takes."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from data.audio import AudioError, read_audio
from data.clips import read_clip
from data.manifest import ManifestError, read_leniently, read_manifest
from rewards.judges.base import NO_CLIP, JudgeContext
from rewards.judges.http import HttpJudge
from tests.fixtures import LABELS, write_tone
from tests.judge_server import always, running
from tests.unit.make_groups import make_group

PATHS = {
    "climbs out": "../outside.wav",
    "climbs out of a folder": "sub/../../outside.wav",
    "climbs within": "sub/../good.wav",
    "absolute": "{outside}",
    "a link out": "link.wav",
    "a link out of a link": "chain.wav",
    "below a link out": "folder-link/outside.wav",
    "a link to the environment of the process": "environ.wav",
    "a link to a device": "zero.wav",
    "links in a circle": "circle.wav",
    "a pipe": "pipe.wav",
    "a socket": "socket.wav",
    "a device": "device.wav",
    "a folder": "sub",
    "the root": ".",
    "a file: address": "file:///etc/hostname",
    "a file: path": "file:good.wav",
    "a data: address": "data:audio/wav;base64,UklGRg==",
    "an http: address": "http://127.0.0.1:9/a.wav",
    "an address in capitals": "HTTPS://127.0.0.1/a.wav",
    "an address of a bucket": "s3://bucket/a.wav",
    "an address without slashes": "gopher:a",
    "a drive": "C:\\a.wav",
    "a share": "\\\\host\\a.wav",
    "a home": "~/a.wav",
    "an escaped climb": "%2e%2e/outside.wav",
    "a NUL byte": "good.wav\0.wav",
    "a NUL byte at the end": "good.wav\0",
    "a very long name": "a" * 300 + ".wav",
    "a very long path": "a/" * 3_000 + "a.wav",
    "half a surrogate pair": "\ud800.wav",
    "a line break": "good\n.wav",
    "blank": "  ",
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Return an audio root in which lies one of everything."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    write_tone(root / "good.wav")
    write_tone(tmp_path / "outside.wav")
    (root / "link.wav").symlink_to(tmp_path / "outside.wav")
    (root / "chain.wav").symlink_to("link.wav")
    (root / "folder-link").symlink_to(tmp_path)
    (root / "environ.wav").symlink_to("/proc/self/environ")
    (root / "zero.wav").symlink_to("/dev/zero")
    (root / "circle.wav").symlink_to("circle.wav")
    os.mkfifo(root / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(root, os.O_RDONLY)  # paths of sockets are short
        listener.bind(f"/proc/self/fd/{folder}/socket.wav")
        os.close(folder)
        yield root


def path_of(kind: str, root: Path) -> str:
    if kind == "a device":
        try:
            os.mknod(root / "device.wav", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root makes devices")
    return PATHS[kind].replace("{outside}", str(root.parent / "outside.wav"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            id=kind,
            marks=pytest.mark.fault(
                f"a manifest names a clip that is no file of the corpus: {kind}",
                happens="refused by file and line; no reader opens it",
                lost="nothing",
            ),
        )
        for kind in PATHS
    ],
)
def test_no_path_leads_out_or_hangs(root: Path, tmp_path: Path, kind: str):
    audio = path_of(kind, root)
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "x", "audio": audio, "label": "sad"}) + "\n")
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: ") as caught:
        read_manifest(manifest, audio_root=root, choices=LABELS, question_template="?")
    assert len(str(caught.value)) < 1_000
    lenient = [row["audio"] for row in read_leniently(manifest, root)]
    if kind in ("climbs within", "a line break") or not lenient:
        return
    # What is left to the checks of clips is inside the root, and nothing that could be read.
    path = root / lenient[0]
    assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    with pytest.raises(AudioError):
        read_audio(path, min_duration_s=0.0, max_duration_s=30.0)
    assert read_clip(root, lenient[0]) is None


@pytest.mark.timeout(60)
@pytest.mark.fault(
    "a judge that hears clips is asked about one outside the corpus",
    happens="not read and not sent; its scores are missing",
    lost="nothing",
)
@pytest.mark.parametrize(
    "audio",
    [
        "link.wav",
        "../outside.wav",
        "zero.wav",
        "pipe.wav",
        "circle.wav",
        "good.wav\0",
        "\ud800",
        "",
    ],
)
def test_no_clip_from_elsewhere_is_sent(root: Path, audio: str):
    with running(always("ok 4")) as server:
        judge = HttpJudge(JudgeContext(str(root)), url=server.url, model="m", audio=True)
        prompt = make_group(["x"]).prompt
        prompt = replace(prompt, example=structs.replace(prompt.example, audio=audio))
        (found,) = judge.judge(prompt, ["The pitch is high."])
        judge.close()
    assert found.missing == ("clip" if audio else NO_CLIP) and server.bodies == []
    assert read_clip(root, audio) is None


@pytest.mark.fault(
    "a manifest is not UTF-8, or a row is nested without end or holds a number of a million digits",
    happens="refused by file and line",
    lost="nothing",
)
@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"id": "x", "audio": "g\xfc.wav", "label": "sad"}', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"id": "x", "n": ' + b"9" * 1_000_000 + b"}", "digits"),
    ],
    ids=["latin", "utf-16", "nested", "digits"],
)
def test_a_line_that_no_reader_takes(root: Path, tmp_path: Path, line: bytes, what: str):
    (tmp_path / "m.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ManifestError, match=rf"m\.jsonl:1: .*{what}") as caught:
        read_manifest(tmp_path / "m.jsonl", audio_root=root, choices=LABELS, question_template="?")
    assert len(str(caught.value)) < 1_000
    assert list(read_leniently(tmp_path / "m.jsonl", root)) == []
