"""Loading large libraries."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Generator[None, None, None]:
    """Hold the garbage collector back while a block makes what stays: modules, rows of a corpus.

    Each of its passes looks at all objects so far, a million once the model libraries are there:
    0.7 s of an import of 5 s. Afterwards they are left out of its passes for good.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
