"""Writes docs/configuration.md and docs/data_settings.md: `python -m configs.reference`.

The meaning of a key is the text under its field, the range is what the loader checks.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from configs.annotate_schema import AnnotateConfig
from configs.schema import RunConfig
from configs.section import allowed, entry_section, fields_of

DOCS = Path(__file__).resolve().parent.parent / "docs"

INTRODUCTION = """\
# Configuration

Written by `python -m configs.reference` from `configs/schema.py` and the `configs/*_schema.py`
beside it; change it there.

A run is one YAML file and any number of overrides:

```
python launch/rl.py --config configs/tiny.yaml optim.lr=1e-4 rewards.terms.0.weight=0.5
```

- Overrides win over the file, the file over the file in its top-level `defaults: other.yaml`
  (relative to the file), and that over the defaults below. Of two overrides the later wins.
- Mappings are merged. Lists are replaced as a whole; `rewards.terms.1.weight=2` changes one entry
  by its number, counted from 0.
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
    """Append a section of the schema, then those in it."""
    rows: list[str] = []
    below: list[tuple[str, Any]] = []
    for name, field in fields_of(kind).items():
        if is_dataclass(field.annotation):
            below.append((f"{prefix}{name}.", field.annotation))
            continue
        entry = entry_section(field.annotation)
        default: Any = field.get_default(call_default_factory=True)
        if entry:
            below.append((f"{prefix}{name}.N.", entry))
            default = [_set_values(each) for each in default]
        words = allowed(field) + (", see below" if entry else "")
        meaning = " ".join((field.description or "").split())
        cells = (f"`{prefix}{name}`", words, f"`{json.dumps(default)}`", meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    title = f"`{prefix.rstrip('.')}`" if prefix else "Top level"
    head = "| Key | Allowed | Default | Meaning |\n| --- | --- | --- | --- |"
    sections.append(f"## {title}\n\n{kind.__doc__}\n\n{head}\n" + "\n".join(rows) + "\n")
    for name, member in below:
        _add_section(sections, name, member)


def _set_values(section: Any) -> Mapping[str, Any]:
    """Return the values of a section that are not its default."""
    plain = asdict(type(section)())
    return {key: value for key, value in asdict(section).items() if value != plain[key]}


def main() -> None:
    """Write the pages and print where they are."""
    DOCS.mkdir(exist_ok=True)
    for page in PAGES:
        page.write_text(reference_text(page), encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()
