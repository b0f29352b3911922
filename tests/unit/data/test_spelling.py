from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from data.clips import path_inside
from data.manifest import ManifestError, read_leniently, read_manifest
from data.spelling import spelled_on_disk
from tests.fixtures import write_tone

NFC, NFD = (unicodedata.normalize(form, "Oréau/é.wav") for form in ("NFC", "NFD"))
MIXED = "/".join((NFC.split("/")[0], NFD.split("/")[1]))


def written(root: Path, audio: str) -> Path:
    (root / audio).parent.mkdir(parents=True, exist_ok=True)
    return write_tone(root / audio)


@pytest.mark.parametrize("there", [NFC, NFD, MIXED])
@pytest.mark.parametrize("asked", [NFC, NFD, MIXED])
def test_a_clip_is_found_by_either_spelling(tmp_path: Path, there: str, asked: str) -> None:
    written(tmp_path / "root", there)
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "a", "audio": asked, "label": "sad"}), encoding="utf-8")
    rows = read_manifest(
        manifest, audio_root=tmp_path / "root", choices=["sad"], question_template=""
    )
    assert [row.audio for row in rows] == [there]
    assert [row["audio"] for row in read_leniently(manifest, tmp_path / "root")] == [there]
    assert path_inside(tmp_path / "root", asked) == (tmp_path / "root" / there).resolve()


def test_of_two_spellings_none_is_chosen_but_the_exact_one(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "q\u0323\u0307.wav") for form in ("NFC", "NFD")]
    other = "q\u0307\u0323.wav"
    assert len({*forms, other}) == 2
    written(tmp_path, forms[0])
    assert spelled_on_disk(str(tmp_path), other) == forms[0]
    written(tmp_path, NFC)
    written(tmp_path, NFD)
    assert spelled_on_disk(str(tmp_path), NFD) == NFD
    assert spelled_on_disk(str(tmp_path), MIXED) == MIXED


def test_a_link_that_leads_out_is_refused_in_either_spelling(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "store").mkdir()
    write_tone(tmp_path / "store" / "out.wav")
    os.symlink(tmp_path / "store" / "out.wav", root / unicodedata.normalize("NFC", "é.wav"))
    asked = unicodedata.normalize("NFD", "é.wav")
    assert path_inside(root, asked) is None
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "a", "audio": asked, "label": "sad"}), encoding="utf-8")
    with pytest.raises(ManifestError, match="outside the audio root"):
        read_manifest(manifest, audio_root=root, choices=["sad"], question_template="")
