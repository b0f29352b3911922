"""Planted leaks are found, each by its kind; what was declared is marked, not hidden."""

from __future__ import annotations

from typing import Any

import pytest

from annotate.inspect.leaks import Leak, describe_leaks, find_leaks, normalized

Row = dict[str, Any]


def clean_rows() -> list[Row]:
    """Return six rows of three splits that share nothing."""
    return [
        {
            "id": f"r{n}",
            "split": ("train", "eval", "test")[n % 3],
            "speaker": f"speaker {n % 3}",
            "session": f"session {n % 3}",
            "sha256": f"{n:064x}",
            "text": f"sentence number {n}",
        }
        for n in range(6)
    ]


def test_clean_rows_have_no_leak():
    assert find_leaks(clean_rows()) == []
    assert [line.split()[0] for line in describe_leaks([])] == ["ok"] * 4


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("speaker", "speaker"),
        ("session", "session"),
        ("sha256", "sha256"),
        ("text", "transcript"),
    ],
)
def test_a_planted_leak_is_found(field: str, kind: str):
    rows = clean_rows()
    rows[4][field] = rows[0][field]  # r0, r3 train; r1, r4 eval
    (leak,) = find_leaks(rows)
    shared = {"speaker", "session"} & {field}
    ids = ("r4", "r0", "r3") if shared else ("r4", "r0")
    assert leak == Leak(kind, rows[0][field], ("eval", "train"), ids, len(ids), False)
    (line,) = [line for line in describe_leaks([leak]) if line.startswith("LEAK")]
    assert f"{kind}: 1 in eval + train ({len(ids)} rows)" in line
    (declared,) = find_leaks(rows, [kind])
    assert declared.is_allowed
    assert not any(line.startswith("LEAK") for line in describe_leaks([declared]))
    assert any(line.startswith(f"declared  {kind}: 1 in") for line in describe_leaks([declared]))


def test_a_leak_over_three_splits_is_one_leak():
    rows = clean_rows()
    for row in rows:
        row["session"] = "studio"
    (leak,) = find_leaks(rows)
    assert (leak.splits, leak.num_rows) == (("eval", "test", "train"), 6)
    assert leak.ids == ("r1", "r4", "r2", "r5", "r0", "r3")


def test_sentences_are_compared_by_their_letters():
    assert normalized("Don't  GO - please!") == normalized("dont go please") == "dontgoplease"
    assert normalized("Stra\u00dfe 5") == normalized("STRASSE 5") == "strasse5"
    # Composed and decomposed accents, full-width letters and Devanagari vowel signs.
    assert normalized("na\u00efve") == normalized("nai\u0308ve")
    assert normalized("\uff21\uff22") == "ab"
    assert normalized("\u0915\u093f") != normalized("\u0915\u0940")
    assert normalized(" ... !") == ""
    rows = clean_rows()
    rows[0]["text"], rows[1]["text"] = "It is OVER.", "it is over"
    rows[2]["text"], rows[3]["text"] = "...", "!"
    (leak,) = find_leaks(rows)
    assert (leak.kind, leak.value) == ("transcript", "It is OVER.")


def test_rows_without_a_split_or_a_value_leak_nothing():
    rows = clean_rows()
    rows[1] |= {"split": None, "speaker": "speaker 0"}
    rows[2] |= {"text": None, "session": ""}
    del rows[5]["text"]
    assert find_leaks(rows) == []


def test_rows_without_a_speaker_are_counted_and_fail():
    rows = clean_rows()
    rows[1]["speaker"] = None
    rows[3]["speaker"] = ""
    del rows[4]["speaker"]
    (leak,) = find_leaks(rows)
    assert leak == Leak(
        "unknown_speaker", "", ("eval", "train"), ("r1", "r4", "r3"), 3, is_allowed=False
    )
    lines = describe_leaks([leak])
    assert lines[:2] == [
        "unknown   speaker: no two splits share any that is known",
        "LEAK      unknown_speaker: 3 rows in eval + train have no speaker, such as 'r1', 'r4', "
        "'r3': nobody can tell whether a voice is in two splits",
    ]
    (allowed,) = find_leaks(rows, ["unknown_speaker"])
    assert describe_leaks([allowed])[1].startswith("declared  unknown_speaker: 3 rows")


def test_unknown_speakers_of_one_data_set_say_nothing_of_another():
    rows = [row | {"dataset": "known"} for row in clean_rows()]
    rows += [{"id": f"u{n}", "split": "train", "dataset": "unknown"} for n in range(3)]
    assert find_leaks(rows) == []  # all that there is of it is in one split
    rows[-1]["split"] = "test"
    (leak,) = find_leaks(rows)
    assert (leak.value, leak.num_rows, leak.splits) == ("unknown", 3, ("test", "train"))
    assert "3 rows of unknown in test + train" in describe_leaks([leak])[1]
    assert find_leaks([{"id": "a", "split": "train"}, {"id": "b", "split": "train"}]) == []


def test_the_list_is_cut_and_the_rest_counted():
    rows = [
        {"id": f"{split}{n}", "split": split, "speaker": split, "text": f"sentence {n:02}"}
        for split in ("train", "test")
        for n in range(13)
    ]
    lines = describe_leaks(find_leaks(rows))
    assert "LEAK      transcript: 13 in test + train (26 rows)" in lines
    assert any("'sentence 09': 2 rows" in line and "'test9', 'train9'" in line for line in lines)
    assert lines[-1].strip() == "... and 3 more"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="'text' is no kind of leak; choose from: speaker"):
        find_leaks(clean_rows(), ["text"])
