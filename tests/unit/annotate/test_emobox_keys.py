"""Speakers and sexes from EmoBox's real keys, and its folds as splits."""

from __future__ import annotations

from typing import Any

import pytest

from annotate.corpora.emobox_keys import KEYS, who_speaks
from annotate.splits import with_fold
from configs.errors import UserError

# Key, path of the clip, speaker, sex.
REAL = [
    ("aesdd-a03-3", "anger/a03 (3).wav", "3", None),
    ("ased-a5-02-01-01-33", "05Angry/a5-02-01-01-33.wav", "33", "female"),
    ("asvpesd-03-01-07-01-05-75-02-02-17", "Audio/actor_75/x.wav", "75", "female"),
    ("cafe-12-P-2-5", "CaFE_48k/Peur/Fort/12-P-2-5.wav", "12", "female"),
    ("casia-239-wangzhe-neutral", "wangzhe/neutral/239.wav", "wangzhe", None),
    ("cremad-1087-IWL-ANG-XX", "AudioWAV/1087_IWL_ANG_XX.wav", "1087", None),
    ("emodb-03a00Wa", "wav/03a00Wa.wav", "03", "male"),
    ("emodb-14a04Lb", "wav/14a04Lb.wav", "14", "female"),
    ("emovdb-jenie-Amused-0057", "jenie_Amused/amused_57-84_0057.wav", "jenie", "female"),
    ("emovo-tri-m2-n4", "m2/tri-m2-n4.wav", "m2", "male"),
    ("enterface-s12_an_4.avi", "subject 11/anger/sentence 4/s12_an_4.avi", "11", None),
    ("esd-0011-000584", "0011/Angry/0011_000584.wav", "0011", "male"),
    ("esd-0016-001167", "0016/Sad/0016_001167.wav", "0016", "female"),
    ("iemocap-Ses04M_script03_2_F001", "Session4/x.wav", "Ses04F", "female"),
    ("jlcorpus-male2-concerned-6b-1", "JL(wav+txt)/male2_concerned_6b_1.wav", "male2", "male"),
    ("mead-W019-neutral-level-1-020", "W019/audio/neutral/level_1/020.m4a", "W019", "female"),
    ("mesd-Sadness_M_B_amenazado", "Sadness_M_B_amenazado.wav", None, "male"),
    ("mesd-Fear_C_A_no", "Fear_C_A_no.wav", None, None),
    ("oreau-31a06Ja", "OréauFR_02/m/sessj/31a06Ja.wav", "31", "male"),
    ("polish-m3.s_trzymaj_5", "m3.s_trzymaj_5.wav", "m3", "male"),
    ("ravdess-03-01-05-01-02-01-18", "Actor_18/03-01-05-01-02-01-18.wav", "18", "female"),
    ("savee-JE-n23", "JE_n23.wav", "JE", "male"),
    ("shemo-F21N23", "female/F21N23.wav", "F21", "female"),
    ("subesco-F_10_FAHMEE_S_6_FEAR_5", "F_10_FAHMEE_S_6_FEAR_5.wav", "F_10", "female"),
    ("tess-OAF-lid-fear", "OAF_lid_fear.wav", "OAF", "female"),
    ("turevdb-1984_sk_eger.wav", "Sound Source/Calm/1984_sk_eger.wav", "1984", None),
    ("urdu-SM20_F8_N012", "Neutral/SM20_F8_N012.wav", "SM20", "male"),
    ("meld-dia0_utt0-train", "train/train_splits/dia0_utt0.mp4", None, None),
    ("m3ed-huanlesong_8_2", "modality_speech/B_huanlesong_8_2.wav", None, None),
    ("msppodcast-MSP-PODCAST_0001_0008", "Audio/MSP-PODCAST_0001_0008.wav", None, None),
    ("emozionalmente-1613655062436", "audio/1613655062436.wav", None, None),
    ("resd-32_happiness_enthusiasm_h_120.wav", "train/x.wav", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("key", "path", "speaker", "sex"), REAL)
def test_real_keys(key: str, path: str, speaker: str | None, sex: str | None):
    corpus = key.partition("-")[0]
    found = who_speaks(corpus, key, f"downloads/{corpus}/{path}")
    assert found == (speaker and f"{corpus}-{speaker}", sex)


def test_every_entry_is_tried_and_other_keys_tell_nothing():
    assert {key.partition("-")[0] for key, *_ in REAL} >= KEYS.keys()
    for corpus in KEYS:
        assert who_speaks(corpus, f"{corpus}-?", "downloads/?.wav") == (None, None)


ROWS: list[dict[str, Any]] = [
    {"id": "a", "dataset": "emodb", "split": "test", "fold": 1},
    {"id": "b", "dataset": "emodb", "split": "train", "fold": 2},
    {"id": "c", "dataset": "emodb", "split": "eval"},
]


def test_a_fold_is_the_test_split():
    assert [row["split"] for row in with_fold(ROWS, 1)] == ["test", "train", "eval"]
    assert [row["split"] for row in with_fold(ROWS, 2)] == ["train", "test", "eval"]


def test_folds_that_are_not_there():
    with pytest.raises(UserError, match=r"no clip of emodb is in it; it has the folds 1, 2"):
        with_fold(ROWS, 3)
    with pytest.raises(UserError, match="no clip of meld is in it; it has no folds"):
        with_fold([*ROWS, {"id": "d", "dataset": "meld", "split": "train"}], 1)
    with pytest.raises(UserError, match="none is left to train on"):
        with_fold([ROWS[0]], 1)
