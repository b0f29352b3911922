"""The report of a run: complete, offline, and safe against what a model writes."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

from annotate.cot.review import claim_pieces
from configs.load import dump_config, load_config
from launch.report import main
from report.page import write_report
from tests.fixtures import write_tone

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
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


def make_run(
    folder: Path,
    samples: list[dict[str, Any]],
    name: str = "mine",
    overrides: tuple[str, ...] = (),
    more: tuple[dict[str, Any], ...] = (),
) -> Path:
    """A run of two steps, and more, on three clips."""
    rows = [
        {
            "id": f"clip-{n}",
            "audio": f"clip-{n}.wav",
            "label": "happy",
            "prosody": PROSODY,
            "split": ("train", "train", "test")[n],
            "speaker": f"speaker-{n}",
        }
        for n in range(3)
    ]
    folder.mkdir(exist_ok=True)
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for n in range(3):
        write_tone(folder / f"clip-{n}.wav", frequency_hz=200 + 50 * n)
    run = folder / "runs" / name
    (run / "samples").mkdir(parents=True)
    config = load_config(
        ROOT / "configs" / "tiny.yaml",
        [f"data.manifest={manifest}", f"data.audio_root={folder}", f"name={name}", *overrides],
    )
    (run / "config.yaml").write_text(dump_config(config))
    command = f"python launch/rl.py --config x.yaml name={EVIL}"
    status = {"state": "finished", "step": 2, "reason": EVIL, "resume_cmd": command}
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
        *more,
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
        assert f'<figcaption>{title}</figcaption><svg role="img" aria-label="{title}"' in page
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
    assert page.count(html.escape(EVIL, quote=False)) >= 2  # reason and command, shown as text
    (shown,) = data_of(page)["samples"]
    assert shown["id"] == shown["answer"] == EVIL


def test_nothing_is_loaded_from_elsewhere(tmp_path: Path):
    page = write_report(make_run(tmp_path, [sample(0)])).read_text()
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"// [A-Z].*", "", without_names))
    assert "@import" not in page and "url(http" not in page


def test_only_the_pages_own_script_may_run(tmp_path: Path):
    page = write_report(make_run(tmp_path, [sample(0)])).read_text()
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ")[:2] == ["default-src 'none'", f"script-src 'sha256-{digest}'"]
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"<[^>]*\son\w+\s*=", markup)  # no handlers in attributes
    assert not re.search(r"\b(innerHTML|outerHTML|insertAdjacent|document\.write|eval)\b", script)


def test_a_manifest_or_clip_that_is_gone_costs_only_itself(tmp_path: Path):
    run = make_run(tmp_path, [sample(n) for n in range(3)])
    (tmp_path / "manifest.jsonl").unlink()
    (tmp_path / "clip-1.wav").unlink()
    data = data_of(write_report(run).read_text())
    assert sorted(data["clips"]) == ["clip-0.wav", "clip-2.wav"]
    assert {kind for piece, kind in data["samples"][0]["pieces"]} == {"", "unknown"}


def words_of(page: str) -> str:
    """The page as a reader sees it, without scripts, in one line."""
    page = re.sub(r"<(script|style)\b.*?</\1>|<svg.*?</svg>", "", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_what_was_run_stands_at_the_top(tmp_path: Path):
    run = make_run(tmp_path, [sample(0)])
    start = {
        "time": "2026-01-02T03:04:05+00:00",
        "first_step": 0,
        "code": "abc",
        "python": "3.11.9",
        "versions": {"torch": "2.13.0"},
        "machine": {"processor": "A CPU", "cores": 2, "memory_gib": 4.0, "gpus": []},
    }
    later = {**start, "time": "2026-01-03T00:00:00+00:00", "first_step": 2}
    (run / "starts.jsonl").write_text(json.dumps(start) + "\n" + json.dumps(later) + "\n")
    words = words_of(write_report(run).read_text())
    top = words[: words.index("Curves Accuracy")]
    for fact in (
        "what Reinforcement learning (GRPO-PTR): 140 steps of 32 prompts with 8 completions each",
        f"command python launch/rl.py --config x.yaml name={EVIL}",
        "started 2026-01-02 03:04 UTC 2026-01-03 00:00 UTC, resumed at step 2",
        "duration 6s in 2 steps (4.00 s each, median)",
        "training: split train, 2 rows, 2 speakers",
        "test before and after: split test, 1 rows, 1 speakers",
        "reasoning: weight 0.5, once the accuracy of the rollouts has reached 0.4",
        "optimiser AdamW, learning rate 0.00025",
        "seed 0 machine A CPU, 2 cores, 4 GiB, no GPU (the driver's machine)",
        "versions Python 3.11.9, torch 2.13.0, code abc",
        "accuracy 65.0% 40.0% before",
    ):
        assert fact in top, fact


def test_alarms_stand_with_their_step(tmp_path: Path):
    rows = tuple(
        {
            "step": step,
            "rollout/completion_tokens_mean": 20.0 if step < 9 else 50.0,
            "optim/skipped": float(step == 4),
        }
        for step in range(3, 13)
    )
    run = make_run(tmp_path, [sample(0)], overrides=("log.alarm_steps=3",), more=rows)
    words = words_of(write_report(run).read_text())
    assert "Alarms step 11: for 3 steps completions are 2.5 times as long as at the start" in words
    assert "1 steps made no update, first step 4, last 4" in words
    quiet = make_run(tmp_path / "quiet", [sample(0)])
    assert "Alarms None. Watched: a judge" in words_of(write_report(quiet).read_text())


def test_what_there_is_none_of_is_said(tmp_path: Path):
    run = make_run(tmp_path, [], overrides=("eval.test_split=''",))
    (run / "metrics.jsonl").write_text('{"step": 1, "time/step_s": 1.0}\n')
    words = words_of(write_report(run).read_text())
    for fact in (
        "No test was run: eval.test_split is empty.",
        "started not recorded",
        "No answers by emotion. No test was run",
        "No confusion matrix: the run has no sample files (log.samples_every).",
        "No altered clips were asked about",
        "Other runs None: the run is not one of a sweep with results",
        "No completions: the run wrote no sample files",
    ):
        assert fact in words, fact


def test_confusion_of_sampled_answers_is_called_so(tmp_path: Path):
    samples = [sample(n, answer=answer) for n, answer in enumerate(["sad", "sad", "Happy", None])]
    page = write_report(make_run(tmp_path, samples)).read_text()
    assert "Sampled answers to training clips, steps 2 to 2, 4 completions: not a test." in page
    figure = page[page.index("<figcaption>Confusion") :]
    counts = re.findall(r"<text[^>]*>(\d+)</text>", figure[: figure.index("</svg>")])
    assert sorted(counts) == ["1", "1", "2"]


def test_a_moved_clip_has_neither_a_right_answer_nor_measured_claims(tmp_path: Path):
    move = {"attribute": "pitch", "direction": -1, "size": 4.0, "clean": True}
    plain = sample(0, move={**move, "direction": 0})
    page = write_report(make_run(tmp_path, [plain, sample(1, move=move, correct=None)])).read_text()
    first, second = data_of(page)["samples"]
    assert "move" not in first and second["move"] == "pitch down by 4"
    assert [[kind for _, kind in each["pieces"] if kind] for each in (first, second)] == [
        ["true", "half", "unknown"],
        ["unknown"] * 3,
    ]
    figure = page[page.index("<figcaption>Confusion") :]
    assert re.findall(r"<text[^>]*>(\d+)</text>", figure[: figure.index("</svg>")]) == ["1"]


def write_evaluation(run: Path) -> None:
    """An evaluation of two clips, one wrong."""
    (run / "evaluation").mkdir()
    cell = {"examples": 1, "precision": 0.5, "recall": 1.0, "f1": 2 / 3}
    summary = {
        "of": "split test",
        "overall": {"accuracy": 0.5},
        "choices": ["happy", "sad"],
        "confusion": [[1, 0, 0], [1, 0, 0]],
        "classes": {"happy": cell, "sad": {**cell, "precision": None, "recall": 0.0, "f1": None}},
    }
    (run / "evaluation" / "summary.json").write_text(json.dumps(summary))
    answers = [
        {key: sample(n)[key] for key in ("id", "audio", "label", "text", "answer", "correct")}
        for n in range(2)
    ]
    rows = "".join(json.dumps(row) + "\n" for row in answers)
    (run / "evaluation" / "answers.jsonl").write_text(rows)


def test_an_evaluation_has_its_matrix_and_its_answers(tmp_path: Path):
    run = make_run(tmp_path, [])
    (run / "samples" / "step_000002.jsonl").unlink()
    (run / "metrics.jsonl").write_text('{"step": 0, "test_after/accuracy": 0.5}\n')
    write_evaluation(run)
    page = write_report(run).read_text()
    words = words_of(page)
    assert "what Evaluation: greedy answers, nothing was trained." in words
    assert "emotion clips recall precision F1 happy 1 100.0 % 50.0 % 66.7 % sad 1 0.0 %" in words
    assert "Greedy answers on split test. The colour is the share" in words
    assert "No curves: nothing was trained in this run." in words
    assert "2 completions, greedy answers of the evaluation." in words
    first = data_of(page)["samples"][0]
    assert (first["step"], first["correct"]) == (None, False) and "reward" not in first


def test_the_last_test_of_a_training_run_has_its_matrix(tmp_path: Path):
    run = make_run(tmp_path, [sample(0)])
    write_evaluation(run)
    words = words_of(write_report(run).read_text())
    assert "what Reinforcement learning" in words and "Curves Accuracy" in words
    assert "recall before recall precision F1 happy 1 25.0 % 100.0 % 50.0 % 66.7 %" in words
    assert "Greedy answers on split test. The colour" in words


def test_a_run_of_an_older_version_has_the_defaults_of_newer_keys(tmp_path: Path):
    run = make_run(tmp_path, [sample(0)])
    text = (run / "config.yaml").read_text()
    older = re.sub(r"^  (policy|alarm_growth): .*\n|^    one_sided: .*\n", "", text, flags=re.M)
    assert older.count("\n") == text.count("\n") - 3
    (run / "config.yaml").write_text(older)
    assert "clipped token ratios (PPO, GRPO)" in write_report(run).read_text()


def test_no_run_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(tmp_path)]) == 2
    assert "config.yaml: no such file; name the folder of a run" in capsys.readouterr().err


def test_pieces_of_a_text_without_claims():
    assert claim_pieces("Nothing here.", {}) == [("Nothing here.", "")]
    assert claim_pieces("", {}) == []
