from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import data.manifest
from data.manifest import MAX_LISTED, ManifestError, read_manifest, select_split
from data.manifest_row import RowReader, _any_fields
from data.packed import Packed
from data.records import Example
from tests.fixtures import LABELS, QUESTION, make_example, write_manifest, write_tone

ROW = {"id": "a", "audio": "a.wav", "label": "happy"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    for name in ("a.wav", "b.wav", "sub/c.wav"):
        write_tone(folder / name, duration_s=0.01)
    return folder


def read(root: Path, content: str | bytes) -> list[Example]:
    manifest = root.parent / "m.jsonl"
    manifest.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_manifest(manifest, audio_root=root, choices=LABELS, question_template=QUESTION)


def problems(root: Path, content: str | bytes) -> str:
    with pytest.raises(ManifestError) as caught:
        read(root, content)
    return str(caught.value)


def test_all_fields_arrive_and_unknown_ones_are_left_alone(root: Path) -> None:
    full = ROW | {
        "text": "hello",
        "speaker": "s1",
        "split": "train",
        "dataset": "toy",
        "prosody": {"pitch_hz": 210.5},
        "reasoning": "The pitch is high.",
        "session": 3,
    }
    assert read(root, json.dumps(full)) == [
        Example(
            id="a",
            audio="a.wav",
            label="happy",
            question="Which emotion? Choose from: neutral, happy, sad, angry.",
            choices=LABELS,
            transcript="hello",
            prosody={"pitch_hz": 210.5},
            reasoning="The pitch is high.",
            speaker="s1",
            split="train",
            dataset="toy",
        )
    ]


def test_names_of_the_released_annotations_are_accepted(root: Path) -> None:
    row = {"id": "c", "audio_path": "sub/c.wav", "emotion": "sad", "transcription": "no"}
    (example,) = read(root, json.dumps(row))
    assert (example.audio, example.label, example.transcript) == ("sub/c.wav", "sad", "no")


def test_a_row_may_carry_its_own_question_and_choices(root: Path) -> None:
    row = ROW | {"question": "{choices}?", "choices": ["sad", "happy"]}
    (example,) = read(root, json.dumps(row))
    assert (example.question, example.choices) == ("sad, happy?", ("sad", "happy"))


def test_byte_order_mark_empty_lines_crlf_and_null_fields_are_tolerated(root: Path) -> None:
    line = json.dumps(ROW | {"speaker": None, "text": " ", "split": "\u00fcben"})
    (example,) = read(root, b"\xef\xbb\xbf\r\n" + line.encode() + b"\r\n\r\n")
    assert (example.speaker, example.transcript, example.split) == (None, None, "\u00fcben")


def test_a_line_separator_inside_a_text_does_not_end_the_row(root: Path) -> None:
    line = json.dumps(ROW | {"text": "one\u2028two"}, ensure_ascii=False)
    assert read(root, line)[0].transcript == "one\u2028two"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{'id': 'a'}", "is not JSON"),
        ("[1, 2]", "is a JSON list"),
        ("[" * 100_000, "nested too deeply"),
        ('{"audio": "a.wav", "label": "happy"}', "has no 'id'"),
        ('{"id": "a", "label": "happy"}', "has no 'audio' (or 'audio_path')"),
        ('{"id": "a", "audio": "a.wav"}', "has no 'label' (or 'emotion')"),
        ('{"id": " ", "audio": "a.wav", "label": "happy"}', "has no 'id'"),
        (json.dumps(ROW | {"emotion": "sad"}), "both 'label' and 'emotion'"),
        (json.dumps(ROW | {"id": 7}), "'id' is 7; write it as text"),
        (json.dumps(ROW | {"speaker": 3}), "'speaker' is 3; write it as text"),
        (json.dumps(ROW | {"prosody": [1]}), "'prosody' is [1]; write an object"),
        (json.dumps(ROW | {"choices": "happy"}), "write a list of labels"),
        (json.dumps(ROW | {"choices": ["happy", "happy"]}), "name each label once"),
        (json.dumps(ROW | {"choices": ["happy", "bored"]}), "choice 'bored' is not allowed"),
        (json.dumps(ROW | {"choices": ["sad"]}), "label 'happy' is not allowed"),
        (json.dumps(ROW | {"label": "Hapy"}), "did you mean 'happy'?"),
        (json.dumps(ROW | {"label": "joy"}), "choose from: neutral, happy, sad, angry"),
        (json.dumps(ROW)[:-1] + ', "x": NaN}', "holds the number NaN"),
        (json.dumps(ROW)[:-1] + ', "x": -Infinity}', "holds the number -Infinity"),
        (json.dumps(ROW)[:-1] + ', "x": 1e999}', "holds the number 1e999"),
        (json.dumps(ROW)[:-1] + ', "label": "sad"}', "has the key 'label' twice"),
        (json.dumps(ROW | {"text": "\ud800"}), "surrogate"),
        (json.dumps(ROW | {"question": "<audio>Which?"}), "'question' holds '<audio>', which"),
        (json.dumps(ROW | {"question": "In <|audio_1|>?"}), "'question' holds '<|audio_1|>'"),
        (json.dumps(ROW | {"question": "<image> Which?"}), "'question' holds '<image>'"),
        (json.dumps(ROW | {"messages": []}), "has 'messages', a chat, which is not read; write"),
        (json.dumps(ROW | {"audios": ["a.wav"]}), "has 'audios', a list of clips"),
        (json.dumps(ROW | {"audio": "/etc/hostname"}), "absolute"),
        (json.dumps(ROW | {"audio": "../m.jsonl"}), "climbs"),
        (json.dumps(ROW | {"audio": "sub/../a.wav"}), "climbs"),
        (json.dumps(ROW | {"audio": "https://host/a.wav"}), "is a URL"),
        (json.dumps(ROW | {"audio": "file:a.wav"}), "is a URL"),
        (json.dumps(ROW | {"audio": "data:audio/wav;base64,UklG"}), "is a URL"),
        (json.dumps(ROW | {"audio": "C:/a.wav"}), "drive letter"),
        (json.dumps(ROW | {"audio": "a\0.wav"}), "NUL byte"),
        (json.dumps(ROW | {"audio": "gone.wav"}), "No such file"),
        (json.dumps(ROW | {"audio": "a.wav/x"}), "Not a directory"),
        (json.dumps(ROW | {"audio": "x" * 300}), "name too long"),
        (json.dumps(ROW | {"audio": "sub"}), "not a regular file"),
    ],
)
def test_a_bad_row_is_named_with_its_line(root: Path, line: str, message: str) -> None:
    good = json.dumps(ROW | {"id": "good"})
    found = problems(root, f"{good}\n{line}\n")
    assert message.casefold() in found.casefold()
    assert f"{root.parent / 'm.jsonl'}:2: " in found
    assert "m.jsonl:1: " not in found


