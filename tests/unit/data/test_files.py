"""Files that a kill cannot spoil."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.files import append_row, read_appended, replacing, whole_lines


def test_rows_go_on_after_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert read_appended(path) == whole_lines(path) == []
    append_row(path, {"n": 1})
    append_row(path, {"n": 2})
    path.write_bytes(path.read_bytes()[:-3])
    assert read_appended(path) == [{"n": 1}]
    assert whole_lines(path) == ['{"n": 1}\n']
    append_row(path, {"n": 3})
    assert read_appended(path) == [{"n": 1}, {"n": 3}]
    # Only the end of a line is missing: the row is whole.
    path.write_bytes(path.read_bytes()[:-1])
    assert read_appended(path) == [{"n": 1}, {"n": 3}]


def test_a_failed_replacement_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"half of the ne")
        raise KeyError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
