"""A sheet for people: a random sample of reasoning texts beside their clips, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jinja2 import Environment

from data.prosody.claims import claim_pieces

# Autoescaping is on: ids, transcripts and model text are shown, never run.
_PAGE = Environment(autoescape=True).from_string(
    """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Review: {{ title }}</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #222 }
article { border: 1px solid #ccc; border-radius: 6px; padding: .8em 1.2em; margin: 1em 0 }
article.accept { border-color: #2a7d2a; background: #f4fbf4 }
article.reject { border-color: #b03030; background: #fdf4f4 }
h2 { font-size: 1em; margin: 0 0 .4em } audio { width: 100%; height: 36px }
.facts { color: #555; font-size: .9em } blockquote { margin: .6em 0; font-size: 1.05em }
.true { background: #cdeccd } .half { background: #f3ecc0 } .false { background: #f5c6c6 }
.unknown { background: #e3e3e3 }
.bar { position: sticky; top: 0; background: #fff; padding: .6em 0 }
input[type=text] { width: 100%; box-sizing: border-box }
</style></head><body>
<h1>Review: {{ title }}</h1>
<p>{{ items | length }} of {{ total }} accepted texts, drawn at random. Listen, read, decide; then
download the decisions as CSV. Nothing leaves this page. Claims on the voice are
<span class="true">borne out</span>, <span class="half">borderline</span>,
<span class="false">contradicted</span> or <span class="unknown">not measured</span>.</p>
<div class="bar"><button id="save">Download decisions</button> <span id="count"></span></div>
{% for item in items %}
<article data-id="{{ item.id }}">
<h2>{{ loop.index }}. {{ item.id }} &mdash; {{ item.label }}</h2>
<audio controls preload="none" src="{{ item.audio }}"></audio>
<p class="facts">{{ item.facts }}{% if item.text %}<br>&ldquo;{{ item.text }}&rdquo;{% endif %}</p>
<blockquote>{% for piece, kind in item.pieces %}{% if kind %}<span class="{{ kind }}">{{ piece }}\
</span>{% else %}{{ piece }}{% endif %}{% endfor %}</blockquote>
<label><input type="radio" name="r{{ loop.index }}" value="accept"> accept</label>
<label><input type="radio" name="r{{ loop.index }}" value="reject"> reject</label>
<input type="text" placeholder="note" aria-label="note">
</article>
{% endfor %}
<script>
const all = [...document.querySelectorAll("article")];
const choice = a => (a.querySelector("input[type=radio]:checked") || {}).value || "";
function show() {
  all.forEach(a => { a.className = choice(a); });
  document.getElementById("count").textContent =
    all.filter(choice).length + " of " + all.length + " decided";
}
document.addEventListener("change", show);
document.getElementById("save").addEventListener("click", () => {
  const cell = t => '"' + t.replace(/"/g, '""') + '"';
  const rows = all.map(a => [a.dataset.id, choice(a),
    a.querySelector("input[type=text]").value].map(cell).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["id,decision,note\\n" + rows.join("\\n") + "\\n"]));
  link.download = "review.csv"; link.click();
});
show();
</script></body></html>
"""
)


def write_review(
    path: Path, rows: Sequence[Mapping[str, Any]], *, audio_root: Path, sample: int, seed: int
) -> None:
    """Write the sheet.

    Args:
        path: HTML file to write; it plays the clips from where they are.
        rows: Of a manifest, with `reasoning`.
        audio_root: Folder that the clips' paths are relative to.
        sample: Rows that are shown; all of them if there are fewer.
        seed: Draws them.
    """
    rng = np.random.default_rng(seed)
    chosen = sorted(rng.permutation(len(rows))[:sample].tolist())
    items = [_item(rows[index], path.parent, audio_root) for index in chosen]
    page = _PAGE.render(title=path.parent.name, items=items, total=len(rows))
    path.write_text(page, encoding="utf-8")


def _item(row: Mapping[str, Any], folder: Path, audio_root: Path) -> dict[str, Any]:
    prosody = row.get("prosody") or {}
    levels = [f"{name}: {prosody.get(name) or 'not measured'}" for name in _SHOWN]
    clip = os.path.relpath(audio_root / row["audio"], folder)
    return {
        "id": row["id"],
        "label": row["label"],
        "text": row.get("text"),
        "facts": ", ".join(levels),
        "audio": quote(clip),
        "pieces": claim_pieces(row["reasoning"], prosody),
    }


_SHOWN = ("pitch", "energy", "rate", "intonation", "contour")
