"""What a checkpoint's config says, read without the libraries that load it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def model_length(checkpoint: str | Path) -> int | None:
    """Return the most tokens that a checkpoint was made for; None if its config does not say."""
    try:
        value: Any = json.loads((Path(checkpoint) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    for key in ("thinker_config", "text_config", "max_position_embeddings"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, int) else None
