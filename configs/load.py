"""From a YAML file and `key=value` overrides to a checked `RunConfig`, and back to YAML.

Order of precedence: command line, the file, the file named by its `defaults`, the schema. Lists are
replaced as a whole, mappings are merged. Environment variables are never read: a secret is named in
the configuration and looked up by the part that needs it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from configs.errors import UserError
from configs.rules import check_rules
from configs.schema import RunConfig

Schema = TypeVar("Schema")

COMMAND_LINE = "command line"
"""Where a problem is, when it is in an override."""

ABSENT = "(absent)"
"""Stands in `config_differences` for a key that one side does not have."""

TYPE_NAMES: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    list[str]: "a list of texts",
    dict[str, str]: "a mapping of texts to texts",
    dict[str, Any]: "a mapping",
    dict[str, float]: "a mapping of texts to numbers",
    list[int]: "a list of whole numbers",
    dict[str, list[Any]]: "a mapping of texts to lists",
}
"""How messages and docs/configuration.md call the types of the schema."""


class ConfigError(UserError):
    """The configuration cannot be used; `problems` has one line for everything that is wrong."""

    def __init__(self, where: str | Path, *problems: str) -> None:
        """Make a message of all problems.

        Args:
            where: The file that was asked for; or the whole message, if no problems follow.
            problems: Each says where (file or command line, key), what was found, what is allowed.
        """
        self.problems = problems
        lines = "\n".join(f"  - {problem}" for problem in problems)
        count = f": {len(problems)} configuration problem(s):\n" if problems else ""
        super().__init__(f"{where}{count}{lines}")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that a file or an override gives to one key."""

    where: str
    key: str
    """Dotted, such as `optim.lr` or `rewards.terms.0.weight`."""
    value: Any
    kind: Any
    """Type in the schema; `Any` below a free-form mapping."""
    limits: Mapping[str, Any]
    """Range of the field, see `configs.schema.knob`."""


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Return the checked configuration of a run, as plain dataclasses.

    Args:
        path: YAML file. Its top-level `defaults: other.yaml`, relative to it, is read first.
        overrides: `dotted.key=value`, the value in YAML syntax; later ones win.

    Raises:
        ConfigError: With every unknown key, wrong type and value out of range of all files and
            overrides; if there is none, with every broken rule of `configs.rules`.
    """
    problems: list[str] = []
    settings = [
        *_file_settings(Path(path), RunConfig, problems),
        *_override_settings(overrides, RunConfig, problems),
    ]
    config = _build(path, RunConfig, settings, problems)
    broken = check_rules(config)
    if broken:
        raise ConfigError(path, *broken)
    return config


def load_sections(path: str | Path, kind: type[Schema], overrides: Sequence[str] = ()) -> Schema:
    """Return a configuration of another schema than a run's, read and checked like a run's.

    Args:
        path: YAML file; it may have `defaults`. Empty: overrides alone.
        kind: Dataclass whose fields are the keys of the file.
        overrides: As for `load_config`.

    Raises:
        ConfigError: With every unknown key, wrong type and value out of range.
    """
    problems: list[str] = []
    settings = _file_settings(Path(path), kind, problems) if path else []
    settings += _override_settings(overrides, kind, problems)
    return _build(path or COMMAND_LINE, kind, settings, problems)


def _build(
    path: str | Path, kind: type[Schema], settings: Sequence[Setting], problems: list[str]
) -> Schema:
    """Return the schema's object with all settings; raise if there are or will be problems."""
    tree = OmegaConf.structured(kind)
    for setting in settings:
        problem = _apply(tree, setting)
        if problem is not None:
            problems.append(f"{setting.where}: {setting.key}: {problem}")
    if problems:
        raise ConfigError(path, *problems)
    return cast(Schema, OmegaConf.to_object(tree))