def test_links_and_pipes_cannot_reach_outside_the_audio_root(root: Path) -> None:
    outside = write_tone(root.parent / "outside.wav")
    (root / "link.wav").symlink_to(outside)
    (root / "loop.wav").symlink_to(root / "loop.wav")
    (root / "inside.wav").symlink_to(root / "sub" / "c.wav")
    os.mkfifo(root / "pipe.wav")
    names = ("link.wav", "loop.wav", "pipe.wav", "inside.wav")
    rows = [json.dumps(ROW | {"id": name, "audio": name}) for name in names]
    found = problems(root, "\n".join(rows))
    assert "3 problem(s)" in found
    assert f"is a link to {outside}, outside the audio root" in found
    assert "symbolic links" in found
    assert "'pipe.wav' is not a regular file" in found


def test_a_linked_audio_root_is_followed(root: Path) -> None:
    link = root.parent / "link"
    link.symlink_to(root)
    assert read(link, json.dumps(ROW))[0].audio == "a.wav"


def test_a_second_use_of_an_id_names_both_lines(root: Path) -> None:
    rows = [ROW, ROW | {"id": "b"}, ROW]
    found = problems(root, "\n".join(map(json.dumps, rows)))
    assert "m.jsonl:3: id 'a' is already on line 1" in found


def test_all_problems_are_counted_and_the_first_are_listed(root: Path) -> None:
    rows = [ROW | {"id": f"{number}", "label": "joy"} for number in range(30)]
    found = problems(root, "\n".join(map(json.dumps, rows)))
    assert "30 problem(s) found" in found
    assert found.count("is not allowed") == MAX_LISTED
    assert "m.jsonl:20: " in found
    assert "and 10 more" in found


def test_all_problems_of_one_row_are_listed(root: Path) -> None:
    found = problems(root, '{"audio": "gone.wav", "label": "joy"}')
    assert "3 problem(s)" in found


def test_a_line_in_another_encoding_is_named(root: Path) -> None:
    assert "m.jsonl:1: is not UTF-8 (byte 8)" in problems(root, b'{"id": "\xe9"}')


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_an_empty_manifest_is_refused(root: Path, content: str) -> None:
    assert "holds no rows" in problems(root, content)


