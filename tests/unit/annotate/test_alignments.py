"""Words from aligners' files: every format, units and offsets, other words, and the stress task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from annotate.aligned_files import read_ctm, read_text_grid, read_wdseg
from annotate.alignments import spelled, with_words
from annotate.corpora.clips import LeftOut
from annotate.pipeline import run_pipeline
from configs.annotate_schema import AnnotateConfig, SplitsConfig, TasksConfig
from configs.errors import UserError
from data.prosody.stress import Word

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.2
            text = ""
        intervals [2]:
            xmin = 0.2
            xmax = 0.6
            text = "he said ""no"" twice"
        intervals [3]:
            xmin = 0.6
            xmax = 1.5
            text = "it's"
    item [2]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "AH0"
"""


def short(words: list[tuple[float, float, str]], tier: str = "words") -> str:
    """A TextGrid in the short form."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "0", "9", "<exists>", "1"]
    lines += ['"IntervalTier"', f'"{tier}"', "0", "9", str(len(words))]
    for start, end, word in words:
        lines += [str(start), str(end), f'"{word}"']
    return "\n".join(lines) + "\n"


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_long_text_grid(tmp_path: Path, encoding: str):
    found = read_text_grid(write(tmp_path / "a.TextGrid", LONG, encoding))
    assert found.words == (Word('he said "no" twice', 0.2, 0.6), Word("it's", 0.6, 1.5))


def test_a_short_one_with_silences_noises_and_unknown_words(tmp_path: Path):
    words = [(0, 0.1, "sil"), (0.1, 0.5, "Größe"), (0.5, 0.6, "[laughter]"), (0.6, 1, "<unk>")]
    found = read_text_grid(write(tmp_path / "a.TextGrid", short(words, "speaker 1 - words")))
    assert [word.text for word in found.words] == ["Größe", "<unk>"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LONG.replace('"words"', '"a"'), "expected one tier.*'a', 'phones'"),
        (LONG[:300], r"a.TextGrid:\d+: is no TextGrid: a \w+ is expected, not"),
        ('"ooTextFile" "Sound"', "is no TextGrid"),
        (short([(0, 0.5, "a"), (0.3, 0.9, "b")]), r":16: 'b' is from 0.3 to 0.9 s, and the"),
        (short([(0.5, 0.2, "a")]), r"TextGrid:13: 'a' is from 0.5 to 0.2 s"),
    ],
)  # fmt: skip
def test_wrong_text_grids(tmp_path: Path, text: str, said: str):
    with pytest.raises(UserError, match=said):
        read_text_grid(write(tmp_path / "a.TextGrid", text))


WDSEG = """\t SFrm  EFrm    SegAScr Word
\t    0    51      -72500 <s>
\t   52    75     -197652 EXCUSE
\t   76   100     -100000 ME(2)
\t  101   110       -9999 ++BREATHING++
\t  111   120       -9999 </s>
Total score:    -2314872
"""


def test_frames_of_iemocap_are_10_ms_and_the_last_is_included(tmp_path: Path):
    found = read_wdseg(write(tmp_path / "a.wdseg", WDSEG))
    assert found.words == (Word("EXCUSE", 0.52, 0.76), Word("ME", 0.76, 1.01))
    with pytest.raises(UserError, match=r"a.wdseg:3: expected FIRST_FRAME"):
        read_wdseg(write(tmp_path / "a.wdseg", WDSEG.replace("52    75", "0.52 x")))


def test_ctm(tmp_path: Path):
    path = write(
        tmp_path / "all.ctm", ";; NIST\na 1 0.10 0.20 so 0.9\nb 1 0 1 well\na 1 0.3 0.1 it\n"
    )
    found = with_words([row("a"), row("b")], tmp_path, LeftOut())
    words = [[tuple(word.values()) for word in each["words"]] for each in found]
    assert words == [[("so", 0.1, 0.3), ("it", 0.3, 0.4)], [("well", 0.0, 1.0)]]
    with pytest.raises(UserError, match=r"all.ctm:1: expected CLIP CHANNEL"):
        list(read_ctm(write(path, "a 1 0.1 so\n")))
    with pytest.raises(UserError, match=r"all.ctm:2: a has two channels"):
        list(read_ctm(write(path, "a 1 0.1 1 so\na 2 0.1 1 so\n")))
    write(path, "a 1 0.1 1 so\nb 2 0 1 so\na 2 0.1 1 so\n")
    with pytest.raises(UserError, match=r"all.ctm:3: a has two channels"):
        with_words([row("a")], tmp_path, LeftOut())
    write(path, "a 1 0.1 1 so\n")
    write(tmp_path / "a.TextGrid", short([(0, 1, "so")]))
    with pytest.raises(UserError, match=r"all.ctm: a has two alignments in .*; keep one"):
        with_words([row("a")], tmp_path, LeftOut())


def words_of(*texts: str) -> list[Word]:
    return [Word(text, float(n), n + 0.5) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("aligned", "text", "made"),
    [
        (("dont", "go"), "Don't go!", [("Don't", 0, 0.5), ("go!", 1, 1.5)]),
        (("they", "'re", "in"), "They're in.", [("They're", 0, 1.5), ("in.", 2, 2.5)]),
        (("wellknown",), "well -- known", [("well known", 0, 0.5)]),
        (("the", "<unk>"), "The EBITDA", [("The", 0, 0.5), ("EBITDA", 1, 1.5)]),
        (("the", "dog"), "The cat", []),
        (("the",), "The cat", []),
        (("the", "cat"), "The", []),
    ],
)
def test_the_spelling_of_the_text(aligned: tuple[str, ...], text: str, made: list[Any]):
    assert spelled(words_of(*aligned), text) == [Word(*each) for each in made]


def row(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "audio": f"{name}.wav", "duration_s": 3.0, **more}


def test_rows_get_their_words(tmp_path: Path):
    write(tmp_path / "x/one.TextGrid", short([(0, 1, "so"), (1, 3.05, "it")]))
    write(tmp_path / "stray.TextGrid", short([(0, 1, "so")]))
    write(tmp_path / "more.ctm", "two 1 0 1 <unk>\nthree 1 0 1 other\n")
    left_out = LeftOut()
    rows = [row("one"), row("two"), row("three", text="mine"), row("four")]
    found = with_words(rows, tmp_path, left_out)
    assert found[0]["words"] == [
        {"word": "so", "start_s": 0.0, "end_s": 1.0},
        {"word": "it", "start_s": 1.0, "end_s": 3.0},  # cut at the clip's end
    ]
    assert not any("words" in each for each in found[1:])
    assert sorted(left_out.counts.values()) == [1, 1, 1, 1]


def test_alignments_of_another_clip_or_unit_are_refused(tmp_path: Path):
    path = write(tmp_path / "one.TextGrid", short([(0, 1, "so"), (1, 310, "it")]))
    with pytest.raises(UserError, match=r"TextGrid:13: 'it' ends at 310 s, and the clip one.wav"):
        with_words([row("one")], tmp_path, LeftOut())
    path.unlink()
    with pytest.raises(UserError, match=r"holds no file of .textgrid"):
        with_words([row("one")], tmp_path, LeftOut())
    write(tmp_path / "other.TextGrid", short([(0, 1, "so")]))
    with pytest.raises(UserError, match="not one clip gets words from it"):
        with_words([row("one")], tmp_path, LeftOut())


def test_iemocap_as_it_is_distributed(tmp_path: Path):
    name = "Ses01F_impro01_F000"
    folder = tmp_path / "Session1/sentences"
    write(folder / f"ForcedAlignment/Ses01F_impro01/{name}.wdseg", WDSEG)
    write(folder / f"ForcedAlignment/Ses01F_impro01/{name}.phseg", "phones")
    clip = row(f"Session1/sentences/wav/Ses01F_impro01/{name}", text="Excuse me.")
    (found,) = with_words([clip], tmp_path, LeftOut())
    assert [word["word"] for word in found["words"]] == ["Excuse", "me."]


def test_clips_of_one_name_need_the_folders(tmp_path: Path):
    for folder in ("M003", "M005"):
        write(tmp_path / folder / "001.TextGrid", short([(0, 1, folder)]))
    rows = [row("M003/001"), row("M005/001")]
    found = with_words(rows, tmp_path, LeftOut())
    assert [each["words"][0]["word"] for each in found] == ["M003", "M005"]
    (tmp_path / "M005/001.TextGrid").rename(tmp_path / "001.TextGrid")
    with pytest.raises(UserError, match="could be of several clips called 001"):
        with_words(rows, tmp_path, LeftOut())


RATE_HZ = 16000


def voice(words: Sequence[tuple[float, float, float]]) -> Any:
    """Buzzes of (length in s, pitch in Hz, level), 50 ms of silence between them."""
    parts = []
    for length_s, hz, level in words:
        time_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
        buzz = sum(np.sin(2 * np.pi * hz * k * time_s) / k for k in range(1, 15))
        parts += [level * buzz, np.zeros(RATE_HZ // 20)]
    return np.concatenate(parts)


def test_from_text_grids_to_questions_about_stress_and_a_fold(tmp_path: Path):
    root, grids = tmp_path / "clips", tmp_path / "grids"
    root.mkdir()
    rows = []
    for number in range(3):
        spoken = [(0.3, 120 + 5 * number, 0.05)] * 4
        spoken[number] = (0.5, 190 + 5 * number, 0.3)
        sf.write(root / f"{number}.wav", voice(spoken), RATE_HZ)
        start, intervals = 0.0, []
        for word, (length_s, *_) in zip(("we", "go", "to", "it"), spoken, strict=True):
            intervals.append((round(start, 3), round(start + length_s, 3), word.upper()))
            start += length_s + 0.05
        write(grids / f"{number}.TextGrid", short(intervals))
        facts = {"label": "happy", "split": "train", "speaker": "s", "text": "We go to it."}
        rows.append({"id": f"c{number}", "audio": f"{number}.wav", "fold": number + 1, **facts})
    manifest = write(tmp_path / "m.jsonl", "".join(json.dumps(each) + "\n" for each in rows))
    config = AnnotateConfig(
        manifest=str(manifest),
        root=str(root),
        alignments=str(grids),
        output=str(tmp_path / "out"),
        workers=1,
        splits=SplitsConfig(by="keep", allow=["transcript"]),
        tasks=TasksConfig(num_rows=3, shares={"stress": 1.0}),
    )
    config.reasoning.source = "none"
    assert run_pipeline(config)
    made = (tmp_path / "out/sft.jsonl").read_text().splitlines()
    questions = {each["source"]: each for each in map(json.loads, made)}
    assert {name: each["label"] for name, each in questions.items()} == {
        "c0": "We", "c1": "go", "c2": "to",
    }  # fmt: skip
    assert questions["c1"]["choices"] == ["We", "go", "to", "it"]

    config.splits = SplitsConfig(fold=2, allow=["speaker", "transcript"])
    config.tasks.num_rows = 0
    assert run_pipeline(config)
    made = (tmp_path / "out/manifest.jsonl").read_text().splitlines()
    assert [json.loads(each)["split"] for each in made] == ["train", "test", "train"]
    assert all(json.loads(each)["words"] for each in made)
