"""The report of a run: complete, offline, and safe against what a model writes."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from configs.load import dump_config, load_config
from data.cot.review import claim_pieces
from launch.report import main, write_report
from tests.fixtures import write_tone

ROOT = Path(__file__).parents[2]
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
PROSODY = {"pitch": "high", "pitch_to_below": 1.0, "energy": "low", "energy_to_above": 0.1}


def sample(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"clip-{number % 3}",
        "group": number // 2,
        "step": 2,
        "audio": f"clip-{number % 3}.wav",
        "label": "happy",
        "text": "<think>The pitch is high, the energy is normal and the pace is slow.</think>"
        "<answer>sad</answer>",
        "answer": "sad",
        "correct": False,
        "terms": {"format": 1.0, "reasoning": None},
        "trust": 0.9,
        "reward": 0.3,
        "advantage": -0.5,
        **fields,
    }


def make_run(folder: Path, samples: list[dict[str, Any]]) -> Path:
    """A run of two steps on three clips."""
    rows = [
        {"id": f"clip-{n}", "audio": f"clip-{n}.wav", "label": "happy", "prosody": PROSODY}
        for n in range(3)
    ]
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for n in range(3):
        write_tone(folder / f"clip-{n}.wav", frequency_hz=200 + 50 * n)
    run = folder / "runs" / "mine"
    (run / "samples").mkdir(parents=True)
    config = load_config(
        ROOT / "configs" / "tiny.yaml",
        [f"data.manifest={manifest}", f"data.audio_root={folder}", "name=mine"],
    )
    (run / "config.yaml").write_text(dump_config(config))
    status = {"state": "finished", "step": 2, "reason": EVIL, "resume_cmd": ""}
    (run / "run_status.json").write_text(json.dumps(status))
    metrics = [
        {"step": 0, "test_before/accuracy": 0.4, "test_before/recall_happy": 0.25},
        {"step": 1, "rollout/accuracy": 0.5, "reward/format_mean": 1.0, "time/step_s": 2.0},
        {
            "step": 2,
            "rollout/accuracy": 0.6,
            "reward/format_mean": 1.0,
            "time/step_s": 4.0,
            "time/update_s": 1.0,
            "test_after/accuracy": 0.65,
            "test_after/recall_happy": 0.75,
            "test_after/control_silence_accuracy": 0.125,
            "test_after/control_silence_changed_frac": 0.5,
        },
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    (run / "samples" / "step_000002.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in samples)
    )
    return run


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


def test_what_the_page_says(tmp_path: Path):
    page = write_report(make_run(tmp_path, [sample(n) for n in range(6)])).read_text()
    assert "Test accuracy 40.0% before, 65.0% after (+25.0 points)." in page
    assert '<td>happy</td><td class="n">25.0 %</td><td class="n">75.0 %</td>' in page
    assert '<td>silence</td><td class="n">12.5 %</td><td class="n">50.0 %</td>' in page
    for title in ("Accuracy", "Reward terms", "Time of a step"):
        assert f"<figcaption>{title}</figcaption><svg" in page
    assert "KL and entropy" not in page  # the run has none
    data = data_of(page)
    first = data["samples"][0]
    assert first["terms"] == {"format": 1.0, "reasoning": None}
    assert [piece for piece in first["pieces"] if piece[1]] == [
        ["high", "true"],
        ["normal", "half"],
        ["slow", "unknown"],
    ]
    assert "".join(piece for piece, _ in first["pieces"]) == sample(0)["text"]
    clip = data["clips"]["clip-1.wav"]
    assert clip["source"].startswith("data:audio/wav;base64,") and clip["duration_s"] == 0.5
    assert max(clip["wave"]) == 1.0 and len(clip["wave"]) == 240
    pitch = [hz for _, hz in clip["pitch"]]
    assert sorted(pitch)[len(pitch) // 2] == pytest.approx(250, rel=0.02)


def test_nothing_that_a_model_writes_is_run(tmp_path: Path):
    samples = [sample(0, id=EVIL, text=EVIL, answer=EVIL, label=EVIL, audio=EVIL)]
    page = write_report(make_run(tmp_path, samples)).read_text()
    assert EVIL not in page and "<img src=x" not in page
    assert page.count("</script>") == 2  # of the data and of the page's own code
    assert html.escape(EVIL) in page  # the reason of the status, shown as text
    (shown,) = data_of(page)["samples"]
    assert shown["id"] == shown["answer"] == EVIL


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path):
    page = write_report(make_run(tmp_path, [sample(0)])).read_text()
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"|rdf:resource="[^"]*"', "", page)
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", without_names)
    assert "@import" not in page


def test_two_thousand_samples_stay_small(tmp_path: Path):
    run = make_run(tmp_path, [sample(n) for n in range(2500)])
    path = write_report(run, num_clips=2)
    assert path.stat().st_size < 3e6
    data = data_of(path.read_text())
    assert (len(data["samples"]), len(data["clips"])) == (2000, 2)


def test_a_manifest_or_clip_that_is_gone_costs_only_itself(tmp_path: Path):
    run = make_run(tmp_path, [sample(n) for n in range(3)])
    (tmp_path / "manifest.jsonl").unlink()
    (tmp_path / "clip-1.wav").unlink()
    data = data_of(write_report(run).read_text())
    assert sorted(data["clips"]) == ["clip-0.wav", "clip-2.wav"]
    assert {kind for piece, kind in data["samples"][0]["pieces"]} == {"", "unknown"}


def test_no_run_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path)]) == 2
    assert "config.yaml: no such file; name the folder of a run" in capsys.readouterr().err


def test_pieces_of_a_text_without_claims():
    assert claim_pieces("Nothing here.", {}) == [("Nothing here.", "")]
    assert claim_pieces("", {}) == []
