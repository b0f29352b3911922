"""From a YAML file and `key=value` overrides to a checked `RunConfig`, and back to YAML.

Order of precedence: command line, the file, the file named by its `defaults`, the schema. Lists are
replaced as a whole, mappings are merged. Environment variables are never read: a secret is named in
the configuration and looked up by the part that needs it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from yaml import YAMLError

from configs.errors import UserError
from configs.hub import local_folder, with_folders
from configs.rules import check_rules
from configs.schema import RunConfig
from configs.secrets import hide_variables_of, secret_problems
from configs.section import (
    Section,
    allowed,
    choices_of,
    entry_section,
    fields_of,
    keys_below,
    tree_of,
)
from configs.shipped import find_shipped

Schema = TypeVar("Schema", bound=Section)

Node: TypeAlias = "dict[str, Node] | list[Node] | str | float | bool | None"
"""What YAML holds."""

Layer = tuple[str, Node]
"""Where settings come from, and their tree, which holds nothing but them."""

COMMAND_LINE = "command line"
"""Where a problem is, when it is in an override."""

INTERPOLATION = (
    "`${...}` is not supported: write the value itself, and for a secret the name of the "
    "environment variable that holds it"
)

ABSENT = "(absent)"
"""Stands in `config_differences` for a key that one side does not have."""


class ConfigError(UserError):
    """The configuration cannot be used; `problems` has one line for everything that is wrong."""

    def __init__(self, where: str | Path, *problems: str) -> None:
        """Make a message of all problems; if there are none, `where` is the message.

        A problem says where it is (file or command line, key), what was found, what is allowed.
        """
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = f": {len(problems)} configuration problem(s):\n" if problems else ""
        super().__init__(f"{where}{count}{lines}")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the checked configuration of a run, as plain dataclasses.

    Hub ids of checkpoints are replaced by their folders, see `configs.hub`.

    Args:
        path: YAML file, or a shipped one, see `configs.shipped`. Its top-level
            `defaults: other.yaml`, relative to it, is read first.
        overrides: `dotted.key=value`, the value in YAML syntax; later ones win.

    Raises:
        ConfigError: With every unknown key, wrong type and value out of range of all files and
            overrides; if there is none, with every broken rule of `configs.rules`.
        UserError: A checkpoint that is named by its hub id is not in the cache.
    """
    config = load_sections(path, RunConfig, overrides)
    broken = check_rules(config)
    if broken:
        raise ConfigError(path, *broken)
    return _with_folders(config)


def load_sections(path: str | Path, kind: type[Schema], overrides: Sequence[str] = ()) -> Schema:
    """Return a configuration of another schema than a run's, read and checked like a run's.

    Args:
        path: YAML file; it may have `defaults`. Empty: overrides alone.
        kind: Section whose fields are the keys of the file.
        overrides: As for `load_config`.

    Raises:
        ConfigError: With every unknown key, wrong type, value out of range and secret.
    """
    problems: list[str] = []
    layers = _file_layers(find_shipped(path), problems) if path else []
    layers += _override_layers(overrides, problems)
    schema = TypeAdapter(kind)
    config = kind()
    tree: Node = tree_of(config)
    for where, layer in layers:
        leaves = _flatten("", layer).items()
        problems += [
            f"{where}: {key}: {INTERPOLATION}" for key, leaf in leaves if "${" in str(leaf)
        ]
        tree = _merged(tree, layer)
        try:
            config = schema.validate_python(tree)
        except ValidationError as error:
            details = error.errors(include_url=False)
            faults = [_fault(kind, tree, entry) for entry in details if _sets(layer, entry["loc"])]
            problems += [f"{where}: {fault}" for fault in dict.fromkeys(faults)]
    settings = tree_of(config)
    problems += [f"{key}: {problem}" for key, problem in secret_problems(settings)]
    if problems:
        raise ConfigError(path or COMMAND_LINE, *problems)
    hide_variables_of(settings)
    return config


def _with_folders(config: RunConfig) -> RunConfig:
    terms = [replace(t, options=with_folders(t.options)) for t in config.rewards.terms]
    judge, model = config.judge, config.model
    folders = {"path": local_folder(model.path), "adapter": local_folder(model.adapter)}
    return replace(
        config,
        model=replace(model, **folders),
        rewards=replace(config.rewards, terms=terms),
        judge=replace(
            judge,
            options=with_folders(judge.options),
            target_options=with_folders(judge.target_options),
        ),
    )


