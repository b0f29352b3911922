"""A sheet for people: a random sample of reasoning texts beside their clips, as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment

from data.files import Row
from data.prosody.claims import claim_pieces

SHOWN = ("pitch", "energy", "rate", "intonation", "contour")
"""Keys of `prosody` that are shown of a clip."""


def write_review(
    path: Path, rows: Sequence[Row], *, audio_root: Path, sample: int, seed: int
) -> None:
    """Write `sample` drawn rows as a sheet that plays the clips from where they are."""
    # Autoescaping is on: ids, transcripts and model text are shown, never run.
    environment = Environment(autoescape=True)
    template = Path(__file__).with_name("review.html").read_text(encoding="utf-8")
    order = np.random.default_rng(seed).permutation(len(rows))
    items: list[dict[str, Any]] = []
    for index in sorted(order[:sample].tolist()):
        row = rows[index]
        prosody = row.get("prosody") or {}
        items.append(
            {
                "id": row["id"],
                "label": row["label"],
                "text": row.get("text"),
                "facts": ", ".join(f"{key}: {prosody.get(key) or 'not measured'}" for key in SHOWN),
                "audio": quote(os.path.relpath(audio_root / row["audio"], path.parent)),
                "pieces": claim_pieces(row["reasoning"], prosody),
            }
        )
    page = environment.from_string(template)
    script = template.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    facts = {"title": path.parent.name, "items": items, "total": len(rows)}
    path.write_text(page.render(facts, script_sha256=digest), encoding="utf-8")
