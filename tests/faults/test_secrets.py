"""A key that servers, plug-ins and libraries repeat: it stands in no output and in no file."""

from __future__ import annotations

import base64
import io
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import ray

from configs.schema import RewardTermConfig
from configs.secrets import (
    HIDDEN,
    HidingStream,
    all_without_secrets,
    hide_variables_of,
    hiding_output,
    without_secrets,
)
from launch import annotate, doctor
from launch.preflight import ROOT
from rewards.base import RewardError
from rewards.foreign import describe
from rewards.pool import RewardPool
from tests.fixtures import make_corpus
from tests.judge_server import running
from tests.unit.make_groups import make_group
from trainer.run_folder import RunFolder

SECRET = 'sesame-"c0ffee"/5a17e+z9'
"""With what JSON, addresses and base64 write otherwise."""

HEADER = f"Bearer {SECRET}"
TRACES = ("c0ffee", "5a17e", "sesame", SECRET.encode().hex())
"""What no form of the key lacks, but for base64."""

TINY = str(ROOT / "configs" / "tiny.yaml")


def packed_forms(text: str) -> set[str]:
    """Return what base64 makes of the key within a text, wherever it begins there."""
    forms: set[str] = set()
    for before in ("", "a", "ab"):
        content = (before + text).encode()
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Groups that are of the key alone.
            forms.add(encode(content[3 : len(content) // 3 * 3]).decode())
    return forms


def leaks(text: str) -> list[str]:
    """Return the traces of the key in a text."""
    packed = packed_forms(SECRET)
    assert all(len(form) > 20 for form in packed)
    return [trace for trace in (*TRACES, *packed) if trace in text]


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of the variable that holds the key; it does not sound like one."""
    monkeypatch.setenv("JUDGE_DOOR", SECRET)
    hide_variables_of({"deep": [{"api_key_env": "JUDGE_DOOR"}]})
    return "JUDGE_DOOR"


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "a header": lambda key: f"{{'Authorization': 'Bearer {key}'}}",
    "JSON": lambda key: json.dumps({"Authorization": key}),
    "JSON in JSON": lambda key: json.dumps(json.dumps({"Authorization": key})),
    "repr": lambda key: repr({"k": key + "'"}),
    "repr of bytes": lambda key: repr([(b"Authorization", key.encode())]),
    "an address": lambda key: f"http://h/v1?key={quote(key)}",
    "a quoted address": lambda key: f"http://h/v1?key={quote(key, safe='')}",
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of user and key": lambda key: base64.b64encode(f"me:{key}\n".encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(f"xy{key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
}


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(
            form,
            id=form,
            marks=pytest.mark.fault(
                f"a text repeats a key, written as {form}",
                happens=f"{HIDDEN} stands in its place",
                lost="nothing",
            ),
        )
        for form in FORMS
    ],
)
def test_every_form_of_a_key_is_hidden(key: str, form: str):
    text = f"before {FORMS[form](SECRET)} after"
    assert leaks(text), "else nothing is shown here"
    hidden = without_secrets(text)
    assert leaks(hidden) == [] and HIDDEN in hidden
    assert hidden.startswith("before ") and hidden.endswith(" after")


def test_what_is_no_secret_stays(key: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCAL_API_KEY", "EMPTY")
    monkeypatch.setenv("PLAIN_SETTING", "a plain value")
    text = "EMPTY a plain value sesame 5a17e"
    assert without_secrets(text) == text
    monkeypatch.setenv("OTHER_TOKEN", "hf_0123456789")
    assert without_secrets("it was hf_0123456789") == f"it was {HIDDEN}"
    data = {"a": [1, None, {f"x {SECRET}": HEADER}], "b": 0.5, "c": True}
    assert all_without_secrets(data) == {
        "a": [1, None, {f"x {HIDDEN}": f"Bearer {HIDDEN}"}],
        "b": 0.5,
        "c": True,
    }


@pytest.mark.fault(
    "an exception carries the headers of its request",
    happens="its one line has [key] in place of the key, also where the line is cut",
    lost="nothing",
)
def test_an_exception_with_headers(key: str):
    for padding in range(200, 320, 7):
        line = describe(RuntimeError("x" * padding + HEADER))
        assert line.startswith("RuntimeError: xxx") and leaks(line) == []
        assert "sesa" not in line and "Bearer s" not in line


@pytest.mark.fault(
    "a traceback ends in a key",
    happens="what a command prints has [key] in its place",
    lost="nothing",
)
def test_what_is_printed(key: str, capsys: pytest.CaptureFixture[str]):
    with hiding_output():
        print(HEADER, file=sys.stderr)
        try:
            raise RuntimeError(HEADER)
        except RuntimeError:
            traceback.print_exc()
        print("so", HEADER, end=".")
        logging.StreamHandler().emit(logging.makeLogRecord({"msg": HEADER}))
        sys.stdout.writelines([HEADER, "\n"])
    captured = capsys.readouterr()
    assert captured.out == f"so Bearer {HIDDEN}.Bearer {HIDDEN}\n"
    assert captured.err.count(f"Bearer {HIDDEN}") == 3 and leaks(captured.err) == []
    stream = HidingStream(io.StringIO())
    assert stream.write(HEADER) == len(HEADER) and stream.getvalue() == f"Bearer {HIDDEN}"


@pytest.mark.fault(
    "a run fails with an error that repeats a key",
    happens="run_status.json and starts.jsonl have [key] in its place",
    lost="nothing",
)
def test_the_status_of_a_run(key: str, tmp_path: Path):
    folder = RunFolder(tmp_path)
    folder.open("seed: 1\n", lambda old: [])
    folder.restart = (1, f"LearnerError: {HEADER}")
    folder.record_start(1)
    folder.write_status("failed", 1, f"RewardError: {HEADER}", f"python launch/rl.py x={SECRET}")
    for path in (folder.status_path, folder.starts_path):
        assert leaks(path.read_text()) == [] and HIDDEN in path.read_text()
    assert folder.read_status()["reason"] == f"RewardError: Bearer {HIDDEN}"


# What servers and plug-ins repeat.


@pytest.mark.slow
@pytest.mark.fault(
    "the server that writes reasoning repeats the key, in errors and in its texts",
    happens="the journal, the files and the log of launch/annotate.py have [key] in its place",
    lost="nothing",
)
def test_annotation_with_a_server_that_echoes(
    key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    make_corpus(tmp_path / "corpus", 4)
    items = ["echo 500", "echo 401", "echo 200", f"text {HEADER} is what I was sent"]
    with running(lambda number, body: items[number % 4]) as server:
        settings = {
            "manifest": tmp_path / "corpus" / "manifest.jsonl",
            "root": tmp_path / "corpus",
            "output": tmp_path / "out",
            "splits.by": "keep",
            "splits.allow": "[speaker, session, transcript, sha256]",
            "reasoning.source": "server",
            "reasoning.url": server.url,
            "reasoning.model": "m",
            "reasoning.api_key_env": key,
            "reasoning.concurrency": 1,
        }
        code = annotate.main([f"{name}={value}" for name, value in settings.items()])
        assert {headers["Authorization"] for headers in server.headers} == {HEADER}
    printed = capfd.readouterr()
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    texts = {path.name: path.read_text(errors="replace") for path in files}
    assert code == 4 and any(HIDDEN in text for text in texts.values()), (printed, texts)
    assert [name for name, text in texts.items() if leaks(text)] == []
    assert leaks(printed.out + printed.err) == []


@pytest.fixture
def workers(key: str) -> Iterator[Path]:
    """Start Ray for reward workers, which see the key; return the folder of its session."""
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield Path(ray._private.worker._global_node.get_session_dir_path())
    ray.shutdown()


def term(name: str, target: str, **options: Any) -> RewardTermConfig:
    return RewardTermConfig(name=name, target=target, options=options)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.fault(
    "a plug-in raises, prints, logs and returns its key",
    happens="scores, details, reasons and the logs of its worker have [key] in its place",
    lost="nothing",
)
def test_a_plug_in_that_repeats_its_key(workers: Path, key: str, caplog: pytest.LogCaptureFixture):
    packages = ["rewards", "tests"]
    pool = RewardPool([term("leaky", "tests.faults.leaky_rewards:Leaky", key_env=key)], packages)
    groups = [make_group(["<think>a</think><answer>sad</answer>"], id=str(i)) for i in range(8)]
    found = repr(list(pool.score(groups, {"leaky": 1.0})))
    pool.close()
    assert "RuntimeError: 500 for" in found and found.count(HIDDEN) > 4
    assert leaks(found + caplog.text) == []
    broken = term("broken", "tests.faults.leaky_rewards:LeakyConstructor", key_env=key)
    pool = RewardPool([broken], packages)
    with pytest.raises(RewardError, match="cannot log in with") as caught:
        pool.ping()
    pool.close()
    chain = "".join(traceback.format_exception(caught.value))
    assert HIDDEN in chain and leaks(chain) == []
    ray.shutdown()  # what is still buffered is written
    logs = {p: p.read_text(errors="replace") for p in workers.rglob("*") if p.is_file()}
    assert any("in a thread: Bearer [key]" in text for text in logs.values())
    assert any("echo" in text and HIDDEN in text for text in logs.values())
    assert [path.name for path, text in logs.items() if leaks(text)] == []


@pytest.mark.slow
@pytest.mark.fault(
    "a plug-in's module cannot be imported and says why with a key",
    happens="launch/doctor.py shows [key] in its place",
    lost="nothing",
)
def test_a_plug_in_whose_import_repeats_a_key(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.syspath_prepend(tmp_path)
    code = f"import os\nraise RuntimeError('sent Bearer ' + os.environ[{key!r}])\n"
    (tmp_path / "talkative.py").write_text(code)
    told = {"name": "mine", "target": "talkative:Mine", "weight": 1.0, "options": {"key_env": key}}
    settings = ["rewards.packages=[talkative]", f"rewards.terms={json.dumps([told])}"]
    code = doctor.main(["--config", TINY, *settings, "rewards.outcome=mine"])
    printed = capfd.readouterr()
    assert code == 3 and f"sent Bearer {HIDDEN}" in printed.out
    assert leaks(printed.out + printed.err) == []
