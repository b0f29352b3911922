"""CREMA-D as it is distributed, and every way its folder can be wrong."""

import pytest

from annotate.corpora.convert import load_label_map
from annotate.corpora.named import NAMED
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

EMOTIONS = NAMED["crema_d"].values["label"]
read_crema_d = NAMED["crema_d"].read

ACTORS = (
    '"ActorID","Age","Sex","Race","Ethnicity"',
    '1001,51,"Male","Caucasian","Not Hispanic"',
    '1002,21,"Female","Caucasian","Not Hispanic"',
    '1040,42,"Male","Caucasian","Not Hispanic"',
    '1064,53,"Male","Caucasian","Not Hispanic"',
    '1076,25,"Female","Caucasian","Not Hispanic"',
)
NAMES = (
    "1001_DFA_ANG_XX",
    "1001_IEO_HAP_LO",
    "1001_IEO_DIS_MD",
    "1002_IEO_FEA_HI",
    "1002_WSI_NEU_XX",
    "1040_ITH_SAD_X",  # so named in older copies
    "1064_IEO_DIS_MD",  # the defective ones: left out
    "1064_TIE_SAD_XX",
    "1076_MTI_NEU_XX",
    "1076_MTI_SAD_XX",
)


def build(root):
    write_lines(root / "VideoDemographics.csv", ACTORS)
    for index, name in enumerate(NAMES):
        write_clip(root / f"AudioWAV/{name}.wav", hz=110 + index)


def test_golden(tmp_path):
    rows = check_golden("crema_d", tmp_path, build)
    assert [(row["id"], row["label"], row["intensity"]) for row in rows] == [
        ("crema_d/1001_DFA_ANG_XX", "angry", "unspecified"),
        ("crema_d/1001_IEO_DIS_MD", "disgust", "medium"),
        ("crema_d/1001_IEO_HAP_LO", "happy", "low"),
        ("crema_d/1002_IEO_FEA_HI", "fear", "high"),
        ("crema_d/1002_WSI_NEU_XX", "neutral", "unspecified"),
        ("crema_d/1040_ITH_SAD_XX", "sad", "unspecified"),
    ]
    assert rows[-1]["audio"] == "AudioWAV/1040_ITH_SAD_X.wav"
    assert rows[0]["text"] == "Don't forget a jacket."
    assert [row["sex"] for row in rows] == ["male"] * 3 + ["female"] * 2 + ["male"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1001_DFA_ANG.wav", "not a CREMA-D name"),
        ("1001_DFA_SUR_XX.wav", "not a CREMA-D name"),
        ("1001_ABC_ANG_XX.wav", "not a CREMA-D name"),
        ("1099_DFA_ANG_XX.wav", "actor 1099 is not in VideoDemographics.csv"),
        ("1040_ITH_SAD_XX.wav", r"1040_ITH_SAD_XX\.wav are the same utterance; remove one"),
    ],
)
def test_wrong_names(tmp_path, name, said):
    build(tmp_path)
    write_clip(tmp_path / "AudioWAV" / name, hz=200)
    with pytest.raises(UserError, match=said):
        read_crema_d(tmp_path)


def test_a_clone_without_git_lfs(tmp_path):
    build(tmp_path)
    write_lines(
        tmp_path / "AudioWAV/1001_DFA_SAD_XX.wav",
        ["version https://git-lfs.github.com/spec/v1", "oid sha256:00", "size 70092"],
    )
    with pytest.raises(UserError, match=r"1001_DFA_SAD_XX\.wav: a git-lfs pointer.*git lfs pull"):
        read_crema_d(tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Actor,Sex", "1001,Male"], "has no column ActorID"),
        (["ActorID,Age,Sex", "1001,51"], "actor 1001: expected Sex to be Female or Male"),
        (["ActorID,Sex", "1001,unknown"], "actor 1001: expected Sex to be Female or Male"),
    ],
)
def test_another_table_of_actors(tmp_path, lines, said):
    build(tmp_path)
    write_lines(tmp_path / "VideoDemographics.csv", lines)
    with pytest.raises(UserError, match=said):
        read_crema_d(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="AudioWAV: no such folder"):
        read_crema_d(tmp_path)
    (tmp_path / "AudioWAV").mkdir()
    with pytest.raises(UserError, match=r"VideoDemographics\.csv: no such file"):
        read_crema_d(tmp_path)
    write_lines(tmp_path / "VideoDemographics.csv", ACTORS)
    with pytest.raises(UserError, match="holds no clip of CREMA-D"):
        read_crema_d(tmp_path)


@pytest.mark.parametrize("name", ["nine", "own"])
def test_every_label_is_mapped(name):
    assert load_label_map("crema_d", name).targets.keys() == set(EMOTIONS)
