"""MEAD as it is distributed, with WAV files beside its M4A ones, and ways it can be wrong."""

import pytest

from annotate.corpora.named import NAMED
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip

read_mead = NAMED["mead"].read


def build(root):
    names = (
        "M003/audio/angry/level_1/001",
        "M003/audio/angry/level_3/001",
        "M003/audio/neutral/level_1/040",
        "W009/audio/disgusted/level_2/012",
    )
    for index, name in enumerate(names):
        write_clip(root / f"{name}.wav", hz=120 + index, rate_hz=48000)
        (root / f"{name}.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    video = root / "W009/video/front/disgusted/level_2/012.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"\0\0\0\x20ftypmp42")


def test_golden(tmp_path):
    rows = check_golden("mead", tmp_path, build)
    assert [row["id"] for row in rows] == [
        "mead/M003-angry-level_1-001",
        "mead/M003-angry-level_3-001",
        "mead/M003-neutral-level_1-040",
        "mead/W009-disgusted-level_2-012",
    ]
    assert [row.get("intensity") for row in rows] == ["weak", "strong", None, "medium"]
    assert [row["sex"] for row in rows] == ["male", "male", "male", "female"]
    assert (rows[3]["label"], rows[3]["raw_label"]) == ("disgust", "disgusted")
    assert (rows[3]["speaker"], rows[3]["audio"]) == (
        "mead/W009",
        "W009/audio/disgusted/level_2/012.wav",
    )


def test_m4a_alone_asks_for_ffmpeg(tmp_path):
    build(tmp_path)
    (tmp_path / "M003/audio/angry/level_1/001.wav").unlink()
    (tmp_path / "M003/audio/angry/level_3/001.wav").unlink()
    with pytest.raises(UserError, match="one of 2 M4A files of M003 without") as caught:
        read_mead(tmp_path)
    assert f"find {tmp_path} -path '*/audio/*.m4a' -exec sh -c 'ffmpeg" in str(caught.value)


def test_a_packed_actor(tmp_path):
    build(tmp_path)
    (tmp_path / "M005").mkdir()
    (tmp_path / "M005/audio.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"run: tar -xf \S+/M005/audio.tar -C \S+/M005"):
        read_mead(tmp_path)
    (tmp_path / "M005/audio.tar").unlink()
    with pytest.raises(UserError, match=r"M005/audio: no such folder; it is in the actor's"):
        read_mead(tmp_path)


@pytest.mark.parametrize(
    "name", ["audio/bored/level_1/001", "audio/sad/level_4/001", "audio/sad_level_1/001"]
)
def test_other_paths(tmp_path, name):
    build(tmp_path)
    write_clip(tmp_path / "M003" / f"{name}.wav", hz=200)
    with pytest.raises(UserError, match="not a MEAD path"):
        read_mead(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_mead(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no clip of MEAD"):
        read_mead(tmp_path)
