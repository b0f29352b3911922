"""What all sections of the schema have in common, and their fields in words.

A section is a pydantic dataclass: the type, range and words of a field, and the text under it, are
what the loader checks and what docs/configuration.md prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Literal, cast, get_args, get_origin

from pydantic import ConfigDict, ValidatorFunctionWrapHandler, field_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

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

SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
"""Range of a field in pydantic's words and in ours."""


@dataclass(
    config=ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        use_attribute_docstrings=True,
        # In Python a section takes the names of its fields, in YAML its keys.
        validate_by_name=True,
        validate_by_alias=True,
    )
)
class Section:
    """Base of all sections."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _take_as_written(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        """Refuse every conversion but that between a number and its text."""
        checked = validate(value)
        if not _same_kind(value, checked):
            raise ValueError
        return checked


def _same_kind(value: Any, checked: Any) -> bool:
    """Return False where pydantic took true for 1, `yes` for true or 2.0 for 2."""
    if isinstance(checked, list):
        return all(map(_same_kind, value, cast(list[Any], checked)))
    if isinstance(checked, dict):
        return all(map(_same_kind, value.values(), cast(dict[Any, Any], checked).values()))
    if isinstance(value, bool) or isinstance(checked, bool):
        return value is checked
    return not (isinstance(value, float) and isinstance(checked, int))


def fields_of(section: Any) -> Mapping[str, FieldInfo]:
    """Return the fields of a section by key."""
    fields: Mapping[str, FieldInfo] = section.__pydantic_fields__
    return {field.alias or name: field for name, field in fields.items()}


def tree_of(section: Any) -> dict[str, Any]:
    """Return the values of a section and of those below it by key."""
    values = asdict(section)
    return dict(zip(fields_of(section), values.values(), strict=True))


def entry_section(kind: Any) -> Any:
    """Return the section that a list's entries are; None for all other types."""
    entry = next(iter(get_args(kind)), None)
    return entry if get_origin(kind) is list and is_dataclass(entry) else None


def keys_below(section: Any, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key in the order of the schema; an entry of a list of sections is 0."""
    for name, field in fields_of(section).items():
        key = f"{prefix}{name}"
        yield key
        if is_dataclass(field.annotation):
            yield from keys_below(field.annotation, f"{key}.")
        elif entry := entry_section(field.annotation):
            yield from keys_below(entry, f"{key}.0.")


def allowed(field: FieldInfo) -> str:
    """Return type and range of a field in words: "a number, > 0", "one of a, b"."""
    kind: Any = field.annotation
    limits = (asdict(limit).items() for limit in field.metadata)
    ranges = [f"{SIGNS[name]} {limit:g}" for ((name, limit),) in limits]
    return ", ".join([_type_name(kind), *ranges])


def choices_of(kind: Any) -> tuple[str, ...]:
    """Return the words that a field of a type may hold, itself or in a list; none = any."""
    if get_origin(kind) is list:
        return choices_of(get_args(kind)[0])
    return get_args(kind) if get_origin(kind) is Literal else ()


def _type_name(kind: Any) -> str:
    if entry_section(kind):
        return "a list of sections"
    if choices_of(kind):
        each = "a list, each " if get_origin(kind) is list else ""
        return f"{each}one of {', '.join(choices_of(kind))}"
    return TYPE_NAMES.get(kind, "a section")
