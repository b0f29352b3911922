"""Rows of several clips, of turns, or of no clip, as a manifest writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.manifest import OTHER_CLIPS, clips_of, read_leniently
from data.records import Turn
from tests.fixtures import write_manifest
from tests.unit.data.test_manifest import ROW, problems, read, root

__all__ = ["root"]


TWO = {"id": "a", "audio": ["a.wav", "b.wav"], "label": "happy"}
TURNS = [
    {"role": "user", "text": "Where were you?", "audio": "a.wav"},
    {"role": "assistant", "text": "That is anger."},
    {"role": "user", "audio": "b.wav"},
]


def test_a_row_may_have_several_clips_and_turns_or_no_clip(root: Path) -> None:
    rows = [
        TWO,
        TWO | {"id": "b", "target_clip": 0},
        TWO | {"id": "c", "audio": ["sub/c.wav"], "turns": TURNS},
        TWO | {"id": "d", "audio": []},
        TWO | {"id": "e", "audio": [], "turns": TURNS[:1]},
    ]
    last, first, dialogue, none, only_turns = read(root, "\n".join(map(json.dumps, rows)))
    assert (last.before, last.audio, last.after) == (("a.wav",), "b.wav", ())
    assert (first.before, first.audio, first.after) == ((), "a.wav", ("b.wav",))
    assert last.clips == first.clips == ("a.wav", "b.wav")
    assert (last.others, first.others) == (("a.wav",), ("b.wav",))
    assert (dialogue.audio, dialogue.earlier) == ("sub/c.wav", ("a.wav", "b.wav"))
    assert dialogue.clips == ("a.wav", "b.wav", "sub/c.wav")
    assert dialogue.turns == (
        Turn("user", "Where were you?", "a.wav"),
        Turn("assistant", "That is anger."),
        Turn("user", "", "b.wav"),
    )
    assert (none.audio, none.clips, none.label) == ("", (), "happy")
    assert (only_turns.audio, only_turns.clips) == ("", ("a.wav",))
    # One in a list is one; a million rows with one clip hold nothing more.
    (alone,) = read(root, json.dumps(TWO | {"audio": ["a.wav"]}))
    assert alone == read(root, json.dumps(ROW))[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"audio": ["a.wav", 3]}, "'audio' is ['a.wav', 3]; write a path, or a list of paths"),
        ({"audio": ["a.wav", " "]}, "write a path, or a list of paths"),
        ({"audio": ["a.wav", None]}, "write a path, or a list of paths"),
        ({"audio": ["a.wav", "gone.wav"]}, "'gone.wav'"),
        ({"audio": ["../a.wav"]}, "climbs"),
        ({"audio_path": "a.wav"}, "has both 'audio' and 'audio_path'"),
        ({"target_clip": 2}, "'target_clip' is 2 and 'audio' lists 2; it counts from 0, so"),
        ({"target_clip": -1}, "write 0 to 1"),
        ({"target_clip": True}, "'target_clip' is True"),
        ({"target_clip": 0, "audio": "a.wav"}, "has 'target_clip', which is for a list of clips"),
        ({"turns": "Hello."}, "'turns' is 'Hello.'; write a list of objects"),
        ({"turns": ["Hello."]}, "turn 1 is 'Hello.'; write an object with 'role', 'text'"),
        ({"turns": [TURNS[0], {"role": "user"}]}, "turn 2 has neither 'text' nor 'audio'"),
        ({"turns": [{"role": "user", "content": "x"}]}, "turn 1 is {"),
        ({"turns": [{"role": "system", "text": "x"}]}, "the system prompt is data.system_prompt"),
        ({"turns": [{"role": "Joey", "text": "x"}]}, "has the role 'Joey'; write 'user' or"),
        ({"turns": [{"role": "user", "text": 3}]}, "turn 1 has 'text' 3; write it as text"),
        ({"turns": [{"role": "user", "audio": ["a.wav"]}]}, "turn 1 has 'audio' ['a.wav']; write"),
        ({"turns": [TURNS[1] | {"audio": "a.wav"}]}, "turn 1 has a clip and is the assistant's"),
        ({"turns": [{"role": "user", "text": "<audio>?"}]}, "turn 1 holds '<audio>', which would"),
        ({"turns": [{"role": "user", "audio": "/etc/hostname"}]}, "is absolute"),
    ],
)
def test_bad_lists_of_clips_and_turns_are_named(
    root: Path, fields: dict[str, object], message: str
) -> None:
    found = problems(root, f"{json.dumps(ROW)}\n{json.dumps(TWO | {'id': 'x'} | fields)}")
    assert message in found
    assert f"{root.parent / 'm.jsonl'}:2: " in found and "1 problem(s)" in found


def test_all_clips_of_a_checked_manifest_are_listed(root: Path) -> None:
    rows = [ROW, TWO | {"turns": TURNS}, ROW | {"audio": None}, ROW | {"audio": []}]
    manifest = write_manifest(root.parent / "m.jsonl", rows)
    assert list(clips_of(manifest)) == ["a.wav", "a.wav", "b.wav", "a.wav", "b.wav"]


def test_a_lenient_reader_tells_the_clip_that_a_row_is_about_from_the_others(root: Path) -> None:
    rows = [
        ROW | {OTHER_CLIPS: "theirs"},
        TWO | {"id": "b", "target_clip": 0},
        TWO | {"id": "c", "audio": "sub/c.wav", "turns": TURNS},
        TWO | {"id": "d", "audio": ["a.wav", "../x.wav"]},
        TWO | {"id": "e", "audio": []},
        TWO | {"id": "f", "audio": [], "turns": TURNS[:1]},
        TWO | {"id": "g", "turns": [3]},
    ]
    manifest = write_manifest(root.parent / "m.jsonl", rows)
    found = {row["id"]: row for row in read_leniently(manifest, root)}
    assert {name: (row["audio"], row.get(OTHER_CLIPS)) for name, row in found.items()} == {
        "a": ("a.wav", None),
        "b": ("a.wav", ["b.wav"]),
        "c": ("sub/c.wav", ["a.wav", "b.wav"]),
        "f": ("a.wav", None),
    }