def dump_config(config: RunConfig) -> str:
    """Return the whole configuration as YAML that `load_config` reads back to an equal one."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def config_differences(old_yaml_text: str, config: RunConfig) -> list[tuple[str, Any, Any]]:
    """Return the keys whose values differ, for the check before a run is resumed.

    Args:
        old_yaml_text: What `dump_config` gave for the run that is resumed.
        config: The configuration that was asked for now.

    Returns:
        (dotted key, old value, new value) in the order of the schema; `ABSENT` where one side does
        not have the key.
    """
    new = _flatten("", OmegaConf.to_container(OmegaConf.structured(config)))
    old = _flatten("", OmegaConf.to_container(OmegaConf.create(old_yaml_text)))
    keys = [*new, *(key for key in old if key not in new)]
    pairs = ((key, old.get(key, ABSENT), new.get(key, ABSENT)) for key in keys)
    return [(key, before, after) for key, before, after in pairs if before != after]


def dotted_keys() -> list[str]:
    """Return every key of the schema in its order; entries of a list of sections have index 0."""
    return list(_keys_below("", RunConfig))


def _keys_below(prefix: str, kind: Any) -> Iterator[str]:
    for name, (field_kind, _) in _members(kind).items():
        key = f"{prefix}{name}"
        if is_dataclass(field_kind):
            yield from _keys_below(f"{key}.", field_kind)
        else:
            yield key
            if _is_section_list(field_kind):
                yield from _keys_below(f"{key}.0.", get_args(field_kind)[0])


def _members(kind: Any) -> dict[str, tuple[Any, Field[Any]]]:
    """Return name -> (type, field) of a section of the schema."""
    hints = get_type_hints(kind)
    return {entry.name: (hints[entry.name], entry) for entry in fields(kind)}


def _is_section_list(kind: Any) -> bool:
    return get_origin(kind) is list and is_dataclass(get_args(kind)[0])


def _file_settings(path: Path, root: Any, problems: list[str]) -> list[Setting]:
    """Return the settings of a file, those of its `defaults` chain before its own."""
    layers: list[list[Setting]] = []
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
        layers.append(list(_expand(str(current), "", content, root, {}, problems, root)))
        current = None if base is None else current.parent / base
    return [setting for layer in reversed(layers) for setting in layer]


def _read_yaml(path: Path, asked: Path) -> dict[str, Any]:
    try:
        loaded = OmegaConf.load(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(asked, f"{path}: cannot be read: {error}") from error
    except YAMLError as error:
        raise ConfigError(asked, f"{path}: not valid YAML: {error}") from error
    except OmegaConfBaseException as error:
        problem = f"{path}: {error}; `${{...}}` is not supported, write the value itself"
        raise ConfigError(asked, problem) from error
    if not isinstance(loaded, DictConfig):
        raise ConfigError(asked, f"{path}: found a list; a configuration is a mapping of keys")
    return cast(dict[str, Any], OmegaConf.to_container(loaded, resolve=False))


def _override_settings(overrides: Sequence[str], root: Any, problems: list[str]) -> list[Setting]:
    settings: list[Setting] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            problems.append(f"{COMMAND_LINE}: found {override!r}; write dotted.key=value")
            continue
        resolved = _resolve(key, root)
        if resolved is None:
            problems.append(f"{COMMAND_LINE}: {_unknown(key, root)}")
            continue
        try:
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))
        except (YAMLError, OmegaConfBaseException) as error:
            reason = " ".join(str(error).split())
            problems.append(f"{COMMAND_LINE}: {key}: {text!r} is not a YAML value: {reason}")
            continue
        value = cast(dict[str, Any], parsed)["value"]
        settings += _expand(COMMAND_LINE, key, value, *resolved, problems, root)
    return settings


def _resolve(key: str, root: Any) -> tuple[Any, Mapping[str, Any]] | None:
    """Return type and limits of a dotted key; None if the schema has no such key."""
    kind: Any = root
    limits: Mapping[str, Any] = {}
    for part in key.split("."):
        if is_dataclass(kind):
            member = _members(kind).get(part)
            if member is None:
                return None
            kind, limits = member[0], member[1].metadata
        elif _is_section_list(kind) and part.isdecimal():
            kind, limits = get_args(kind)[0], {}
        elif get_origin(kind) is dict:
            kind, limits = get_args(kind)[1], {}
        elif kind is not Any:
            return None
    return kind, limits


def _expand(
    where: str,
    key: str,
    value: Any,
    kind: Any,
    limits: Mapping[str, Any],
    problems: list[str],
    root: Any,
) -> Iterator[Setting]:
    """Yield one setting per leaf of the schema; note unknown keys and sections that are none."""
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            names = ", ".join(_members(kind))
            problems.append(f"{where}: {key}: found {_show(value)}; a section with keys {names}")
            return
        members = _members(kind)
        for name, below in cast(Mapping[Any, Any], value).items():
            full = f"{key}.{name}" if key else str(name)
            if name not in members:
                problems.append(f"{where}: {_unknown(full, root)}")
                continue
            member_kind, member = members[name]
            yield from _expand(where, full, below, member_kind, member.metadata, problems, root)
    elif _is_section_list(kind):
        if not isinstance(value, list):
            problems.append(f"{where}: {key}: found {_show(value)}; allowed is a list of sections")
            return
        entries = cast(list[Any], value)
        yield Setting(where, key, [{}] * len(entries), kind, limits)
        for index, entry in enumerate(entries):
            element = get_args(kind)[0]
            yield from _expand(where, f"{key}.{index}", entry, element, {}, problems, root)
    else:
        yield Setting(where, key, value, kind, limits)


def _apply(tree: DictConfig, setting: Setting) -> str | None:
    """Put a value in its place; return what is wrong with it, if anything."""
    if _has_interpolation(setting.value):
        return (
            "`${...}` is not supported: write the value itself, and for a secret the name of the "
            "environment variable that holds it"
        )
    entry = re.match(r"(.+?)\.(\d+)(\.|$)", setting.key)
    if entry and int(entry[2]) >= len(OmegaConf.select(tree, entry[1])):
        return f"{entry[1]} has no entry {entry[2]}; they are counted from 0"
    wrong_type = f"found {_show(setting.value)}; allowed is {TYPE_NAMES.get(setting.kind)}"
    if not _fits(setting.value, setting.kind):
        return wrong_type
    try:
        OmegaConf.update(tree, setting.key, setting.value)
    except OmegaConfBaseException:
        return wrong_type
    return _outside(OmegaConf.select(tree, setting.key), setting.limits)


def _fits(value: Any, kind: Any) -> bool:
    """Return False for values that OmegaConf would take although they are of another type."""
    if kind is bool:
        return isinstance(value, bool)
    if kind is str:
        return isinstance(value, str | int | float) and not isinstance(value, bool)
    if kind == list[str]:
        return isinstance(value, list) and all(_fits(item, str) for item in cast(list[Any], value))
    if kind == dict[str, str]:
        return isinstance(value, Mapping) and all(
            _fits(item, str) for item in cast(Mapping[Any, Any], value).values()
        )
    return True


def _outside(value: Any, limits: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a number or word that is not in its range."""
    if "choices" in limits and value not in limits["choices"]:
        return f"found {value!r}; allowed is {describe_limits(limits)}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"found {value!r}; allowed is a finite number"
    inside = (
        ("ge" not in limits or value >= limits["ge"])
        and ("gt" not in limits or value > limits["gt"])
        and ("le" not in limits or value <= limits["le"])
    )
    return None if inside else f"found {value!r}; allowed is {describe_limits(limits)}"