def dump_config(config: RunConfig) -> str:
    """Return the whole configuration as YAML that `load_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.create(tree_of(config)))


def config_differences(old_yaml_text: str, config: RunConfig) -> list[tuple[str, Any, Any]]:
    """Return key, old and new value wherever they differ, for the check before a run is resumed.

    The old text is what `dump_config` gave; `ABSENT` is the value where a side has no such key.
    """
    new = _flatten("", tree_of(config))
    old = _flatten("", cast(Node, OmegaConf.to_container(OmegaConf.create(old_yaml_text))))
    keys = [*new, *(key for key in old if key not in new)]
    pairs = ((key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in keys)
    return [(key, before, after) for key, before, after in pairs if before != after]


def _file_layers(path: Path, problems: list[str]) -> list[Layer]:
    """Return the settings of a file, those of its `defaults` chain before its own."""
    layers: list[Layer] = []
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        if current.resolve() in seen:
            problems.append(f"{current}: defaults: the files name each other in a circle")
            break
        seen.append(current.resolve())
        content = _read_yaml(current, path)
        base = content.pop("defaults", None)
        if base is not None and not isinstance(base, str):
            problems.append(f"{current}: defaults: found {base!r}; allowed is one file name")
            base = None
        layers.insert(0, (str(current), content))
        current = None if base is None else current.parent / base
    return layers


def _read_yaml(path: Path, where: Path) -> dict[str, Any]:
    try:
        loaded = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError) as error:
        names = [other.name for other in path.parent.glob("*.y*ml")]
        near = [] if path.exists() else difflib.get_close_matches(path.name, names, n=1)
        hint = f"; did you mean {path.with_name(near[0])}?" if near else ""
        raise ConfigError(where, f"{path}: cannot be read: {error}{hint}") from error
    except YAMLError as error:
        raise ConfigError(where, f"{path}: not valid YAML: {error}") from error
    except OmegaConfBaseException as error:
        problem = f"{path}: {error}; `${{...}}` is not supported, write the value itself"
        raise ConfigError(where, problem) from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(where, f"{path}: found a list; a configuration is a mapping of keys")
    return cast(dict[str, Any], OmegaConf.to_container(loaded, resolve=False))


def _override_layers(overrides: Sequence[str], problems: list[str]) -> list[Layer]:
    layers: list[Layer] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            problems.append(f"{COMMAND_LINE}: found {override!r}; write dotted.key=value")
            continue
        try:
            layer = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        except (YAMLError, OmegaConfBaseException) as error:
            reason = " ".join(str(error).split())
            problems.append(f"{COMMAND_LINE}: {key}: {text!r} is not a YAML value: {reason}")
            continue
        value = cast(dict[str, Any], layer)["value"]
        for part in reversed(key.split(".")):
            value = {part: value}
        layers.append((COMMAND_LINE, value))
    return layers


def _merged(below: Node, layer: Node) -> Node:
    """Return a tree with a layer over it.

    Mappings are merged, and one whose keys are numbers changes these entries of a list, or adds
    the next. All else is replaced.
    """
    if not isinstance(layer, dict):
        return layer
    if isinstance(below, list):
        changes = {int(key): value for key, value in layer.items() if str(key).isdecimal()}
        is_near = len(changes) == len(layer) and changes.keys() <= {*range(len(below) + 1)}
        if changes and is_near:
            entries = list(below)
            if len(below) in changes:
                entries.append({})
            return [_merged(entry, changes.get(i, entry)) for i, entry in enumerate(entries)]
    tree = below if isinstance(below, dict) else {}
    return tree | {key: _merged(tree.get(key), value) for key, value in layer.items()}


def _sets(layer: Node, place: Sequence[int | str]) -> bool:
    """Return whether it is this layer that gives the value at a place, or a value in it."""
    for part in place:
        if not isinstance(layer, dict):
            break
        settings = {str(key): value for key, value in layer.items()}
        if str(part) not in settings:
            return False
        layer = settings[str(part)]
    return True


def _fault(schema: type, tree: Any, error: ErrorDetails) -> str:
    """Return the line about an error in a tree: key, what was found, what is allowed."""
    keys: list[str] = []
    kind: Any = schema
    words = ""
    for part in error["loc"]:
        if is_dataclass(kind):
            field = fields_of(kind).get(str(part))
            if field is None:
                return _unknown(schema, ".".join([*keys, str(part)]), tree.get(part))
            kind, words = field.annotation, f"allowed is {allowed(field)}"
        elif entry_section(kind):
            kind = entry_section(kind)
        else:
            break
        keys.append(str(part))
        tree = tree[part]
    key = ".".join(keys)
    value: Node = tree
    if error["type"] == "list_type" and isinstance(value, dict):
        numbers = [name for name in value if str(name).isdecimal()]
        if numbers:
            return f"{key} has no entry {numbers[-1]}; they are counted from 0"
    if is_dataclass(kind):
        words = f"a section with keys {', '.join(fields_of(kind))}"
    if error["type"] == "finite_number":
        words = "allowed is a finite number"
    near = difflib.get_close_matches(str(error["input"]), choices_of(kind), n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}? " if near else ""
    shown = "nothing (write '' for an empty text)" if value is None else repr(value)
    return f"{key}: found {shown}; {hint}{words}"


def _unknown(schema: type, key: str, value: Node) -> str:
    """Return the line about an unknown key, with the nearest one that exists."""
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        key = f"{key}.{name}"
    numbers = re.findall(r"(?<=\.)\d+(?=\.)", key)
    neutral = re.sub(r"(?<=\.)\d+(?=\.)", "0", key)

    def likeness(candidate: str) -> float:
        pairs = ((neutral, candidate), (_last(neutral), _last(candidate)))
        return sum(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)

    nearest = max(keys_below(schema), key=likeness)
    for number in numbers[:1]:
        nearest = nearest.replace(".0.", f".{number}.")
    return f"{key}: unknown key; the nearest is {nearest}"


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _flatten(prefix: str, value: Node) -> dict[str, Any]:
    """Return dotted key -> leaf; lists of mappings are opened, other lists are leaves."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = {str(index): entry for index, entry in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    dot = f"{prefix}." if prefix else ""
    return {
        key: leaf
        for name, entry in value.items()
        for key, leaf in _flatten(f"{dot}{name}", entry).items()
    }
