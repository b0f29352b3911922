"""Classes that a configuration names: whether they can be imported and take their options.

Foreign code is imported in a process of its own: whatever it raises, and even if it ends its
process, becomes one line. `python -m launch.preflight.plugins` is that process.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from rewards.adapters import stand_in_for_swift
from rewards.base import where_packages_lie
from rewards.foreign_reward import has_call, missing_arguments

OWN_PACKAGE = "rewards"
"""Our own classes, which are imported here."""

IMPORT_TIMEOUT_S = 120.0
"""Longest import of a foreign class."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A class, or a function, that a configuration names."""

    target: str
    """`module:Class`."""
    method: str
    """What it must have; a function has none."""
    options: Sequence[str]
    """Names of its keyword arguments."""
    num_positional: int = 0
    """Arguments that come before those."""
    is_function: bool = False
    """It is a function, which must need no other arguments than these."""


def fault(plugin: Plugin) -> str:
    """Return what is wrong with a class; empty if nothing is. Its module is imported.

    Raises:
        Exception: Whatever the module raises while it is imported, but for ImportError.
    """
    module_name, _, name = plugin.target.partition(":")
    if plugin.method == "__call__":
        stand_in_for_swift()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        near = _near(module_name, _siblings(module_name))
        where = where_packages_lie(module_name.partition(".")[0], str(error))
        return f"cannot be imported: {error}{near or where}"
    kind = getattr(module, name, None)
    if plugin.is_function:
        functions = [other for other, value in vars(module).items() if inspect.isfunction(value)]
        if not callable(kind):
            return f"{module_name} has no function {name}{_near(name, functions)}"
        return missing_arguments(kind, plugin.options)
    if not inspect.isclass(kind) or not callable(getattr(kind, plugin.method, None)):
        fitting = [
            other
            for other, value in vars(module).items()
            if inspect.isclass(value) and callable(getattr(value, plugin.method, None))
        ]
        has = f"{module_name} has no class {name} with a {plugin.method} method"
        return f"{has}{_near(name, fitting)}"
    if plugin.method == "__call__" and not has_call(kind):
        return f"{name} has no __call__"
    signature = inspect.signature(kind)
    try:
        signature.bind(*range(plugin.num_positional), **dict.fromkeys(plugin.options))
    except TypeError as error:
        names = list(signature.parameters)
        unknown = [option for option in plugin.options if option not in names]
        near = _near(unknown[0], names) if unknown else ""
        return f"options do not fit {name}{signature}: {error}{near}"
    return ""


def faults(plugins: Sequence[Plugin]) -> list[str]:
    """Return what is wrong with each class; foreign ones are imported side by side, elsewhere."""
    started = {
        i: _start(plugin)
        for i, plugin in enumerate(plugins)
        if plugin.target.partition(":")[0].partition(".")[0] != OWN_PACKAGE
    }
    return [
        _result(started[i], plugin) if i in started else fault(plugin)
        for i, plugin in enumerate(plugins)
    ]


def _start(plugin: Plugin) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "launch.preflight.plugins", json.dumps(asdict(plugin))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def _result(process: subprocess.Popen[str], plugin: Plugin) -> str:
    try:
        output, errors = process.communicate(timeout=IMPORT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"its import took longer than {IMPORT_TIMEOUT_S:g} s"
    last = output.splitlines()[-1:]
    if process.returncode == 0 and last and last[0].startswith(MARK):
        return json.loads(last[0].removeprefix(MARK))
    lines = errors.strip().splitlines()
    reason = lines[-1] if lines else f"its process ended with {process.returncode}"
    return f"its import fails: {reason}"


def _siblings(module: str) -> list[str]:
    """Return the modules beside one that is not there."""
    parent = module.rpartition(".")[0]
    try:
        folders = importlib.import_module(parent).__path__ if parent else None
    except (ImportError, AttributeError):
        return []
    prefix = f"{parent}." if parent else ""
    return [prefix + sibling.name for sibling in pkgutil.iter_modules(folders)]


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


MARK = "fault: "
"""Before the result, which may follow what the module itself printed."""

if __name__ == "__main__":
    print(MARK + json.dumps(fault(Plugin(**json.loads(sys.argv[1])))))
