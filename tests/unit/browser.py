"""Pages in a real browser, and what went wrong in them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium to see the pages (.ci/packages installs it)"
)
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
LOCAL = ("file:", "data:", "blob:", "http://127.0.0.1:")

Open = Callable[..., Any]


@contextmanager
def browser() -> Iterator[Open]:
    """Give a function that opens an address in a page of its own, with a context's options.

    At the end no page may have had an error, a failed request, or one that leaves the machine.
    """
    from playwright.sync_api import sync_playwright

    problems: list[str] = []

    def asked(request: Any) -> None:
        if not request.url.startswith(LOCAL):
            problems.append(f"asks {request.url}")

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))

        def open_page(address: Path | str, **options: Any) -> Any:
            page = chromium.new_context(**options).new_page()
            page.set_default_timeout(20_000)
            page.on("console", lambda line: problems.append(f"{line.type}: {line.text}"))
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("requestfailed", lambda request: problems.append(f"failed: {request.url:.99}"))
            page.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
            page.on("request", asked)
            page.goto(address.as_uri() if isinstance(address, Path) else address)
            return page

        yield open_page
        chromium.close()
    assert not problems, problems


def overflow(page: Any) -> int:
    """Pixels by which a page is wider than what shows it."""
    return page.evaluate("document.documentElement.scrollWidth - document.body.clientWidth")


def wait_for(page: Any, condition: str, timeout_s: float = 30.0) -> None:
    """Wait until an expression holds in a page; its policy lets Playwright's own way not run."""
    end = time.monotonic() + timeout_s
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never: {condition}"
        page.wait_for_timeout(50)


def played_s(page: Any, player: str) -> float:
    """Play a page's first such player and return its length once its time has moved."""
    audio = page.locator(player).first
    audio.evaluate("player => player.play()")
    wait_for(page, f"document.querySelector('{player}').currentTime > 0")
    return audio.evaluate("player => player.duration")
