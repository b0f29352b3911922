"""MSP-Podcast as it is distributed, and every way its folder can be wrong."""

import pytest

from annotate.corpora.convert import build_rows
from annotate.corpora.msp_podcast import read_msp_podcast
from configs.errors import UserError
from tests.unit.corpus_files import check_golden, write_clip, write_lines

HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set"
ROWS = (
    "MSP-PODCAST_0001_0008.wav,N,3.8,4.2,3.8,127,Male,Test1",
    "MSP-PODCAST_0002_0033.wav,H,5.0,6.2,5.4,Unknown,Female,Train",
    "MSP-PODCAST_0006_0017.wav,C,4.6,2.0,5.2,56,Female,Development",
    "MSP-PODCAST_0023_0049.wav,X,4.0,4.0,4.0,19,Male,Train",
    "MSP-PODCAST_1303_0142.wav,U,6.0,4.4,4.6,1024,Unknown,Test2",
    "MSP-PODCAST_test3_0001.wav,,,,,,,Test3",
)


def build(root, rows=ROWS, header=HEADER, labels="labels_consensus.csv", audio="Audios"):
    write_lines(root / "Labels" / labels, [header, *rows])
    for index, row in enumerate(ROWS):
        write_clip(root / audio / row.split(",")[0], hz=130 + index)
    write_lines(root / "Transcripts/MSP-PODCAST_0001_0008.txt", ["and that was, you know, it."])


def test_golden(tmp_path):
    rows = check_golden("msp_podcast", tmp_path, build)
    assert [(row["id"][-9:], row["split"], row["label"]) for row in rows] == [
        ("0001_0008", "test", "neutral"),
        ("0002_0033", "train", "happy"),
        ("0006_0017", "eval", "contempt"),
        ("1303_0142", "test", "surprise"),
    ]
    assert [row["split_set"] for row in rows] == ["Test1", "Train", "Development", "Test2"]
    assert [row.get("speaker") for row in rows] == [
        "msp_podcast/127",
        None,
        "msp_podcast/56",
        "msp_podcast/1024",
    ]
    assert [row.get("sex") for row in rows] == ["male", "female", "female", None]
    assert [row.get("text") for row in rows] == ["and that was, you know, it.", None, None, None]
    assert (rows[1]["arousal"], rows[1]["valence"], rows[1]["dominance"]) == (5.0, 6.2, 5.4)


def test_no_agreement_is_dropped_and_counted(tmp_path):
    build(tmp_path)
    found = build_rows("msp_podcast", tmp_path, labels="nine", num_workers=1)
    assert found.dropped == {"X": 1}
    assert found.labels.merges == {"contempt or disgust": ("C", "D")}


def test_older_releases_spell_it_differently(tmp_path):
    build(tmp_path, labels="labels_concensus.csv", audio="Audio")
    assert read_msp_podcast(tmp_path)[0].audio == "Audio/MSP-PODCAST_0001_0008.wav"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("MSP-PODCAST_9.wav,N,3,4,3,1,Male,Train", r"csv:2: no clip \S+/Audios/MSP-PODCAST_9.wav"),
        ("MSP-PODCAST_0001_0008.wav,N,3,4,3,1,Male,Dev", "Split_Set is 'Dev'; expected Train"),
        ("MSP-PODCAST_0001_0008.wav,N,,4,3,1,Male,Train", "EmoAct is ''; expected a number"),
        ("MSP-PODCAST_0001_0008.wav,N,3,nan,3,1,Male,Train", "EmoVal is 'nan'; expected a number"),
        ("MSP-PODCAST_0001_0008.wav", "Split_Set is ''"),
    ],
)
def test_wrong_rows(tmp_path, row, said):
    build(tmp_path, rows=(row, *ROWS[1:]))
    with pytest.raises(UserError, match=said):
        read_msp_podcast(tmp_path)


def test_wrong_columns(tmp_path):
    build(tmp_path, header=HEADER.replace("SpkrID", "Speaker"))
    with pytest.raises(UserError, match="csv:1: has no column SpkrID"):
        read_msp_podcast(tmp_path)


def test_other_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_msp_podcast(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"Labels/labels_consensus.csv: no such file"):
        read_msp_podcast(tmp_path)
    write_lines(tmp_path / "Labels/labels_consensus.csv", [HEADER])
    with pytest.raises(UserError, match="Audios: no such file or folder"):
        read_msp_podcast(tmp_path)
    (tmp_path / "Audios").mkdir()
    with pytest.raises(UserError, match="holds no clip of MSP-Podcast"):
        read_msp_podcast(tmp_path)
    (tmp_path / "Labels/labels_consensus.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe,N\n")
    with pytest.raises(UserError, match=r"labels_consensus\.csv:2: the file is not in UTF-8"):
        read_msp_podcast(tmp_path)
