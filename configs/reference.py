"""Writes docs/configuration.md and docs/data_settings.md: `python -m configs.reference`.

The meaning of a key is the text under its field, the range is what the loader checks.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from configs.annotate_schema import AnnotateConfig
from configs.load import TYPE_NAMES, describe_limits
from configs.schema import RunConfig

DOCS = Path(__file__).resolve().parent.parent / "docs"

INTRODUCTION = """\
# Configuration

Written by `python -m configs.reference` from `configs/schema.py` and `configs/reward_schema.py`;
change it there.

A run is one YAML file and any number of overrides:

```
python launch/rl.py --config configs/tiny.yaml optim.lr=1e-4 rewards.terms.0.weight=0.5
```

- Overrides win over the file, the file over the file in its top-level `defaults: other.yaml`
  (relative to the file), and that over the defaults below. Of two overrides the later wins.
- Mappings are merged. Lists are replaced as a whole, and an override can change one entry of a
  list of sections by its number, counted from 0.
- Values are YAML: `model.freeze=[audio_tower]`, `checkpoint.export=false`, `eval.test_split=''`.
- An unknown key stops the run before anything starts and names the nearest one that exists. Wrong
  types and values out of range are listed all at once. Rules that tie keys together are in
  `configs/rules.py`.
- `${...}` is refused: the resolved file is copied into the run folder, so a secret never belongs in
  it. Options that need one take the name of an environment variable, such as `api_key_env`.
"""


DATA_INTRODUCTION = """\
# Settings of the data pipeline

Written by `python -m configs.reference` from `configs/annotate_schema.py`; change it there.

```
python launch/annotate.py corpus=ravdess root=/corpora/RAVDESS
python launch/annotate.py --config configs/data/demo.yaml tasks.num_rows=500
```

Files, overrides and errors are as in [configuration.md](configuration.md). What the stages do is in
[data.md](data.md).
"""

PAGES: Mapping[Path, tuple[str, type]] = {
    DOCS / "configuration.md": (INTRODUCTION, RunConfig),
    DOCS / "data_settings.md": (DATA_INTRODUCTION, AnnotateConfig),
}
"""Page -> its first part, and the schema that follows."""


def reference_text(page: Path) -> str:
    """Return the text of one of PAGES."""
    introduction, kind = PAGES[page]
    sections: list[str] = []
    _add_section(sections, "", kind)
    return "\n".join([introduction, *sections])


def _add_section(sections: list[str], prefix: str, kind: Any) -> None:
    """Append the section of a dataclass, then those of the dataclasses in it."""
    hints = get_type_hints(kind)
    described = _descriptions(kind)
    rows: list[str] = []
    below: list[tuple[str, Any]] = []
    for entry in fields(kind):
        field_kind = hints[entry.name]
        if is_dataclass(field_kind):
            below.append((f"{prefix}{entry.name}.", field_kind))
            continue
        element = next(iter(get_args(field_kind)), None)
        if is_dataclass(element):
            below.append((f"{prefix}{entry.name}.N.", element))
        rows.append(_row(f"{prefix}{entry.name}", field_kind, entry, described[entry.name]))
    title = f"`{prefix.rstrip('.')}`" if prefix else "Top level"
    head = "| Key | Allowed | Default | Meaning |\n| --- | --- | --- | --- |"
    sections.append(f"## {title}\n\n{kind.__doc__}\n\n{head}\n" + "\n".join(rows) + "\n")
    for name, member in below:
        _add_section(sections, name, member)


def _row(key: str, kind: Any, entry: Field[Any], meaning: str) -> str:
    name = TYPE_NAMES.get(kind, "a list of sections, see below")
    limits = describe_limits(entry.metadata)
    choices = "choices" in entry.metadata
    allowed = limits if choices else f"{name}, {limits}" if limits else name
    cells = (f"`{key}`", allowed, f"`{_default(entry)}`", meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(entry: Field[Any]) -> str:
    """Return the default as JSON; entries of a list of sections without what is their default."""
    if entry.default_factory is MISSING:
        return json.dumps(entry.default)
    value: Any = entry.default_factory()
    if isinstance(value, list):
        items = cast(list[Any], value)
        value = [_own_values(item) if is_dataclass(item) else item for item in items]
    return json.dumps(value)


def _own_values(section: Any) -> Mapping[str, Any]:
    plain = asdict(type(section)())
    return {key: value for key, value in asdict(section).items() if value != plain[key]}


def _descriptions(kind: type) -> dict[str, str]:
    """Return field -> the text under it, on one line."""
    (tree,) = ast.parse(inspect.getsource(kind)).body
    body = cast(ast.ClassDef, tree).body
    found: dict[str, str] = {}
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        text = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            text = " ".join(str(following.value.value).split())
        found[statement.target.id] = text
    return found


def main() -> None:
    """Write the pages and print where they are."""
    DOCS.mkdir(exist_ok=True)
    for page in PAGES:
        page.write_text(reference_text(page), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()
