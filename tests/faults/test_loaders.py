"""Code of ours that reads what may run code: found by its syntax tree."""

from __future__ import annotations

import ast

import pytest

from tests.unit.test_architecture import EVERYTHING, dotted, tree

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
