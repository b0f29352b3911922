"""What a resumed run may change."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from configs.schema import OptimConfig, RunConfig
from trainer.resume import ChangedRunError, check_changes, input_digests, log_rate_change

HERE = Path("runs/a")


def test_speed_may_differ_and_is_logged(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    changes = [
        ("learner.tokens_per_microbatch", 8192, 4096),
        ("rewards.terms.1.options.url", "http://a/v1", "http://b/v1"),
    ]
    assert check_changes(HERE, changes, [], {}, {}) == changes
    assert "resumed with learner.tokens_per_microbatch: 4096, was 8192" in caplog.text


def test_a_method_setting_is_refused_unless_it_is_named(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    change = [("optim.lr", 1e-6, 1e-5)]
    with pytest.raises(ChangedRunError, match=r"resume\.allow=\[optim\.lr\]"):
        check_changes(HERE, change, [], {}, {})
    with pytest.raises(ChangedRunError):
        check_changes(HERE, change, ["optim.beta1"], {}, {})
    assert check_changes(HERE, change, ["optim.lr"], {}, {}) == change
    assert "optim.lr: 1e-05, was 1e-06, as resume.allow says" in caplog.text


def test_a_path_may_differ_if_its_content_does_not():
    change = [("model.path", "/old/m", "/new/m")]
    assert check_changes(HERE, change, [], {"model.path": "d"}, {"model.path": "d"}) == change
    for then, now in (
        ({}, {}),
        ({"model.path": "d"}, {}),
        ({"model.path": "d"}, {"model.path": "e"}),
    ):
        with pytest.raises(ChangedRunError, match=r"What model\.path leads to is not what"):
            check_changes(HERE, change, [], then, now)
    assert check_changes(HERE, change, ["model.path"], {"model.path": "d"}, {"model.path": "e"})


def test_content_that_changed_in_its_place_is_said(caplog: pytest.LogCaptureFixture):
    assert check_changes(HERE, [], [], {"data.manifest": "d"}, {"data.manifest": "e"}) == []
    assert "data.manifest: its content has changed" in caplog.text


def inputs(root: Path) -> RunConfig:
    """A model and two clips below a folder."""
    (root / "model").mkdir(parents=True)
    (root / "model" / "config.json").write_text("{}")
    (root / "model" / "model.safetensors").write_bytes(b"w" * 100)
    (root / "wav").mkdir()
    for name in "ab":
        (root / "wav" / f"{name}.wav").write_bytes(name.encode() * 50)
    rows = [json.dumps({"id": name, "audio": f"wav/{name}.wav"}) for name in "ab"]
    rows.append(json.dumps({"id": "text alone", "audio": None}))
    (root / "m.jsonl").write_text("\n".join(rows) + "\n")
    config = RunConfig()
    return replace(
        config,
        model=replace(config.model, path=str(root / "model")),
        data=replace(config.data, manifest=str(root / "m.jsonl"), audio_root=str(root)),
    )


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ("model/model.safetensors", "model.path"),
        ("m.jsonl", "data.manifest"),
        ("wav/b.wav", "data.audio_root"),
    ],
)
def test_a_copy_has_the_same_digests_and_another_content_has_not(
    tmp_path: Path, changed: str, key: str
):
    first = input_digests(inputs(tmp_path / "one"))
    config = inputs(tmp_path / "two")
    assert input_digests(config) == first
    assert set(first) == {"model.path", "data.manifest", "data.audio_root"}
    path = tmp_path / "two" / changed
    path.write_bytes(path.read_bytes().replace(b"b", b"c").replace(b"w" * 9, b"v" * 9))
    if changed == "m.jsonl":
        path.write_text(path.read_text() + "\n")
    assert input_digests(config)[key] != first[key]


def test_more_steps_move_the_rate_of_a_course_in_one_line(caplog: pytest.LogCaptureFixture):
    config = RunConfig()
    linear = replace(config, optim=OptimConfig(lr=2e-4, schedule="linear"))
    longer = replace(linear, train=replace(linear.train, num_steps=20))
    change = [("train.num_steps", 10, 20)]
    # Step 9 of 10 (from 0) was the last one, at 0; step 10 of 20 is at 1 - 10/19 of the peak.
    log_rate_change(longer, change, step=10)
    (line,) = caplog.messages
    assert "is 20 and was 10" in line and "step 11 is 9.47e-05 instead of 0" in line
    caplog.clear()
    log_rate_change(replace(longer, optim=OptimConfig()), change, step=10)
    log_rate_change(longer, [], step=10)
    assert caplog.messages == []
