"""What is pushed to a hub, what is refused, and what the requests carry."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard
from safetensors.numpy import save_file

from launch.preflight import ROOT
from launch.push import main
from tests.hub_server import HubServer, hub

PICKLE = b"\x80\x04}\x94."  # of an empty mapping
TOKEN = "hf_" + "Ab3" * 12
CARD = """---
tags: [cadence-rl]
base_model: Qwen/Qwen2.5-Omni-7B
model-index:
- name: mine
  results:
  - task: {type: audio-text-to-text}
    dataset: {type: manifest, name: "manifest, split test"}
    metrics: [{type: accuracy, value: 0.598, name: accuracy (WA)}]
---
# mine
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with an export of 40 kB."""
    export = tmp_path / "run" / "export"
    export.mkdir(parents=True)
    status = {"state": "finished", "step": 4, "reason": "", "resume_cmd": ""}
    (tmp_path / "run" / "run_status.json").write_text(json.dumps(status))
    save_file({"weight": np.zeros((100, 100), np.float32)}, export / "model.safetensors")
    (export / "config.json").write_text('{"model_type": "qwen2_5_omni"}')
    (export / "tokenizer.json").write_text('{"model": {"vocab": {"token": 7, "/usr/lib": 8}}}')
    (export / "README.md").write_text(CARD)
    return tmp_path / "run"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub(TOKEN) as server:
        yield server


def push(server: HubServer, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as people do: the real client reads its environment once."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "launch/push.py", *arguments],
        cwd=ROOT,
        env=clean | {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_dry_run_says_what_it_would_do(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", str(run), "me/it"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "model me/it, branch main (made private if it is not there)"
    sizes = {line.split()[1]: int(line.split()[0].replace(",", "")) for line in lines[1:5]}
    files = {path.name: path.stat().st_size for path in (run / "export").iterdir()}
    assert sizes == files and files["model.safetensors"] > 40_000
    assert f"{sum(files.values()):,}  bytes in 4 files, in one commit" in lines[5]
    assert lines[6] == f"card: {run / 'export' / 'README.md'}"
    assert lines[7].startswith("dry run: nothing was sent")


@pytest.mark.slow
def test_a_push_carries_all_files_and_the_token_is_in_no_line(run: Path, server: HubServer) -> None:
    done = push(server, "model", str(run), "me/it", "--yes", "--token-env", "MY_HUB", MY_HUB=TOKEN)
    assert done.returncode == 0, done.stderr
    assert f"pushed: {server.url}/me/it/commit/abc" in done.stdout
    assert TOKEN not in done.stdout + done.stderr
    assert server.files == {p.name: p.read_bytes() for p in (run / "export").iterdir()}
    weights = (run / "export" / "model.safetensors").read_bytes()
    assert list(server.stored) == [hashlib.sha256(weights).hexdigest()]  # the only large one
    assert server.made == [
        {"name": "it", "organization": "me", "visibility": "private", "type": "model"}
    ]
    assert ("POST", "/api/models/me/it/commit/main") in server.requests
    card = ModelCard(server.files["README.md"].decode())
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.598)


@pytest.mark.slow
def test_a_dry_run_sends_nothing(run: Path, server: HubServer) -> None:
    done = push(server, "model", str(run), "me/it", HF_TOKEN=TOKEN)
    assert done.returncode == 0 and server.requests == []


@pytest.mark.slow
def test_a_wrong_token_and_none(run: Path, server: HubServer) -> None:
    wrong = "hf_" + "Zz9" * 12
    done = push(server, "model", str(run), "me/it", "--yes", HF_TOKEN=wrong)
    assert done.returncode == 2 and "me/it: the hub did not take it" in done.stderr
    assert wrong not in done.stdout + done.stderr and server.files == {}
    done = push(server, "model", str(run), "me/it", "--yes")
    assert done.returncode == 2 and "HF_TOKEN: the environment has no such" in done.stderr


@pytest.mark.slow
def test_a_token_does_not_go_over_plain_http(run: Path, server: HubServer) -> None:
    variables = {"HF_TOKEN": TOKEN, "HF_ENDPOINT": "http://hub.invalid"}
    done = push(server, "model", str(run), "me/it", "--yes", **variables)
    assert done.returncode == 2 and "is not https" in done.stderr


@pytest.mark.slow
def test_offline_is_said(run: Path, server: HubServer) -> None:
    variables = {"HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1"}
    done = push(server, "model", str(run), "me/it", "--yes", **variables)
    assert done.returncode == 2 and "offline" in done.stderr.lower()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("spk_dict.pt", b"PK", "spk_dict.pt: is of a kind that is not pushed"),
        ("model.safetensors", PICKLE, "model.safetensors: is not in safetensors format"),
        ("modeling_mine.py", b"", "modeling_mine.py: is of a kind that is not pushed"),
        ("config.json", PICKLE, "config.json: cannot be read as text"),
        (
            "config.json",
            b'{"a": {"_name_or_path": "/home/me/start"}}',
            "config.json: a._name_or_path: '/home/me/start' is a path of this machine",
        ),
        ("config.json", b'{"api_key": "abcdefgh"}', "config.json: api_key: a secret does not"),
        ("notes.txt", f"x\nuse {TOKEN}".encode(), "notes.txt: line 2 holds a key or token"),
    ],
)
def test_what_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, said: str
) -> None:
    (run / "export" / name).write_bytes(content)
    assert said in refused(capsys, "model", str(run), "me/it", "--yes")


def test_a_secret_of_the_environment_and_a_link(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "plain-words-1")
    (run / "export" / "README.md").write_text(f"{CARD}\nserved with plain-words-1\n")
    assert "README.md: line 13 holds a key" in refused(capsys, "model", str(run), "me/it")
    (run / "export" / "README.md").write_text(CARD)
    (run / "export" / "notes.txt").symlink_to("/etc/hostname")
    assert "notes.txt: is a link or no file" in refused(capsys, "model", str(run), "me/it")
    assert main(["model", str(run), "me/it", "--leave-out", "notes.txt"]) == 0


def test_a_run_that_is_not_finished_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = {"state": "running", "step": 4, "reason": "", "resume_cmd": ""}
    (run / "run_status.json").write_text(json.dumps(status))
    assert "its run is running, not finished" in refused(capsys, "model", str(run), "me/it")
    assert "is no run folder" in refused(capsys, "model", str(run / "export"), "me/it")
    assert "me: is no repository" in refused(capsys, "model", str(run), "me")
    token = refused(capsys, "model", str(run), "me/it", "--token-env", "hf_abc")
    assert "never the token" in token and "hf_abc" not in token


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of annotation with three rows of two splits, and two clips."""
    rows = [
        {"id": "1", "audio": "a/1.wav", "label": "sad", "split": "train", "duration_s": 1800.0},
        {"id": "2", "audio": "a/2.wav", "label": "happy", "split": "train", "duration_s": 3600.0},
        {"id": "3", "audio": "a/2.wav", "label": "sad", "split": "test-a", "text": "hm|m"},
    ]
    folder = tmp_path / "data"
    folder.mkdir()
    speakers = [row | {"speaker": f"s{row['id']}", "dataset": "ravdess"} for row in rows]
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, speakers)))
    (tmp_path / "clips" / "a").mkdir(parents=True)
    for name in ("1", "2"):
        (tmp_path / "clips" / "a" / f"{name}.wav").write_bytes(b"RIFF" + name.encode())
    return folder


