"""One sound file in, answer and reasoning out, by the real engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from data.files import read_rows
from tests.e2e.command import RunFiles, Shell

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_clip_gets_the_answer_that_evaluation_got(
    tmp_path: Path, shell: Shell, finished_run: RunFiles, corpus: Path
) -> None:
    row = read_rows(finished_run.root / "evaluation" / "answers.jsonl")[0]
    clip = corpus / row["audio"]
    words = ["launch/listen.py", str(clip), "--run", str(finished_run.root)]
    done = shell.run(sys.executable, *words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["text"], found["answer"]) == (row["text"], row["answer"])
    assert found["prosody"]["duration_s"] > 0.3