def test_a_missing_manifest_and_a_missing_root_name_their_setting(root: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.jsonl: No such file.*data\.manifest"):
        read_manifest(
            root / "none.jsonl", audio_root=root, choices=LABELS, question_template=QUESTION
        )
    manifest = write_manifest(root.parent / "m.jsonl", [ROW])
    with pytest.raises(ManifestError, match=r"data\.audio_root"):
        read_manifest(
            manifest, audio_root=root / "none", choices=LABELS, question_template=QUESTION
        )


def test_a_split_is_selected_in_order() -> None:
    examples = [make_example(n, split="eval" if n % 2 else "train") for n in range(5)]
    assert [example.id for example in select_split(examples, "eval")] == ["clip-1", "clip-3"]


def test_an_unknown_split_names_those_that_exist() -> None:
    examples = [make_example(0, split="train"), make_example(1, split="eval"), make_example(2)]
    with pytest.raises(ManifestError, match="'test'; it has 'eval', 'train'"):
        select_split(examples, "test")
    with pytest.raises(ManifestError, match="no row has a 'split'"):
        select_split([make_example(2)], "train")


def test_a_row_with_a_target_is_a_task_of_its_own(root: Path) -> None:
    task = {
        "id": "pitch/a",
        "audio": "a.wav",
        "question": "How high?",
        "choices": ["low", "high"],
        "label": "high",
        "target": "<answer>high</answer>",
    }
    text = {"id": "text/1", "audio": None, "question": "Why?", "target": "So.", "choices": []}
    found = read(root, f"{json.dumps(task)}\n{json.dumps(text)}")
    assert [(row.audio, row.label, row.choices, row.target) for row in found] == [
        ("a.wav", "high", ("low", "high"), "<answer>high</answer>"),
        ("", "", (), "So."),
    ]
    # Without a target both are mistakes.
    said = problems(root, json.dumps({**task, "target": None}))
    assert "choice 'low' is not allowed" in said and "choice 'high' is not allowed" in said
    said = problems(root, json.dumps({**text, "target": " "}))
    assert "has no 'audio'" in said and "has no 'label'" in said
    said = problems(root, json.dumps({**task, "target": 3}))
    assert "'target' is 3; write it as text" in said


PROSODY = {"pitch": "low", "f0_hz": 1.50, "frames": 119, "to_below": None, "words": ["a", ":"]}


def test_prosody_is_kept_packed_and_reads_as_the_object_that_it_was(root: Path) -> None:
    rows = [ROW | {"id": f"{n}", "prosody": PROSODY | {"frames": n}} for n in range(2)]
    one, two = read(root, "\n".join(map(json.dumps, rows)))
    assert one.prosody == PROSODY | {"frames": 0} != two.prosody
    assert list(one.prosody or ()) == list(PROSODY) and len(two.prosody or ()) == 5
    assert repr(two.prosody) == repr(PROSODY | {"frames": 1})
    assert isinstance(one.prosody, Packed) and one.prosody._names is two.prosody._names
    other = deepcopy(two)  # by what other processes get it by
    assert other == two and other is not two and other.prosody is not None
    assert other.prosody.get("frames") == 1 and other.prosody.get("none") is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["id", "prosody", "x", ":", 'a"b']), VALUES),
    st.sampled_from(["", ' "x": 1,', ' "prosody": {"a": 1, "a": 2},', ' "\\u003a": 2,']),
    st.booleans(),
)
@example({"x": "::"}, ' "x": 1,', False)
@example({"x": 2}, ' "x": 1, "y": "\\u003a",', False)
@example({"prosody": {"a": 1}}, ' "prosody": {"b": ":"},', False)
@example({"x": 2**70}, "", False)
def test_the_fast_decoder_reads_what_the_strict_one_does_or_nothing(
    row: dict[str, object], more: str, escaped: bool
) -> None:
    line = ("{" + more + json.dumps(row, ensure_ascii=escaped)[1:]).encode(errors="surrogatepass")
    fast = RowReader("/", ("a",), "").plain_fields(line)
    if fast is not None:
        strict, problem = _any_fields(line)
        assert not problem and repr(strict) == repr(fast)


def test_a_plain_row_takes_the_fast_decoder() -> None:
    row = ROW | {"prosody": PROSODY, "text": "at 10:30", "words": [{"word": "a", "start_s": 0.1}]}
    assert RowReader("/", ("a",), "").plain_fields(json.dumps(row).encode()) == row


@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_parts_of_a_file_give_the_same_rows_and_lines(
    root: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    rows = [json.dumps(ROW | {"id": f"{n}", "text": "x" * (n % 7)}) for n in range(50)]
    manifest = root.parent / "m.jsonl"
    manifest.write_text("\ufeff" + "\n\n".join(rows), encoding="utf-8")

    def again() -> list[Example]:
        return read_manifest(
            manifest,
            audio_root=root,
            choices=LABELS,
            question_template=QUESTION,
            num_workers=num_workers,
        )

    whole = again()
    monkeypatch.setattr(data.manifest, "LARGE_BYTES", 0)
    for size in (1, 60, 61, 62, 500):
        monkeypatch.setattr(data.manifest, "PART_BYTES", size if num_workers == 1 else 8 * size)
        assert again() == whole
    rows[30] = rows[7]
    rows[44] = "{}"
    manifest.write_text("\n\n".join(rows), encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        again()
    assert "m.jsonl:61: id '7' is already on line 15; ids" in str(caught.value)
    assert "m.jsonl:89: has no 'id'" in str(caught.value)
