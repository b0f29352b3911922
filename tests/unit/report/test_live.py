"""The report of a run that goes on: written again, and shown again without a hand."""

from __future__ import annotations

import functools
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from launch.report import main
from report.figures import MAX_POINTS, thinned
from report.page import write_report
from tests.unit.browser import browser, needs_browser
from tests.unit.report.test_page import make_run, sample

pytestmark = pytest.mark.slow


def set_state(run: Path, state: str) -> None:
    status = {"state": state, "step": 2, "reason": "", "resume_cmd": "python launch/rl.py"}
    (run / "run_status.json").write_text(json.dumps(status))


def append(run: Path, step: int) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        row = {"step": step, "rollout/accuracy": 0.5, "time/step_s": 1.0}
        file.write(json.dumps(row) + '\n{"step": 99, "cut')  # a row that is just being written


@contextmanager
def following(run: Path, every_s: float = 1.0) -> Iterator[threading.Thread]:
    """Follow a run as the command does, until it is said to be finished."""
    arguments = [str(run), "--follow", str(every_s)]
    thread = threading.Thread(target=main, args=(arguments,), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        set_state(run, "finished")
        thread.join(60)
        assert not thread.is_alive()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_run_is_followed_to_its_end(tmp_path: Path):
    run = make_run(tmp_path, [sample(0)])
    whole = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").unlink()
    set_state(run, "running")
    page = run / "report.html"
    with following(run):
        time.sleep(1.2)
        assert not page.exists()  # nothing to show before the first step
        (run / "metrics.jsonl").write_text(whole)
        until(page.exists)
        assert 'data-every-s="1.0"' in page.read_text()
        set_state(run, "preempted")  # the same command goes on with it: there is more to come
        until(lambda: "preempted at step 2" in page.read_text())
        assert 'data-every-s="1.0"' in page.read_text()
        written = page.stat().st_mtime_ns
        time.sleep(2.5)
        assert page.stat().st_mtime_ns == written  # nothing new, nothing written
    text = page.read_text()
    assert "finished at step 2" in text and "data-every-s" not in text.partition("<main>")[0]
    assert not list(run.glob(".report*"))


def test_what_cannot_be_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = make_run(tmp_path, [sample(0)])
    assert main([str(run), "--follow", "0.1"]) == 2
    assert "--follow takes 1 s or more" in capsys.readouterr().err
    assert main([str(tmp_path / "none"), "--follow", "5"]) == 2


def test_a_long_run_keeps_its_spikes_in_few_points():
    points = [(float(step), 0.0) for step in range(100_000)]
    points[77_777] = (77_777.0, 9.0)
    points[33_333] = (33_333.0, -9.0)
    kept = thinned(points)
    assert len(kept) <= MAX_POINTS and list(kept) == sorted(kept)
    assert {(77_777.0, 9.0), (33_333.0, -9.0)} <= set(kept)
    assert thinned(points[:MAX_POINTS]) == points[:MAX_POINTS]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """What `python -m http.server` does, without its log."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/report.html"
    server.shutdown()
    server.server_close()


@needs_browser
@pytest.mark.parametrize("way", ["file", "server"])
def test_an_open_page_shows_new_steps_by_itself(tmp_path: Path, way: str):
    run = make_run(tmp_path, [sample(n, correct=n % 2 == 0) for n in range(100)])
    path = write_report(run, every_s=1.0)
    with served(run) as address, browser() as reader:
        page = reader(path if way == "file" else address)
        page.select_option("#right", "1")
        page.click("#next")
        # In one go: a file is loaded anew each second until a clip plays.
        page.wait_for_function(
            """() => {
                const clip = document.querySelector("article audio");
                if (!clip) return false;
                scrollTo(0, 1500);
                clip.loop = window.old = true;
                clip.play();
                return true;
            }"""
        )
        append(run, 3)
        time.sleep(1)  # a server tells seconds apart
        write_report(run, every_s=1.0)
        page.wait_for_timeout(4000)
        assert page.evaluate("window.old")  # not under a clip that plays
        page.locator("audio").first.evaluate("a => a.pause()")
        page.get_by_text("in 3 steps").wait_for()
        page.wait_for_function(  # not at once: it may be between two loadings
            """() => scrollY === 1500 && document.querySelector("#right").value === "1"
                && document.querySelector("#page").textContent === "50 found, page 2 of 2" """
        )
        page.uncheck("#live")
        page.evaluate("window.old = true")
        time.sleep(1)
        write_report(run, every_s=1.0)
        page.wait_for_timeout(4000)
        assert page.evaluate("window.old")  # not where the reader holds it
        page.check("#live")
        time.sleep(1)
        write_report(run)
        page.locator("#live").wait_for(state="detached")  # it has ended: nothing is asked any more
