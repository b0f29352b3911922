"""The pictures of pages in docs/: part of a page as a reader sees it.

python -m benchmarks.screenshots docs/report.png runs/demo/rl/report.html '#samples&sort=reward'
python -m benchmarks.screenshots docs/side_by_side.png side_by_side.html '#samples&outcome=second'

The address behind the file says what the page shows. Needs Chromium, see `.ci/packages`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.unit.browser import browser

WIDTH, HEIGHT = 1000, 640
"""Of a picture, in pixels: below 200 kB."""


def main() -> None:
    """Write one picture."""
    parser = argparse.ArgumentParser(description="Take a picture of a page.")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("page", type=Path, help="HTML file")
    parser.add_argument("address", nargs="?", default="", help="what follows the file, with its #")
    arguments = parser.parse_args()
    with browser() as reader:
        size = {"width": WIDTH, "height": HEIGHT}
        page = reader(arguments.page.resolve().as_uri() + arguments.address, viewport=size)
        page.wait_for_timeout(1000)  # players get to know how long their clips are
        page.screenshot(path=arguments.picture)
    print(f"{arguments.picture}: {arguments.picture.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