def describe_limits(limits: Mapping[str, Any]) -> str:
    """Return the range of a field in words: ">= 0, <= 1", "one of a, b", or ""."""
    if "choices" in limits:
        return f"one of {', '.join(limits['choices'])}"
    signs = {"ge": ">=", "gt": ">", "le": "<="}
    return ", ".join(f"{signs[name]} {limits[name]:g}" for name in signs if name in limits)


def _unknown(key: str, root: Any) -> str:
    """Return the message for an unknown key, with the nearest one that exists."""
    indices = re.findall(r"(?<=\.)\d+(?=\.)", key)
    neutral = re.sub(r"(?<=\.)\d+(?=\.)", "0", key)

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, neutral, candidate).ratio()
        last = difflib.SequenceMatcher(None, _last(neutral), _last(candidate)).ratio()
        return whole + last

    nearest = max(_keys_below("", root), key=likeness)
    for index in indices[:1]:
        nearest = nearest.replace(".0.", f".{index}.")
    return f"{key}: unknown key; the nearest is {nearest}"


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _has_interpolation(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_interpolation, cast(Mapping[Any, Any], value).values()))
    if isinstance(value, list):
        return any(map(_has_interpolation, cast(list[Any], value)))
    return isinstance(value, str) and "${" in value


def _flatten(prefix: str, value: Any) -> dict[str, Any]:
    """Return dotted key -> leaf; lists of mappings are opened, other lists are leaves."""
    below: Iterator[tuple[Any, Any]]
    if isinstance(value, Mapping):
        below = iter(cast(Mapping[Any, Any], value).items())
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        below = iter(enumerate(cast(list[Any], value)))
    else:
        return {prefix: value}
    dot = f"{prefix}." if prefix else ""
    return {
        key: leaf for name, entry in below for key, leaf in _flatten(f"{dot}{name}", entry).items()
    }


def _show(value: Any) -> str:
    return "nothing (write '' for an empty text)" if value is None else repr(value)
