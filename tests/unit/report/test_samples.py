"""What the sample browser of a report is given; test_browser.py looks at the page itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from report.data import PITCH_POINTS, collect, shown_clip, shown_clips
from report.page import write_report
from tests.fixtures import tone, write_tone
from tests.unit.report.test_page import data_of, make_run, sample

pytestmark = pytest.mark.slow


def test_two_thousand_samples_stay_small(tmp_path: Path):
    run = make_run(tmp_path, [sample(n) for n in range(2500)])
    path = write_report(run, num_clips=2)
    assert path.stat().st_size < 3e6
    data = data_of(path.read_text())
    assert (len(data["samples"]), len(data["clips"])) == (2000, 2)


def test_sound_beyond_the_budget_is_left_out(tmp_path: Path):
    for name, duration_s in (("a", 0.5), ("b", 2.0), ("c", 1.0)):
        write_tone(tmp_path / f"{name}.wav", duration_s=duration_s)
    wanted = {name: (tmp_path, f"{name}.wav") for name in ("a", "gone", "b", "c")}
    clips = shown_clips(wanted, max_sound_s=1.6)
    shown = {name: "source" in clip for name, clip in clips.items()}
    assert shown == {"a": True, "b": False, "c": True}
    assert clips["b"]["wave"] and clips["b"]["pitch"]


def test_answers_of_a_benchmark_have_its_clips_and_measurements(tmp_path: Path):
    other = tmp_path / "other"
    write_tone(other / "clip-0.wav", duration_s=1.0)
    row = {"id": "clip-0", "audio": "clip-0.wav", "label": "sad", "prosody": {"pitch": "low"}}
    (other / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    benchmark = {"name": "B", "manifest": f"{other}/manifest.jsonl", "audio_root": str(other)}
    run = make_run(tmp_path, [], overrides=(f"eval.benchmarks={json.dumps([benchmark])}",))
    (run / "samples" / "step_000002.jsonl").unlink()
    answers = run / "evaluation" / "answers.jsonl"
    answers.parent.mkdir()
    rows = [sample(0, benchmark=None), sample(0, benchmark="B")]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = collect(run, num_samples=10, num_clips=10)
    lengths = {name: clip["duration_s"] for name, clip in found["clips"].items()}
    assert lengths == {"clip-0.wav": 0.5, "B: clip-0.wav": 1.0}
    assert found["levels"]["clip-0.wav"].startswith("pitch high")
    assert found["levels"]["B: clip-0.wav"].startswith("pitch low")
    claims = [dict(shown["pieces"])["high"] for shown in found["samples"]]
    assert claims == ["true", "false"]


def test_every_clip_of_a_sample_is_shown_and_the_one_it_is_about_is_told(tmp_path: Path):
    both = ["clip-1.wav", "clip-0.wav"]
    rows = [sample(0, clips=both), sample(2), sample(1, id="none", audio="")]
    found = collect(make_run(tmp_path, rows), num_samples=10, num_clips=10)
    shown = [(row["audio"], row.get("clips")) for row in found["samples"]]
    assert shown == [("clip-0.wav", both), ("clip-2.wav", None), ("", None)]
    assert sorted(found["clips"]) == ["clip-0.wav", "clip-1.wav", "clip-2.wav"]
    # What was measured is of the clip that a row is about.
    assert set(found["levels"]) == {"clip-0.wav", "clip-2.wav"}


@pytest.mark.parametrize(("follow_links", "shown"), [("true", ["clip-0.wav"]), ("false", [])])
def test_a_clip_that_is_a_link_out_is_shown_if_links_are_followed(
    tmp_path: Path, follow_links: str, shown: list[str]
):
    run = make_run(tmp_path / "root", [], overrides=(f"data.follow_links={follow_links}",))
    clip = tmp_path / "root" / "clip-0.wav"
    clip.rename(tmp_path / "store.wav")
    clip.symlink_to(tmp_path / "store.wav")
    (run / "samples" / "step_000002.jsonl").write_text(json.dumps(sample(0)) + "\n")
    assert list(collect(run, num_samples=10, num_clips=10)["clips"]) == shown


def test_the_pitch_of_a_long_clip_is_thinned_out():
    clip = shown_clip(tone(200.0, duration_s=10.0))
    assert clip["duration_s"] == 10.0 and len(clip["wave"]) == 240
    assert 400 < len(clip["pitch"]) <= PITCH_POINTS
    assert clip["pitch"][-1][0] > 950  # to the end
