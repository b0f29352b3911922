"""Hooks of MkDocs: what a page links to outside of docs/ is part of the site, or the link is wrong.

Pages link to code and examples as `../rewards/format.py`, which a reader of the repository follows.
On the site such a file is a page that shows it, and a folder is a list of its files. MkDocs then
checks these links like all others.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
SOURCE = "source"
"""Folder of the site that holds what is not in docs/."""

MAX_BYTES = 200_000
"""A file that is longer is no page for a reader."""

LINK = re.compile(r"(?<=\]\()\.\./(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^(?:```|~~~).*?^(?:```|~~~)\s*$", re.MULTILINE | re.DOTALL)


def outside(text: str) -> set[str]:
    """Return the paths outside docs/ that a page of docs/ links to, from the repository's root."""
    prose = FENCE.sub("", text)
    return {match["path"].rstrip("/") for match in LINK.finditer(prose)}


def site_page(path: str) -> str:
    """Return the name of the site's page about such a path, in docs/."""
    return f"{SOURCE}/{path}" if path.endswith(".md") else f"{SOURCE}/{path}.md"


def rewritten(text: str, depth: int = 0) -> str:
    """Return a page with its links out of docs/ led to the site's pages.

    Args:
        text: Markdown of the page.
        depth: Folders of the page below docs/.
    """
    up = "../" * depth

    def target(match: re.Match[str]) -> str:
        anchor = (match["anchor"] or "") if match["path"].endswith(".md") else ""
        return f"{up}{site_page(match['path'].rstrip('/'))}{anchor}"

    return LINK.sub(target, text)


def shown(path: str) -> str | None:
    """Return the Markdown of the page about a file or folder; None if there is none to show."""
    place = ROOT / path
    if not place.resolve().is_relative_to(ROOT):
        return None
    if place.is_dir():
        names = sorted(child.name for child in place.iterdir() if child.name[0] not in "._")
        return f"# `{path}/`\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    if not place.is_file() or place.stat().st_size > MAX_BYTES:
        return None
    text = place.read_text(encoding="utf-8")
    if path.endswith(".md"):
        # Its links are relative to its own folder: shown as prose, they lead nowhere on the site.
        return re.sub(
            r"(?<!!)\[([^\]]*)\]\([^)\s]*\)", r"\1", re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
        )
    return f"# `{path}`\n\n<pre><code>{html.escape(text)}</code></pre>\n"


def on_files(files: Files, config: Any) -> Files:
    """Add a page for everything outside docs/ that a page links to."""
    linked: set[str] = set()
    for file in files.documentation_pages():
        linked |= outside(file.content_string)
    for path in sorted(linked):
        content = shown(path)
        if content is not None:
            page = File.generated(config, site_page(path), content=content)
            page.inclusion = InclusionLevel.NOT_IN_NAV
            files.append(page)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead a page's links out of docs/ to the pages about them."""
    if page.file.src_uri.startswith(f"{SOURCE}/"):
        return markdown
    return rewritten(markdown, page.file.src_uri.count("/"))
