"""Labels that a person would take for one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def alike_labels(labels: Iterable[str]) -> list[str]:
    """Return a warning for each set of labels that count as several and read as one.

    They differ only in case, in white space, in signs that are not seen, or in their Unicode form.
    """
    alike: dict[str, set[str]] = {}
    for label in labels:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
        seen = "".join(c for c in folded if unicodedata.category(c) != "Cf")
        alike.setdefault(" ".join(seen.split()), set()).add(label)
    return [
        f"labels {' and '.join(map(ascii, sorted(names)))} differ only in case, white space or "
        f"Unicode form, and count as {len(names)}; write them alike"
        for names in alike.values()
        if len(names) > 1
    ]