@pytest.mark.slow
def test_a_corpus_goes_without_its_clips(corpus: Path, server: HubServer) -> None:
    done = push(server, "dataset", str(corpus), "me/it", "--yes", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert sorted(server.files) == ["README.md", "data/test_a.jsonl", "data/train.jsonl"]
    assert server.made[0]["type"] == "dataset"
    train = [json.loads(line) for line in server.files["data/train.jsonl"].splitlines()]
    assert [(row["id"], row["audio"]) for row in train] == [("1", "a/1.wav"), ("2", "a/2.wav")]
    card = server.files["README.md"].decode()
    header = yaml.safe_load(card.split("---")[1])
    assert header["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train.jsonl"},
        {"split": "test_a", "path": "data/test_a.jsonl"},
    ]
    assert header["size_categories"] == ["n<1K"]
    assert "| train | 2 | 2 | 1.50 |" in card  # 1800 s and 3600 s
    assert "| test_a | 1 | 1 | not known |" in card
    assert "| sad | 1 | 1 |" in card and "| happy | 1 | 0 |" in card
    assert "**No audio is here.**" in card and "- ravdess: 3 rows." in card


@pytest.mark.slow
def test_clips_go_when_asked_for(corpus: Path, server: HubServer) -> None:
    clips = corpus.parent / "clips"
    arguments = ("--audio", str(clips), "--leave-out", "text", "--yes")
    done = push(server, "dataset", str(corpus), "me/it", *arguments, HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    assert server.files["audio/a/2.wav"] == b"RIFF2" and len(server.files) == 5
    assert b"hm|m" not in server.files["data/test_a.jsonl"]
    assert "licences of these corpora allow it" in server.files["README.md"].decode()


@pytest.mark.slow
def test_all_clips_of_a_row_go(corpus: Path, server: HubServer) -> None:
    manifest, clips = corpus / "manifest.jsonl", corpus.parent / "clips"
    one, two, three = map(json.loads, manifest.read_text().splitlines())
    one["audio"] = ["a/2.wav", "a/1.wav"]
    two |= {"audio": [], "turns": [{"role": "user", "audio": "a/3.wav"}]}
    manifest.write_text("\n".join(map(json.dumps, (one, two, three))))
    (clips / "a" / "3.wav").write_bytes(b"RIFF3")
    arguments = ("--audio", str(clips), "--yes")
    done = push(server, "dataset", str(corpus), "me/it", *arguments, HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    sent = [name for name in server.files if name.startswith("audio/")]
    assert sorted(sent) == ["audio/a/1.wav", "audio/a/2.wav", "audio/a/3.wav"]
    assert "2 rows have a list of clips in `audio`, or a dial" in server.files["README.md"].decode()


def test_a_clip_outside_the_root_is_refused(
    corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus.parent / "clips" / "a" / "1.wav").unlink()
    (corpus.parent / "clips" / "a" / "1.wav").symlink_to("/etc/hostname")
    said = refused(capsys, "dataset", str(corpus), "me/it", "--audio", str(corpus.parent / "clips"))
    assert "1 clips are not files below it, first 'a/1.wav'" in said
